"""What the collector sends is carried out when it is for this gateway, for now, and allowed; else never."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.control.executor import Executor
from edge_agent.control.inbox import Inbox
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.sink import BufferSink
from models.command import Command, CommandKey
from models.reading import GATEWAY, Event
from models.sealing import seal_text
from models.times import DAY_MS
from tests.support.clocks import START_MS, VirtualClock
from tests.support.https import Collector
from tests.support.obedient import ObedientBus, executor_on

PASS: dict[str, Any] = {"pass": "v-7", "doors": [1], "from_ms": START_MS, "to_ms": START_MS + DAY_MS}


@dataclass
class Gateway:
    """An enrolled gateway with one door, where the collector may do with doors what it likes."""

    identity: Identity
    key: CommandKey
    buffer: SqliteBuffer
    bus: ObedientBus
    executor: Executor
    inbox: Inbox

    def signed(self, **changed: Any) -> bytes:
        return self.key.sign(a_command(**changed))

    async def take(self, signed: bytes) -> str | None:
        """And wait until all that is under way has ended."""
        taken = await self.inbox.take(signed)
        async with asyncio.timeout(10):
            while self.executor._waiting:  # noqa: ASYNC110  # it rings no bell
                await asyncio.sleep(0.001)
        return taken

    async def told(self) -> list[tuple[str, str, str]]:
        cut = await (await self.buffer.outbox("main")).cut(10_000)
        events = [item for item in cut.items if isinstance(item, Event)] if cut else []
        return [(event.device_id, event.kind, event.data.get("code", "")) for event in events]


def a_command(**changed: Any) -> Command:
    fields: dict[str, Any] = {
        "id": "c-1",
        "gateway_id": "gw-1",
        "device_id": "door-01",
        "action": "open_once",
        "arguments": {"door": 1},
        "issued_ms": START_MS,
        "expires_ms": START_MS + 60_000,
        "issued_by": "duty desk",
    }
    return Command(**fields | changed)


async def no_configurations(signed: bytes) -> None:
    raise AssertionError("this was a command")


@contextlib.asynccontextmanager
async def a_gateway(
    folder: Path, buffer: SqliteBuffer, clock: VirtualClock, *, allowed: tuple[Any, ...] = ("doors",)
) -> AsyncIterator[Gateway]:
    async with Collector().serve() as collector:
        identity = await asyncio.to_thread(enroll, collector.token, state_dir=folder)
    bus = ObedientBus()
    executor = executor_on(buffer, bus, clock=clock.clock)
    sink = BufferSink(buffer, clock.clock)
    inbox = Inbox(identity, lambda: allowed, executor, sink, clock.clock, no_configurations)
    await executor.begin()
    running = asyncio.create_task(executor.run())
    try:
        yield Gateway(identity, collector.command_key, buffer, bus, executor, inbox)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def gateway(tmp_path: Path, buffer: SqliteBuffer, clock: VirtualClock) -> AsyncIterator[Gateway]:
    async with a_gateway(tmp_path, buffer, clock) as made:
        yield made


async def test_a_command_of_the_collector_is_done(gateway: Gateway) -> None:
    assert await gateway.take(gateway.signed()) == "c-1"
    assert gateway.bus.acts == [("door-01", "open_once", {"door": 1, "key": "c-1"})]


async def test_a_captured_command_that_is_played_again_does_nothing(
    gateway: Gateway, clock: VirtualClock
) -> None:
    captured = gateway.signed()
    for _ in range(3):
        assert await gateway.take(captured) == "c-1"
    await clock.advance(9 * 86_400)  # when even its id is forgotten
    assert await gateway.take(captured) == "c-1"
    assert len(gateway.bus.acts) == 1
    assert await gateway.told() == [
        ("door-01", "command.done", ""),
        ("door-01", "command.refused", "expired"),
    ]


async def test_what_was_tampered_with_or_is_of_another_or_for_another_does_nothing(gateway: Gateway) -> None:
    for wrong in (
        bytes([*gateway.signed()[:-1], gateway.signed()[-1] ^ 1]),
        CommandKey.generate().sign(a_command()),
        gateway.signed(gateway_id="gw-2"),
        b"",
        b"GHC\x02" + gateway.signed()[4:],
    ):
        assert await gateway.take(wrong) is None
    assert gateway.bus.acts == []
    kinds = {(device_id, kind) for device_id, kind, _ in await gateway.told()}
    assert kinds == {(GATEWAY, "command.rejected")}


async def test_of_a_thousand_wrong_ones_little_is_said(gateway: Gateway) -> None:
    for number in range(1000):
        await gateway.inbox.take(CommandKey.generate().sign(a_command(id=f"c-{number}")))
    assert await gateway.told() == [(GATEWAY, "command.rejected", "bad-signature")]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"issued_ms": START_MS - 120_000, "expires_ms": START_MS - 60_000}, "expired"),
        ({"issued_ms": START_MS + DAY_MS, "expires_ms": START_MS + DAY_MS + 60_000}, "from-the-future"),
        ({"expires_ms": START_MS + 2 * DAY_MS}, "malformed"),
        ({"action": "write", "arguments": {"point": "a", "value": 1}}, "not-allowed"),
        ({"action": "explode", "arguments": {}}, "unknown-action"),
        ({"arguments": {"door": 0}}, "arguments"),
        ({"device_id": "door-99"}, "no-such-device"),
    ],
)
async def test_what_may_not_be_done_is_told_once_and_not_done(
    gateway: Gateway, changed: dict[str, Any], code: str
) -> None:
    signed = gateway.signed(**changed)
    assert [await gateway.take(signed), await gateway.take(signed)] == ["c-1", "c-1"]
    assert gateway.bus.acts == []
    device_id = changed.get("device_id", "door-01")
    assert await gateway.told() == [(device_id, "command.refused", code)]


async def test_without_a_word_in_the_configuration_nothing_is_allowed(
    tmp_path: Path, buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    async with a_gateway(tmp_path, buffer, clock, allowed=()) as gateway:
        await gateway.take(gateway.signed())
        assert gateway.bus.acts == []
        assert await gateway.told() == [("door-01", "command.refused", "not-allowed")]


def sealed(gateway: Gateway, card: str, *, command_id: str = "c-1") -> str:
    key = gateway.identity.seal_key.public_key().public_bytes_raw()
    return seal_text(card, public_key=key, gateway_id="gw-1", command_id=command_id)


async def test_a_sealed_card_number_reaches_the_device(gateway: Gateway) -> None:
    card = sealed(gateway, "83726451")
    await gateway.take(gateway.signed(action="put_pass", arguments=PASS | {"card": card}))
    assert gateway.bus.acts[0][2]["card"] == "83726451"


@pytest.mark.parametrize("how", ["in clear", "for another command", "what is sealed is no card"])
async def test_a_card_number_that_was_not_sealed_for_this_is_refused(gateway: Gateway, how: str) -> None:
    card = {
        "in clear": "83726451",
        "for another command": sealed(gateway, "83726451", command_id="c-2"),
        "what is sealed is no card": sealed(gateway, "'; DROP"),
    }[how]
    await gateway.take(gateway.signed(action="put_pass", arguments=PASS | {"card": card}))
    assert gateway.bus.acts == []
    assert await gateway.told() == [("door-01", "command.refused", "arguments")]
