"""Configurations that a collector pushes: checked as a whole, tried, kept or taken back, and told of once."""

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from edge_agent.config.bundle import read_bundle
from edge_agent.config.journal import recover
from edge_agent.config.versions import Versions
from models.command import CommandKey
from models.configuration import MAX_PUSHED_BYTES, digest_of, pack_files, sign_configuration
from tests.support.buffers import open_buffer
from tests.support.clocks import START_MS, VirtualClock, settle
from tests.support.keeping_sink import KeepingSink
from tests.support.trying import (
    CHANGED,
    CSV,
    FILES,
    MAIN,
    METER,
    Gateway,
    a_gateway_folder,
    a_push,
    in_bytes,
    started,
)

ROOT = Path(__file__).parents[2]
KEY = CommandKey.generate()


class Site:
    """A gateway and everything that it told."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.file, self.clock, self.sink = folder / "gateway.yaml", clock, KeepingSink()

    @contextlib.asynccontextmanager
    async def agent(self) -> AsyncIterator[Gateway]:
        async with started(self.file, self.sink, self.clock.clock, KEY) as gateway:
            yield gateway

    @property
    def told(self) -> list[tuple[str, str]]:
        return [
            (event.kind, event.data.get("code", ""))
            for event in self.sink.events
            if event.kind.startswith("config.") and event.data.get("by") != "found at the start"
        ]

    async def until(self, kind: str) -> dict[str, Any]:
        [event, *_] = await self.sink.has(1, kind)
        await settle()
        return event.data

    @property
    def files(self) -> dict[str, bytes]:
        return read_bundle(self.file)


@pytest.fixture
def site(tmp_path: Path, clock: VirtualClock) -> Site:
    a_gateway_folder(tmp_path)
    return Site(tmp_path, clock)


async def test_what_reaches_the_collector_is_kept(site: Site) -> None:
    async with site.agent() as gateway:
        assert await gateway.push(a_push(base=digest_of(in_bytes(FILES)))) == "p-1"
        tried = await site.until("config.tried")
        assert gateway.fleet.config.digest == tried["digest"] == digest_of(in_bytes(CHANGED))
        assert (tried["by"], tried["why"], tried["changed"]) == ("li", "another meter", 2)
        gateway.trials.heard("main", site.clock.monotonic_s())
        await site.sink.has(2, "config.applied")
        await site.clock.advance(1000)
        assert not gateway.trials.is_trying
    assert site.told == [("config.tried", ""), ("config.applied", "")]
    assert site.files == in_bytes(CHANGED)
    latest = Versions(site.file.parent / "state").latest()
    assert latest is not None
    assert (latest.origin, latest.collector, latest.by, latest.pushed) == ("collector", "main", "li", 1)


async def test_what_does_not_reach_the_collector_in_time_is_taken_back(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        await site.clock.advance(119.9)
        assert gateway.trials.is_trying
        await site.clock.advance(0.1)
        reverted = await site.until("config.reverted")
        assert (reverted["code"], reverted["id"], reverted["origin"]) == ("not-reached", "p-1", "gateway")
        assert reverted["digest"] == gateway.fleet.config.digest == digest_of(in_bytes(FILES))
    assert site.files == in_bytes(FILES)
    history = Versions(site.file.parent / "state").all()
    assert [version.origin for version in history] == ["on-site", "collector", "gateway"]


@pytest.mark.parametrize(
    ("collector", "asked_s"),
    [pytest.param("main", -1.0, id="before"), pytest.param("other", 1.0, id="other")],
)
async def test_only_a_new_answer_of_the_collector_that_pushed_proves_anything(
    site: Site, collector: str, asked_s: float
) -> None:
    async with site.agent() as gateway:
        await site.clock.advance(10)
        await gateway.push(a_push())
        await site.until("config.tried")
        gateway.trials.heard(collector, site.clock.monotonic_s() + asked_s)
        await site.clock.advance(120)
        await site.until("config.reverted")


async def test_an_agent_that_ends_while_it_tries_begins_with_what_was_before(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
    assert site.files == in_bytes(CHANGED)
    async with site.agent() as gateway:
        assert (await site.until("config.reverted"))["code"] == "restarted"
        assert gateway.fleet.config.digest == digest_of(in_bytes(FILES))
        assert await gateway.push(a_push()) == "p-1"
        assert not gateway.trials.is_trying
    async with site.agent():
        pass
    assert site.told == [("config.tried", ""), ("config.reverted", "restarted")]
    assert site.files == in_bytes(FILES)


async def test_files_that_cannot_be_written_back_are_by_the_next_start(site: Site) -> None:
    in_the_way = site.file.with_name("gateway.yaml.new")
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        in_the_way.mkdir()
        await site.clock.advance(120)
        await site.until("config.reverted")
        assert gateway.fleet.config.digest == digest_of(in_bytes(FILES))
        assert site.file.read_text() == CHANGED["gateway.yaml"]
    in_the_way.rmdir()
    async with site.agent() as gateway:
        assert gateway.fleet.config.digest == digest_of(in_bytes(FILES))
    assert site.files == in_bytes(FILES)
    assert site.told == [("config.tried", ""), ("config.reverted", "not-reached")]


async def test_files_that_cannot_be_written_back_stay_where_somebody_on_site_loads_them(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        site.file.with_name("gateway.yaml.new").mkdir()
        await site.clock.advance(120)
        await site.until("config.reverted")
        (site.file.parent / "more.csv").write_text(CSV)
        assert not (await gateway.reconfigurer.reload(by="wang")).problems
    async with site.agent():
        assert site.file.read_text() == CHANGED["gateway.yaml"]


async def test_who_is_on_site_has_the_last_word(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        site.file.write_text(CHANGED["gateway.yaml"].replace("period_s: 3600", "period_s: 60"))
        await gateway.reconfigurer.reload(by="wang")
        assert (await site.until("config.reverted"))["code"] == "changed-on-site"
        assert not gateway.trials.is_trying
        await site.clock.advance(500)
        assert gateway.fleet.config.settings.devices[0].period_s == 60
    assert "period_s: 60" in site.file.read_text()


async def test_a_reload_of_what_is_tried_leaves_it_on_trial(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        await gateway.reconfigurer.reload(by="wang")
        assert gateway.trials.is_trying


async def test_files_that_somebody_has_changed_meanwhile_are_not_written_over(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        csv = site.file.parent / "more.csv"
        csv.write_text(CSV.replace("Lift", "Wang's"))
        await site.clock.advance(120)
        await site.until("config.reverted")
        assert "Wang's" in csv.read_text()
        assert site.file.read_text() == MAIN


async def test_what_needs_no_trial_for_it_changes_nothing_is_kept_as_well(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push(FILES))
        while not gateway.trials.is_waiting:  # noqa: ASYNC110  # it rings no bell
            await asyncio.sleep(0.001)
        gateway.trials.heard("main", site.clock.monotonic_s())
        await site.sink.has(2, "config.applied")
    assert site.told == [("config.applied", "")]


async def test_one_is_tried_at_a_time_and_an_older_one_never_after_a_newer(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push(number=5))
        assert await gateway.push(a_push(number=5)) == "p-1"
        assert await gateway.push(a_push(id="p-2", number=7)) == "p-2"
        await site.until("config.tried")
        gateway.trials.heard("main", site.clock.monotonic_s())
        await site.sink.has(2, "config.applied")
        for _ in range(3):
            assert await gateway.push(a_push(id="p-0", number=6)) == "p-0"
        assert not gateway.trials.is_trying
    assert ("config.refused", "busy") in site.told
    assert site.told.count(("config.rejected", "replayed")) == 1
    async with site.agent() as gateway:
        assert await gateway.push(a_push(id="p-0", number=6)) == "p-0"
        assert not gateway.trials.is_trying


async def test_a_replay_is_known_by_the_history_where_the_buffer_is_lost(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push(number=5))
        await site.until("config.tried")
        gateway.trials.heard("main", site.clock.monotonic_s())
        await site.sink.has(2, "config.applied")
    site.sink = KeepingSink()
    async with site.agent() as gateway:
        await gateway.push(a_push(FILES, id="p-0", number=4))
        assert not gateway.trials.is_trying
    assert site.files == in_bytes(CHANGED)


def with_main(old: str, new: str) -> dict[str, str]:
    assert old in MAIN
    return {"gateway.yaml": MAIN.replace(old, new)}


DOOR = (
    "buses: [{id: gate, door_controller: {url: 'http://10.0.0.1', username: u, password_file: p}}, "
    "{id: rack, modbus_tcp: {host: 127.0.0.1, port: 1}}]"
)
RACK = "buses: [{id: rack, modbus_tcp: {host: 127.0.0.1, port: 1}}]"
LORA = RACK[:-1] + ", {id: lora, chirpstack: {host: evil.example, username: u, password_file: state/x}}]"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param(with_main("port: 0", "port: 1"), "gateway.yaml:2: health: 'health' is not", id="health"),
        pytest.param(
            with_main("own}", "own, state_dir: x}"), "gateway.yaml:1: gateway: 'gate", id="state_dir"
        ),
        pytest.param(with_main("[main]", "[]"), "gateway.yaml:3: configuration: 'config", id="allow_push"),
        pytest.param(
            {"gateway.yaml": MAIN + "commands: {allow: [doors]}\n"},
            "gateway.yaml:7: commands:",
            id="commands",
        ),
        pytest.param(
            {"gateway.yaml": MAIN + "buffer: {max_mb: 16}\n"}, "gateway.yaml:7: buffer:", id="buffer"
        ),
        pytest.param(
            with_main(RACK, DOOR), "gateway.yaml:4: buses[gate]: 'gate' is a bus of doors", id="door"
        ),
        pytest.param(with_main(RACK, LORA), "buses[lora]: 'lora' names a file with a secret", id="secret"),
        pytest.param(
            {"gateway.yaml": MAIN + "uplink: {proxy: 'http://evil:1', proxy_login_file: p}\n"},
            "uplink.proxy_login_file: is for a proxy that a push has chosen",
            id="proxy login",
        ),
        pytest.param(
            {"gateway.yaml": MAIN + "collectors: {main: {}, area: {carrier: https}}\n"},
            "gateway.yaml:7: collectors.area: changes collector 'area', and is pushed by 'main'",
            id="another collector",
        ),
        pytest.param(
            with_main("more.csv", "door.password"), "devices_csv: 'door.password' cannot be pushed", id="list"
        ),
        pytest.param(
            with_main("more.csv", "state/x.csv"), "devices_csv: 'state/x.csv' cannot be pushed", id="state"
        ),
        pytest.param({"other.yaml": MAIN}, "other.yaml:1: is no file of this configuration", id="stranger"),
        pytest.param({"own/sub/x.yaml": METER}, "own/sub/x.yaml:1: is no file of", id="below profiles"),
        pytest.param({"state/identity/main/x.yaml": METER}, "is no file of this", id="identity"),
        pytest.param(with_main("unit: 1", "unit: one"), "gateway.yaml:5: devices[m-01].unit:", id="mistake"),
        pytest.param(
            {"more.csv": CSV.replace("rack", "rock")}, "more.csv:2: m-02.bus: no bus 'rock'", id="csv mistake"
        ),
        pytest.param(
            {"own/meter.yaml": METER.replace("uint16", "uint17")}, "own/meter.yaml:9: points", id="profile"
        ),
        pytest.param({"gateway.yaml": "a: &a [x]\nb: [*a, *a]\n"}, "gateway.yaml:1:", id="aliases"),
        pytest.param({"gateway.yaml": "[" * 100_000}, "gateway.yaml:1:", id="brackets"),
    ],
)
async def test_what_is_wrong_or_not_for_a_push_is_refused_by_name(
    site: Site, files: dict[str, str], told: str
) -> None:
    async with site.agent() as gateway:
        assert await gateway.push(a_push(files)) == "p-1"
        refused = await site.until("config.refused")
        assert (refused["code"], refused["id"]) == ("mistakes", "p-1")
        assert any(told in problem for problem in refused["problems"]), refused["problems"]
        assert not any(str(site.file.parent) in problem for problem in refused["problems"])
        assert not gateway.trials.is_trying
    assert site.files == in_bytes(FILES)


async def test_no_secret_is_told_as_a_mistake(site: Site) -> None:
    (site.file.parent / "door.password").write_text("hunter2,x\n")
    async with site.agent() as gateway:
        await gateway.push(a_push(with_main("more.csv", "door.password")))
        await site.until("config.refused")
    assert "hunter2" not in msgspec.json.encode([event.data for event in site.sink.events]).decode()


async def test_a_file_that_is_no_part_of_the_configuration_is_not_written_over(site: Site) -> None:
    (site.file.parent / "list.csv").write_text("mine")
    async with site.agent() as gateway:
        await gateway.push(a_push({**with_main("more.csv", "list.csv"), "list.csv": CSV}))
        refused = await site.until("config.refused")
        assert "is there, and no part of the configuration" in refused["problems"][0]
    assert (site.file.parent / "list.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["../evil.yaml", "/etc/evil.yaml", "own/../../evil.yaml", ".hidden", "own//x.yaml", "a\nb.csv", ""],
)
async def test_a_name_that_leads_out_of_the_folder_is_refused(site: Site, name: str) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push({name: METER}))
        assert (await site.until("config.refused"))["code"] == "malformed"
    assert not list(site.file.parent.rglob("evil*")) + list(site.file.parent.parent.glob("evil*"))


async def test_files_that_unpack_to_more_than_memory_are_refused_before_they_do(site: Site) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(200_000_000))
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(b"x")
    async with site.agent() as gateway:
        for number, packed in enumerate((bomb, unsaid, b"rubbish", pack_files({})), 1):
            await gateway.push(a_push(id=f"p-{number}", number=number, packed=packed))
        refused = await site.sink.has(4, "config.refused")
        assert [event.data["code"] for event in refused] == ["malformed"] * 4


async def test_a_second_agent_does_not_undo_what_the_first_one_has_on_trial(
    site: Site, tmp_path: Path
) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push())
        await site.until("config.tried")
        tried = site.file.read_text()
        async with await open_buffer(site.file.parent / "state" / "buffer.db", VirtualClock().clock):
            recover(site.file)  # as every start does, before it meets the lock of the buffer
        assert site.file.read_text() == tried
        recover(site.file)  # as the next start does, when no agent runs
        assert site.file.read_text() != tried


async def test_a_push_is_refused_where_no_technician_has_allowed_it(site: Site) -> None:
    site.file.write_text(MAIN.replace("[main]", "[]"))
    async with site.agent() as gateway:
        await gateway.push(a_push())
        refused = await site.until("config.refused")
        assert refused["code"] == "not-allowed"
        assert "configuration.allow_push lacks main" in refused["detail"]


async def test_a_change_of_something_else_than_what_runs_is_refused(site: Site) -> None:
    async with site.agent() as gateway:
        await gateway.push(a_push(base="0" * 64))
        assert (await site.until("config.refused"))["code"] == "changed-on-site"
        site.file.write_text(MAIN.replace("3600", "60"))
        await gateway.push(a_push(id="p-2", number=2))
        [_, second] = await site.sink.has(2, "config.refused")
        assert second.data["code"] == "changed-on-site"
        assert "not loaded" in second.data["detail"]
    assert "period_s: 60" in site.file.read_text()


async def test_what_is_not_for_here_and_now_is_refused(site: Site) -> None:
    stranger = CommandKey.generate()
    good = sign_configuration(a_push(), KEY)
    async with site.agent() as gateway:
        for signed in (
            sign_configuration(a_push(), stranger),
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:40] + bytes([good[40] ^ 1]) + good[41:],
            sign_configuration(a_push(gateway_id="gw-2"), KEY),
            b"GHG" + bytes(100),
            good + bytes(MAX_PUSHED_BYTES),
        ):
            assert await gateway.take(signed) is None
        await gateway.push(a_push(id="p-2", expires_ms=START_MS))
        await gateway.push(a_push(id="p-3", number=2, issued_ms=START_MS + 120_000))
        await gateway.push(a_push(id="p-4", number=3, expires_ms=START_MS + 30 * 86_400_000))
        await gateway.push(a_push(id="p-5", number=4, confirm_s=1e9))
        await site.sink.has(4, "config.refused")
    assert [code for kind, code in site.told if kind == "config.refused"] == [
        "malformed",
        "from-the-future",
        "malformed",
        "malformed",
    ]
    rejected = [code for kind, code in site.told if kind == "config.rejected"]
    assert sorted(rejected) == ["bad-signature", "foreign-gateway", "malformed", "unknown-version"]
    assert site.files == in_bytes(FILES)


async def test_a_push_whose_time_is_over_is_refused(site: Site) -> None:
    async with site.agent() as gateway:
        await site.clock.advance(3600)
        await gateway.push(a_push())
        assert (await site.until("config.refused"))["code"] == "expired"


async def test_a_folder_that_the_agent_may_not_write_is_said_before_anything_is_changed(site: Site) -> None:
    """As root may write anywhere, a file stands where the folder of a new profile would be."""
    site.file.write_text(MAIN.replace("profiles_dir: own", "profiles_dir: own2"))
    (site.file.parent / "own").rename(site.file.parent / "own2")
    async with site.agent() as gateway:
        (site.file.parent / "own2" / ".push-probe").mkdir()
        await gateway.push(a_push({"own2/second.yaml": CHANGED["own/second.yaml"]}))
        refused = await site.until("config.refused")
        assert refused["code"] == "not-writable"


@pytest.mark.parametrize("way", ["reached", "not-reached"])
@pytest.mark.parametrize(
    ("first", "every"),
    [pytest.param(2, 3, id="some"), pytest.param(1, 1, id="each", marks=pytest.mark.soak)],
)
def test_a_kill_at_any_step_leaves_one_whole_configuration_and_one_outcome(
    tmp_path: Path, way: str, first: int, every: int
) -> None:
    said = _killed_at_steps(tmp_path, way, first, every)
    assert len(said) > 30 / every
    last = "config.applied" if way == "reached" else "config.reverted"
    for each in said:
        after = each["after"]
        assert after["found"] in ("old", "new"), each
        assert after["taken"] == "p-1", each
        [outcome] = after["outcomes"]
        assert outcome in (last, "config.reverted"), each
        assert after["files"] == ("new" if outcome == "config.applied" else "old"), each
    assert {each["after"]["found"] for each in said} == ({"old", "new"} if way == "reached" else {"old"})
    assert not said[-1]["was_killed"]


def _killed_at_steps(folder: Path, way: str, first: int, every: int) -> list[dict[str, Any]]:
    key = base64.b64encode(KEY.to_bytes()).decode()
    words = [sys.executable, "-m", "tests.support.trying", str(folder), key, way, str(first), str(every)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]
