"""A closed site, end to end over files: a real gateway, a real collector, and somebody who carries."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from collector.commands.admission import revoke
from collector.commands.keys import rotate
from edge_agent.identity.folder import load_identity
from models.envelope import STANDARD
from models.stick import (
    BATCHES_MAGIC,
    RECEIPTS_MAGIC,
    Envelope,
    Manifest,
    Package,
    StickWriter,
    read_batches,
    read_receipts,
)
from tests.support.carrying import Office, Site, readings
from tests.support.running import new_home


@pytest.fixture
async def office(tmp_path: Path) -> Office:
    return Office(await new_home(tmp_path / "collector"))


@pytest.fixture
async def site(office: Office, tmp_path: Path) -> Site:
    return await office.enrol(tmp_path / "gateway")


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def matching(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def written(path: Path, magic: bytes, *records: Manifest | Package | Envelope | bytes) -> Path:
    """A file as a courier might make it."""
    with path.open("wb") as file:
        writer = StickWriter(file, magic)
        for record in records:
            match record:
                case Manifest():
                    writer.add_manifest(record)
                case Package():
                    writer.add_package(record.body)
                case Envelope():
                    writer.add_envelope(record.body)
                case bytes():
                    writer.add_statement(record)
        writer.end()
    return path


def batches(path: Path) -> list[Manifest | Package | Envelope]:
    with path.open("rb") as file:
        return list(read_batches(file))


def statements(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(read_receipts(file))


def only(folder: Path, suffix: str) -> Path:
    [found] = folder.glob(f"*{suffix}")
    return found


async def test_all_arrives_once_and_counts_as_delivered_when_the_receipts_are_back(
    office: Office, site: Site, stick: Path
) -> None:
    await site.append(readings(35))
    done = await site.export(stick)
    assert done["batches"] == 4
    assert matching(stick, "*") == [Path(done["file"])]
    counts = await site.counts()
    assert (counts.delivered, counts.pending, counts.unsealed) == (0, 35, 0)

    [taken] = await office.take(stick)
    assert (taken["batches"], taken["stored"], taken["already"], taken["refused"]) == (4, 4, 0, {})
    assert office.values() == [float(n) for n in range(35)]

    [settled] = await site.receive(only(stick, ".ghr"))
    assert (settled["delivered"], settled["refused"], settled["forged"]) == (4, [], 0)
    counts = await site.counts()
    assert (counts.delivered, counts.pending) == (35, 0)
    assert counts.conserved
    assert (await site.export(stick))["file"] is None


async def test_what_has_no_receipt_is_exported_again_byte_for_byte(
    office: Office, site: Site, stick: Path
) -> None:
    await site.append(readings(20))
    first = Path((await site.export(stick / "one.ghb"))["file"])
    await site.append(readings(5, first=20))
    second = Path((await site.export(stick / "two.ghb"))["file"])
    before, after = batches(first)[1:], batches(second)[1:]
    assert after[: len(before)] == before
    assert len(after) > len(before)
    await office.take(second, first, first)
    assert office.values() == [float(n) for n in range(25)]
    assert office.rows("SELECT count(*) FROM envelope") == [3]


async def test_the_receipts_again_and_again_change_nothing(office: Office, site: Site, stick: Path) -> None:
    await site.append(readings(30))
    await site.export(stick)
    await office.take(stick)
    back = only(stick, ".ghr")
    await site.receive(back)
    before = await site.counts()
    await site.append(readings(10, first=30))
    [again] = await site.receive(back)
    assert (again["delivered"], again["known"]) == (0, 3)
    after = await site.counts()
    assert (after.delivered, after.pending) == (before.delivered, 10)


@pytest.mark.parametrize("seed", range(3))
async def test_sticks_that_are_lost_late_doubled_and_mixed_lose_and_double_nothing(
    office: Office, site: Site, tmp_path: Path, seed: int
) -> None:
    other = await office.enrol(tmp_path / "other", name="other")
    sites, rng = [site, other], random.Random(seed)
    ends = {site.folder: 0, other.folder: 100_000}
    there, back = list[Path](), list[Path]()
    for step in range(14):
        who = rng.choice(sites)
        match rng.choice(["read", "export", "export", "import", "import", "receive"]):
            case "read":
                count = rng.randint(1, 25)
                await who.append(readings(count, first=ends[who.folder], device=who.folder.name))
                ends[who.folder] += count
            case "export":
                done = await who.export(tmp_path / f"{step}.ghb")
                there += [tmp_path / f"{step}.ghb"] if done["file"] else []
            case "import" if there:
                some = rng.choices(there, k=min(len(there), 3))
                target = tmp_path / f"{step}.ghr"
                await office.take(*some, receipts=target)
                back.append(target)
            case "receive" if back:
                await who.receive(rng.choice(back))
        for each in sites:
            assert (await each.counts()).conserved
    for last in (1, 2):
        for who in sites:
            await who.export(tmp_path / f"last-{last}-{who.folder.name}.ghb")
        files = matching(tmp_path, f"last-{last}-*.ghb")
        if files:
            await office.take(*files, receipts=tmp_path / "last.ghr")
            for who in sites:
                await who.receive(tmp_path / "last.ghr")
    expected = [*range(ends[site.folder]), *range(100_000, ends[other.folder])]
    assert office.values() == [float(number) for number in expected]
    for who in sites:
        counts = await who.counts()
        assert (counts.pending, counts.quarantined, counts.dropped) == (0, 0, 0)


async def test_receipts_of_another_gateway_deliver_nothing(
    office: Office, site: Site, tmp_path: Path
) -> None:
    other = await office.enrol(tmp_path / "other", name="other")
    for who in (site, other):
        await who.append(readings(10, device=who.folder.name))
    await other.export(tmp_path / "other.ghb")
    await site.export(tmp_path / "site.ghb")
    await office.take(tmp_path / "other.ghb")
    [settled] = await site.receive(tmp_path / "other.ghr")
    assert (settled["delivered"], settled["of_others"], settled["forged"]) == (0, 1, 0)
    assert (await site.counts()).pending == 10


async def test_receipts_that_a_courier_has_made_or_changed_deliver_nothing(
    office: Office, site: Site, tmp_path: Path
) -> None:
    await site.append(readings(10))
    await site.export(tmp_path / "one.ghb")
    elsewhere = Office(await new_home(tmp_path / "elsewhere"))
    await office.take(tmp_path / "one.ghb")
    [signed] = statements(tmp_path / "one.ghr")
    for at in range(0, len(signed), 97):
        changed = bytearray(signed)
        changed[at] ^= 1
        forged = written(tmp_path / "forged.ghr", RECEIPTS_MAGIC, bytes(changed))
        [settled] = await site.receive(forged)
        assert (settled["delivered"], settled["forged"]) == (0, 1)
    [refused] = await elsewhere.take(tmp_path / "one.ghb")
    assert refused["refused"] == {"revoked": 1}
    assert refused["stored"] == 0
    assert (await site.counts()).pending == 10


async def test_a_file_of_one_gateway_under_the_name_of_another_is_refused(
    office: Office, site: Site, tmp_path: Path
) -> None:
    other = await office.enrol(tmp_path / "other", name="other")
    await site.append(readings(10))
    await other.append(readings(10, device="other"))
    await site.export(tmp_path / "site.ghb")
    await other.export(tmp_path / "other.ghb")
    [manifest, *_], [_, *rest] = batches(tmp_path / "site.ghb"), batches(tmp_path / "other.ghb")
    written(tmp_path / "mixed.ghb", BATCHES_MAGIC, manifest, *rest)
    [taken] = await office.take(tmp_path / "mixed.ghb")
    assert taken["refused"] == {"foreign-gateway": 2}
    assert office.values() == []
    [settled] = await site.receive(tmp_path / "mixed.ghr")
    assert settled["delivered"] == 0
    assert (await site.counts()).pending == 10


async def test_of_a_file_that_was_cut_all_that_is_whole_is_taken_and_told(
    office: Office, site: Site, tmp_path: Path
) -> None:
    await site.append(readings(50))
    await site.export(tmp_path / "whole.ghb")
    whole = (tmp_path / "whole.ghb").read_bytes()
    (tmp_path / "cut.ghb").write_bytes(whole[: len(whole) * 2 // 3])
    [taken] = await office.take(tmp_path / "cut.ghb")
    assert "cut off" in taken["damage"]
    assert 0 < taken["stored"] < 5
    [settled] = await site.receive(tmp_path / "cut.ghr")
    assert settled["delivered"] == taken["stored"]
    await site.export(tmp_path / "rest.ghb")
    await office.take(tmp_path / "rest.ghb")
    assert office.values() == [float(n) for n in range(50)]


async def test_a_revoked_gateway_is_refused_and_keeps_what_it_has(
    office: Office, site: Site, tmp_path: Path
) -> None:
    await site.append(readings(30))
    done = await site.export(tmp_path / "one.ghb")
    await asyncio.to_thread(revoke, office.home.folder, done["gateway_id"])
    [taken] = await office.take(tmp_path / "one.ghb")
    assert set(taken["refused"]) == {"revoked"}
    assert taken["stored"] == 0
    assert office.values() == []
    assert (await site.counts()).pending == 30


async def test_a_collector_that_was_restored_gets_again_what_it_has_lost(
    office: Office, site: Site, stick: Path, tmp_path: Path
) -> None:
    async def round_trip(name: str) -> None:
        await site.export(stick / f"{name}.ghb")
        await office.take(stick / f"{name}.ghb")
        await site.receive(stick / f"{name}.ghr")

    await site.append(readings(10))
    await round_trip("one")
    shutil.copy(office.home.database, tmp_path / "backup.db")
    await site.append(readings(10, first=10))
    await round_trip("two")
    shutil.copy(tmp_path / "backup.db", office.home.database)
    await site.append(readings(10, first=20))
    await round_trip("three")  # tells of the gap
    assert len(office.values()) == 20
    await round_trip("four")
    assert office.values() == [float(n) for n in range(30)]
    assert (await site.export(stick))["file"] is None


async def test_a_batch_that_was_sealed_twice_is_stored_once_under_a_new_epoch(
    office: Office, site: Site, stick: Path
) -> None:
    await site.append(readings(30))
    await site.export(stick / "one.ghb")
    site.damage("UPDATE batch SET body = zeroblob(length(body)) WHERE number = 2")
    await site.export(stick / "two.ghb")  # seals the damaged one again
    await office.take(stick / "one.ghb")
    [taken] = await office.take(stick / "two.ghb")
    assert taken["refused"] == {"chain-broken": 1}
    [settled] = await site.receive(stick / "two.ghr")
    assert settled["began_epoch"]
    await site.append(readings(10, first=30))
    await site.export(stick / "three.ghb")
    await office.take(stick / "three.ghb")
    [settled] = await site.receive(stick / "three.ghr")
    assert (settled["began_epoch"], settled["refused"]) == (False, [])
    assert office.values() == [float(n) for n in range(40)]
    counts = await site.counts()
    assert (counts.pending, counts.quarantined, counts.dropped, counts.conserved) == (0, 0, 0, True)


async def test_a_new_key_of_the_collector_comes_with_the_receipts(
    office: Office, site: Site, stick: Path
) -> None:
    await site.append(readings(10))
    await site.export(stick / "one.ghb")
    await asyncio.to_thread(rotate, office.home.folder, "standard")
    await office.take(stick / "one.ghb")
    [settled] = await site.receive(stick / "one.ghr")
    assert (settled["delivered"], settled["new_key"]) == (1, True)
    identity = await asyncio.to_thread(load_identity, site.folder / "state")
    assert identity.collector.collector_key == office.home.keyring().current(STANDARD).public_bytes()
    await site.append(readings(10, first=10))
    await site.export(stick / "two.ghb")
    await office.take(stick / "two.ghb")
    [settled] = await site.receive(stick / "two.ghr")
    assert (settled["delivered"], settled["new_key"]) == (1, False)
    assert office.values() == [float(number) for number in range(20)]
