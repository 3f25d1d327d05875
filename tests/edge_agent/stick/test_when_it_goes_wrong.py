"""Exports and imports that are killed, refused, or too large, and an agent that runs meanwhile."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from collector.commands.admission import enroll_file
from edge_agent.buffer.contract import Batch
from edge_agent.commands.setup import enroll
from edge_agent.commands.stick import export
from edge_agent.config import load_config
from edge_agent.identity.folder import load_identity
from edge_agent.stick import target
from edge_agent.stick.target import CannotWrite
from models.envelope import envelope_digest, read_header
from models.errors import NeedsAHuman
from models.offline import OfflineRequest
from models.protocol import Code
from models.stick import (
    MOST_OUTCOMES,
    RECEIPTS_MAGIC,
    Envelope,
    Manifest,
    Outcome,
    Statement,
    StickWriter,
    read_batches,
    read_receipts,
    sign_statement,
)
from tests.support.carrying import AGENT, COLLECTOR, Office, Site, readings, told
from tests.support.collector import Sender
from tests.support.running import new_home

ROOT = Path(__file__).parents[3]


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


def run_and_kill(*command: str, after_s: float, writing: Path | None) -> None:
    """Let a command work for so long, since it began or since it began to write there; then kill it."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while writing is not None and process.poll() is None and not matching(writing, "*.part"):
            time.sleep(0.001)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.send_signal(signal.SIGKILL)


def all_whole(folder: Path) -> None:
    """Each file under a name that is read is one from its beginning to its end."""
    for path in folder.glob("*.gh[br]"):
        with path.open("rb") as file:
            records: Iterator[object] = read_batches(file) if path.suffix == ".ghb" else read_receipts(file)
            assert list(records)


async def test_whenever_export_and_import_are_killed_nothing_is_half_lost_or_doubled(
    office: Office, site: Site, stick: Path
) -> None:
    await site.append(readings(3000))
    rng = random.Random(4)

    def kill_at_random() -> None:
        out = ["export", str(stick / "out.ghb"), "--config", str(site.config)]
        into = ["import", str(stick / "out.ghb"), "--dir", str(office.home.folder)]
        back = ["receipts", str(stick / "out.ghr"), "--config", str(site.config)]
        for command, writes in (
            ((*AGENT, *out), True),
            ((*COLLECTOR, *into), True),
            ((*AGENT, *back), False),
        ):
            run_and_kill(*command, after_s=rng.uniform(0.5, 1.5), writing=None)
            all_whole(stick)
            for _ in range(2 if writes else 0):
                run_and_kill(*command, after_s=rng.uniform(0, 0.05), writing=stick)
                all_whole(stick)
            run_and_kill(*command, after_s=60, writing=None)

    await asyncio.to_thread(kill_at_random)
    assert (await site.export(stick / "last.ghb"))["file"] is None  # the last of each was not killed
    assert office.values() == [float(number) for number in range(3000)]
    counts = await site.counts()
    assert (counts.delivered, counts.pending, counts.conserved) == (counts.produced, 0, True)
    assert not matching(stick, "*.part")


def refuses(office: Office, path: Path, bad: set[int]) -> Path:
    """The receipts of a collector that takes no batch with these numbers, and holds all others."""
    with path.open("rb") as file:
        manifest, *rest = read_batches(file)
    assert isinstance(manifest, Manifest)
    outcomes = []
    for record in rest:
        if isinstance(record, Envelope):
            header = read_header(record.body)
            is_bad = any(header.first_seq <= number <= header.last_seq for number in bad)
            outcomes.append(
                Outcome(
                    epoch=header.epoch,
                    number=header.number,
                    digest=envelope_digest(record.body),
                    code=Code.MALFORMED if is_bad else "",
                    detail="cannot be read" if is_bad else "",
                )
            )
    back = path.with_suffix(".ghr")
    with back.open("wb") as file:
        writer = StickWriter(file, RECEIPTS_MAGIC)
        for start in range(0, len(outcomes), MOST_OUTCOMES):
            statement = Statement(
                gateway_id=manifest.gateway_id,
                told_ms=start,
                outcomes=outcomes[start : start + MOST_OUTCOMES],
            )
            writer.add_statement(sign_statement(statement, office.home.commanding_key()))
        writer.end()
    return back


@pytest.mark.parametrize("bad", [{1}, {3000}, {777, 2222}], ids=["first", "last", "two"])
async def test_an_item_that_the_collector_never_takes_costs_itself_alone_after_few_sticks(
    office: Office, site: Site, stick: Path, bad: set[int]
) -> None:
    site.config.write_text(
        json.dumps({"health": {"port": 0}, "collectors": {"main": {"carrier": "stick", "max_items": 5000}}})
    )
    await site.append(readings(3000))
    rounds = 0
    while (await site.export(stick / f"{rounds}.ghb"))["file"] is not None:
        await site.receive(await asyncio.to_thread(refuses, office, stick / f"{rounds}.ghb", bad))
        rounds += 1
        assert rounds < 6
    assert rounds <= 5  # all, 64 pieces, single ones, and the event that tells what was put aside
    counts = await site.counts()
    assert (counts.pending, counts.quarantined, counts.dropped) == (0, len(bad), 0)
    assert counts.conserved


async def test_a_thousand_batches_are_carried_in_little_memory(
    office: Office, site: Site, stick: Path
) -> None:
    identity = await asyncio.to_thread(load_identity, site.folder / "state")
    sealing = Sender(identity.gateway_id, identity.collector.collector_key, identity.signing_key)
    async with await site.buffer() as buffer:
        await buffer.append(readings(1000))
        outbox = await buffer.outbox("main")
        await outbox.belong_to(identity.gateway_id)
        await outbox.add_key(sealing.content_key.key_id, sealing.package)
        sealing.epoch = outbox.epoch
        for number in range(1, 1001):
            body = sealing.seal_raw(os.urandom(40_000))  # signed and sealed, but no batch
            digest = envelope_digest(body)
            await outbox.store(Batch(number, number, 1, 1, sealing.content_key.key_id, body, digest))
            sealing.number, sealing.next_seq, sealing.previous = number, number + 1, digest
    tracemalloc.start()
    try:
        done = await site.export(stick / "all.ghb")
        _, exporting = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        [taken] = await office.take(stick / "all.ghb")
        _, importing = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done["batches"] == 1000
    assert done["bytes"] > 40 << 20 - 1
    assert taken["refused"] == {"malformed": 1000}
    assert max(exporting, importing) < 16 << 20
    [settled] = await site.receive(stick / "all.ghr")
    assert (len(settled["refused"]), settled["put_aside"]) == (1000, 1)  # for all others are in doubt
    counts = await site.counts()
    assert (counts.pending, counts.quarantined, counts.conserved) == (999 + 1, 1, True)


async def test_a_full_stick_is_told_and_nothing_is_written(
    site: Site, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.append(readings(30))
    monkeypatch.setattr(target, "_SPARE", 1 << 60)
    with pytest.raises(CannotWrite, match="take a larger stick"):
        await site.export(stick)
    assert not matching(stick, "*")
    assert (await site.counts()).pending == 30


async def test_a_place_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    await site.append(readings(3))
    with pytest.raises(CannotWrite, match="all stays in the buffer"):
        await site.export(tmp_path / "no" / "such" / "folder.ghb")


async def test_a_collector_that_the_gateway_does_not_have_is_told_and_none_is_made(
    site: Site, stick: Path
) -> None:
    with pytest.raises(NeedsAHuman, match="no collector 'other'"):
        await asyncio.to_thread(export, site.config, stick, "other")
    async with await site.buffer() as buffer:
        assert await buffer.outboxes() == ["main"]


@contextlib.asynccontextmanager
async def an_agent(site: Site) -> AsyncIterator[None]:
    """The agent of that site as its command runs it, once it answers at its socket."""
    process = await asyncio.create_subprocess_exec(
        *AGENT, "run", "--config", str(site.config), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    try:
        door = load_config(site.config).state_dir / "control.sock"
        while not door.exists():  # a file rings no bell
            if process.returncode is not None:
                return
            await asyncio.sleep(0.02)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()


async def test_beside_a_running_agent_and_a_serving_collector_all_goes_the_same_way(
    office: Office, site: Site, stick: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    collectors = {"main": {"carrier": "stick", "max_items": 100}}
    site.config.write_text(json.dumps({"health": {"port": port}, "collectors": collectors}))
    await site.append(readings(120))
    serving = await asyncio.create_subprocess_exec(
        *COLLECTOR, "serve", "--json", "--dir", str(office.home.folder), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert serving.stdout is not None
        await serving.stdout.readline()
        async with an_agent(site):

            def carry() -> tuple[dict[str, object], ...]:
                config = ("--config", str(site.config))
                confirmed = told(*AGENT, "confirm-time", *config, cwd=ROOT)
                out = told(*AGENT, "export", str(stick / "one.ghb"), *config, cwd=ROOT)
                into = told(*COLLECTOR, "import", str(stick), "--dir", str(office.home.folder), cwd=ROOT)
                back = told(*AGENT, "receipts", str(stick / "one.ghr"), *config, cwd=ROOT)
                status = told(*AGENT, "status", *config, cwd=ROOT)
                return confirmed, out, into, back, status

            confirmed, out, into, back, status = await asyncio.to_thread(carry)
    finally:
        serving.terminate()
        await serving.communicate()
    assert "now_ms" in confirmed
    assert out["problem"] == ""
    assert into["files"][0]["refused"] == {}  # type: ignore[index]
    assert back["files"][0]["delivered"] == out["batches"]  # type: ignore[index]
    assert status["collectors"]["main"]["state"] == "ok"  # type: ignore[index]
    assert status["collectors"]["main"]["carrier"] == "stick"  # type: ignore[index]
    assert office.values() == [float(number) for number in range(120)]
    assert office.rows("SELECT count(*) FROM event WHERE kind = 'agent.started'") == [1]


async def test_a_request_that_was_changed_or_made_without_the_token_enrols_nobody(
    office: Office, tmp_path: Path
) -> None:
    site = Site(tmp_path / "gateway")
    await asyncio.to_thread(site.folder.mkdir)
    site.config.write_text("{}")
    token, request = await office.token(), tmp_path / "request"

    def ask() -> OfflineRequest:
        enroll(site.config, token, name="main", again=False, request=request)
        return OfflineRequest.model_validate_json(request.read_bytes())

    asked = await asyncio.to_thread(ask)
    assert "secret" not in asked.request or '"secret":""' in asked.request
    other = await asyncio.to_thread(ask)
    assert other == asked or other.token == asked.token
    changes = (
        {"proof": "0" * 64},
        {"request": asked.request.replace("csr", "xsr")},
        {"token": "0" * 64},
    )
    for change in changes:
        request.write_text(asked.model_copy(update=change).model_dump_json())
        with pytest.raises(NeedsAHuman, match="nobody was enrolled"):
            await asyncio.to_thread(enroll_file, office.home.folder, request, None)
    request.write_bytes(b"\xff" * 100)
    with pytest.raises(NeedsAHuman, match="copy it whole"):
        await asyncio.to_thread(enroll_file, office.home.folder, request, None)
    assert office.rows("SELECT count(*) FROM gateway") == [0]
    request.write_text(asked.model_dump_json())
    first = await asyncio.to_thread(enroll_file, office.home.folder, request, None)
    again = await asyncio.to_thread(enroll_file, office.home.folder, request, None)
    assert first.data == again.data


async def test_an_answer_of_another_collector_is_not_taken(office: Office, tmp_path: Path) -> None:
    elsewhere = Office(await new_home(tmp_path / "elsewhere"))
    site = await elsewhere.enrol(tmp_path / "its-gateway")
    ours = Site(tmp_path / "gateway")
    await asyncio.to_thread(ours.folder.mkdir)
    ours.config.write_text("{}")
    token = await office.token()

    def answer_with(path: Path) -> None:
        enroll(ours.config, token, name="main", again=False, request=tmp_path / "request")
        enroll(ours.config, token, name="main", again=False, answer=path)

    with pytest.raises(NeedsAHuman):
        await asyncio.to_thread(answer_with, site.folder / "request.answer")
    assert not (ours.folder / "state" / "identity" / "main").exists()
