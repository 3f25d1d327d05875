"""A listener runs for as long as its bus is to be listened to, whatever happens in it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drivers.contract import DeviceState, Sink
from edge_agent.listening import RESTART_PAUSE_S, ListeningBus
from models.errors import NeedsAHuman
from models.reading import Event, Item
from tests.support.clocks import VirtualClock, settle


class Shelf:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        self.items += items

    async def marks(self, prefix: str) -> dict[str, str]:
        return {}


class Bell:
    """Devices that ring when a test says so, and a listener that fails when a test says so."""

    def __init__(self) -> None:
        self.states = [DeviceState("bell")]
        self.rings: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self.runs, self.is_listening = 0, False

    async def run(self, sink: Sink) -> None:
        self.runs, self.is_listening = self.runs + 1, True
        try:
            while True:
                heard = await self.rings.get()
                if isinstance(heard, Exception):
                    raise heard
                await sink.put([heard])
        finally:
            self.is_listening = False

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"device": device_id, "did": action, **arguments}


RING = Event(device_id="bell", kind="bell.rang", data={}, measured_ms=1, received_ms=1)


@asynccontextmanager
async def listening(bell: Bell, shelf: Shelf, clock: VirtualClock) -> AsyncIterator[ListeningBus]:
    bus = ListeningBus("hall", bell, shelf, clock=clock.clock)
    task = asyncio.create_task(bus.run())
    await settle()
    try:
        yield bus
    finally:
        bus.stop()
        await task


async def test_what_is_heard_is_kept_until_the_bus_is_stopped(clock: VirtualClock) -> None:
    bell, shelf = Bell(), Shelf()
    async with listening(bell, shelf, clock):
        bell.rings.put_nowait(RING)
        await settle()
        assert bell.is_listening
    assert shelf.items == [RING]
    assert not bell.is_listening


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), NeedsAHuman("the password is wrong")])
async def test_a_listener_that_fails_begins_again_after_a_pause(
    clock: VirtualClock, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bell, shelf = Bell(), Shelf()
    async with listening(bell, shelf, clock):
        for runs in (1, 2, 3):
            assert (bell.runs, bell.is_listening) == (runs, True)
            bell.rings.put_nowait(failure)
            await settle()
            assert not bell.is_listening
            await clock.advance(RESTART_PAUSE_S)
        bell.rings.put_nowait(RING)
        await settle()
    assert shelf.items == [RING]
    said = [record for record in caplog.records if record.name == "edge_agent.listening"]
    assert len(said) == (1 if isinstance(failure, NeedsAHuman) else 3)


async def test_a_command_goes_to_the_listener(clock: VirtualClock) -> None:
    async with listening(Bell(), Shelf(), clock) as bus:
        assert await bus.act("bell", "ring", {"times": 2}) == {"device": "bell", "did": "ring", "times": 2}
        assert [state.id for state in bus.states] == ["bell"]
