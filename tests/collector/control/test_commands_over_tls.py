"""Commands at the wire: a gateway with its certificate, and everybody else."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from collector.cli import app as collector_cli
from collector.identity.gateways import revoke_gateway
from collector.store import schema
from collector.store.engine import Store
from models.command import Command, verify_command
from models.protocol import CLOCK_HEADER
from models.reading import Event
from tests.support.collector import NOW_MS, Sender, StandingClock
from tests.support.running import RunningCollector, new_home, real_now_ms, running

COMMANDS = "/gateway/v1/commands"


@pytest.fixture
async def collector(tmp_path: Path, standing: StandingClock) -> AsyncIterator[RunningCollector]:
    home = await new_home(tmp_path / "collector")
    async with running(home, standing.clock) as serving:
        yield serving


async def a_gateway(collector: RunningCollector, folder: Path, *, device: int) -> tuple[Sender, Path]:
    """An enrolled gateway, whose device the collector knows by that number."""
    sender, certificate = await collector.enrol(folder)
    async with await Store.open(collector.home.database) as store, store.write() as connection:
        await connection.execute(
            insert(schema.device).values(
                site_id=1, id=device, gateway_id=sender.gateway_id, device_id=f"door-{device:02}", name="Door"
            )
        )
    return sender, certificate


async def given(collector: RunningCollector, key: str, *, device: int = 1, life_s: float = 60) -> None:
    token = await collector.api_token("commands:write")
    headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
    body = {"action": "open_once", "arguments": {"door": 1}, "expires_in_s": life_s}
    async with collector.client() as client:
        answer = await client.post(f"/api/v1/devices/a1/{device}/commands", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def asked(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await client.get(COMMANDS, params={"wait_s": 0} | more)


def opened(collector: RunningCollector, answer: httpx.Response, sender: Sender) -> list[Command]:
    assert answer.status_code == 200, answer.text
    key = collector.home.commanding_key().public_bytes()
    return [
        verify_command(base64.b64decode(one), gateway_id=sender.gateway_id, public_key=key, now_ms=NOW_MS)
        for one in answer.json()["commands"]
    ]


async def state_of(collector: RunningCollector, key: str) -> str:
    token = await collector.api_token("read")
    async with collector.client() as client:
        headers = {"authorization": f"Bearer {token}"}
        answer = await client.get(f"/api/v1/commands/a1/{key}", headers=headers)
    return str(answer.json()["state"])


def report(key: str, kind: str = "command.done") -> Event:
    facts = {"id": key, "action": "open_once", "arguments": {"door": 1}, "by": "x", "origin": "collector"}
    return Event(device_id="door-01", kind=kind, data=facts, measured_ms=NOW_MS, received_ms=NOW_MS)


async def test_a_gateway_gets_its_commands_and_its_sealed_report_ends_them(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await a_gateway(collector, tmp_path, device=1)
    async with collector.client(certificate) as client:
        waiting = asyncio.create_task(asked(client, wait_s=30))
        await given(collector, "c-1")
        answer = await waiting
        [command] = opened(collector, answer, sender)
        assert (command.id, command.device_id, command.action) == ("c-1", "door-01", "open_once")
        assert answer.headers[CLOCK_HEADER] == str(NOW_MS)
        assert opened(collector, await asked(client, got=["c-1"]), sender) == []
        assert await state_of(collector, "c-1") == "sent"
        await client.put(f"/gateway/v1/keys/{sender.content_key.key_id.hex()}", content=sender.package)
        body = sender.seal([report("c-1")]).body
        for _ in range(2):  # sent again, it changes nothing
            assert (await client.post("/gateway/v1/batches", content=body)).status_code == 200
    assert await state_of(collector, "c-1") == "done"


async def test_nobody_gets_or_ends_the_command_of_another(
    collector: RunningCollector, tmp_path: Path
) -> None:
    owner, own = await a_gateway(collector, tmp_path, device=1)
    thief, foreign = await a_gateway(collector, tmp_path, device=2)
    await given(collector, "c-1", device=1)
    async with collector.client(foreign) as client:
        for everything in (True, False):
            answer = await asked(client, everything=everything, got=["c-1"])
            assert answer.json() == {"commands": []}
        await client.put(f"/gateway/v1/keys/{thief.content_key.key_id.hex()}", content=thief.package)
        await client.post("/gateway/v1/batches", content=thief.seal([report("c-1")]).body)
    assert await state_of(collector, "c-1") == "waiting"
    async with collector.client(own) as client:
        assert len(opened(collector, await asked(client), owner)) == 1


async def test_without_a_certificate_or_after_it_was_revoked_nothing_is_told(
    collector: RunningCollector, tmp_path: Path
) -> None:
    sender, certificate = await a_gateway(collector, tmp_path, device=1)
    await given(collector, "c-1")
    async with collector.client() as stranger:
        answer = await stranger.get(COMMANDS)
        assert (answer.status_code, "c-1" in answer.text) == (401, False)
    async with await Store.open(collector.home.database) as store:
        await revoke_gateway(store, sender.gateway_id, by="test", now_ms=real_now_ms())
    async with collector.client(certificate) as client:
        assert (await asked(client)).status_code == 403


@pytest.mark.parametrize(
    "wrong", [{"wait_s": 61}, {"wait_s": -1}, {"wait_s": "nan"}, {"got": ["c"] * 21}, {"everything": "x"}]
)
async def test_a_question_that_is_none_is_refused(
    collector: RunningCollector, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    _, certificate = await a_gateway(collector, tmp_path, device=1)
    async with collector.client(certificate) as client:
        assert (await asked(client, **wrong)).status_code == 422


async def test_a_collector_that_stops_does_not_wait_for_questions(
    tmp_path: Path, standing: StandingClock
) -> None:
    home = await new_home(tmp_path / "collector")
    async with running(home, standing.clock) as collector:
        _, certificate = await a_gateway(collector, tmp_path, device=1)
        async with collector.client(certificate) as client, collector.client() as other:
            waiting = asyncio.create_task(asked(client, wait_s=60))
            for _ in range(10):  # by then the question has long been put
                await other.get("/healthz")
            assert not waiting.done()
            collector.stop()
            assert (await waiting).json() == {"commands": []}


async def test_the_command_line_gives_a_command_and_waits_for_what_comes_of_it(
    collector: RunningCollector, tmp_path: Path, standing: StandingClock
) -> None:
    standing.now_ms = real_now_ms()  # the command line lives in real time
    sender, certificate = await a_gateway(collector, tmp_path, device=1)
    folder = str(collector.home.folder)

    def at_the_line(*words: str) -> Any:
        return CliRunner().invoke(collector_cli, [*words, "--dir", folder])

    words = ("command", "a1", "door-01", "open_once", "door=1", "--key", "c-1", "--wait", "--json")
    typed = asyncio.create_task(asyncio.to_thread(at_the_line, *words))
    async with collector.client(certificate) as client:
        answer = await asked(client, wait_s=30)
        assert len(answer.json()["commands"]) == 1
        await client.put(f"/gateway/v1/keys/{sender.content_key.key_id.hex()}", content=sender.package)
        event = report("c-1")
        item = Event(**{name: getattr(event, name) for name in ("device_id", "kind", "data")},
                     measured_ms=standing.now_ms, received_ms=standing.now_ms)  # fmt: skip
        await client.post("/gateway/v1/batches", content=sender.seal([item]).body)
    result = await typed
    assert result.exit_code == 0, result.output
    assert '"state": "done"' in result.output
    listed = await asyncio.to_thread(at_the_line, "commands", "--site", "a1")
    assert "door-01" in listed.output
    assert "done" in listed.output
    for wrong, told in (
        (("command", "a1", "door-99", "lock"), "has no device"),
        (("command", "a1", "door-01", "lock", "door"), "key=value"),
        (("command", "a1", "door-01", "lock", "door=x"), "arguments.door"),
        (("command", "a1", "1", "lock", "--key", "c-1"), "used for another"),
    ):
        refused = await asyncio.to_thread(at_the_line, *wrong)
        assert (refused.exit_code, told in refused.output) == (1, True), refused.output
