"""Commands are carried out in their order, in their time, at most once, and each is told of once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import CommandRefused, DeviceUnreachable
from edge_agent.buffer.contract import BufferUnavailable
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.control.executor import MOST_WAITING, Executor
from edge_agent.control.orders import PREFIX, Ended, Order, decoded_mark, mark_of
from edge_agent.sink import BufferSink
from models.actions import HIDDEN
from models.reading import Event
from models.times import DAY_MS
from tests.support.clocks import START_MS, VirtualClock, settle
from tests.support.obedient import ObedientBus, an_order, executor_on


@contextlib.asynccontextmanager
async def running(executor: Executor) -> AsyncIterator[Executor]:
    await executor.begin()
    task = asyncio.create_task(executor.run())
    try:
        yield executor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(executor: Executor, order: Order) -> Ended:
    waiting = await executor.submit(order)
    assert waiting is not None
    return await waiting


async def events(buffer: SqliteBuffer) -> list[Event]:
    cut = await (await buffer.outbox("main")).cut(10_000)
    return [item for item in cut.items if isinstance(item, Event)] if cut else []


async def told(buffer: SqliteBuffer) -> list[tuple[str, str]]:
    return [(event.kind, event.data["id"]) for event in await events(buffer)]


async def test_what_was_done_is_told_with_who_wanted_it_and_what_the_device_showed(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    bus = ObedientBus()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        assert (await ended(executor, an_order())).state == "done"
    assert bus.acts == [("door-01", "open_once", {"door": 1, "key": "c-1"})]
    [event] = await events(buffer)
    assert (event.device_id, event.kind) == ("door-01", "command.done")
    assert event.data == {
        "id": "c-1",
        "action": "open_once",
        "arguments": {"door": 1},
        "by": "duty desk",
        "origin": "collector",
        "result": {"confirmed": True},
    }


async def test_an_order_that_comes_again_is_done_once(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    bus = ObedientBus()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        bus.gate.clear()
        first = await executor.submit(an_order())
        assert await executor.submit(an_order()) is None  # while it waits
        await settle()
        assert await executor.submit(an_order()) is None  # while it is done
        bus.gate.set()
        assert first is not None
        await first
        assert await executor.submit(an_order()) is None
    async with running(executor_on(buffer, bus, clock=clock.clock)) as later:
        assert await later.submit(an_order()) is None  # after a restart
    assert len(bus.acts) == 1
    assert await told(buffer) == [("command.done", "c-1")]


async def test_an_outage_of_hours_opens_no_door_later(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    bus = ObedientBus()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        await clock.advance(3 * 3600)
        result = await ended(executor, an_order())
    assert (result.state, result.outcome.code) == ("refused", "expired")
    assert bus.acts == []


async def test_what_waits_too_long_behind_others_is_not_begun(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    bus = ObedientBus()
    bus.gate.clear()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        first = await executor.submit(an_order(1, expires_ms=START_MS + DAY_MS))
        second = await executor.submit(an_order(3, expires_ms=START_MS + 10_000))
        await clock.advance(10)
        bus.gate.set()
        assert first is not None
        assert second is not None
        assert [(await first).state, (await second).outcome.code] == ["done", "expired"]
    assert [key["key"] for _, _, key in bus.acts] == ["c-1"]


async def test_a_bus_that_hangs_is_let_go_when_the_time_of_the_order_is_over(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    bus = ObedientBus()
    bus.gate.clear()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        waiting = await executor.submit(an_order())
        assert waiting is not None
        await bus.begun.wait()
        await clock.advance(60)
        result = await waiting
        assert (result.state, result.outcome.code) == ("failed", "unknown-outcome")
        bus.gate.set()
        assert (await ended(executor, an_order(2, expires_ms=START_MS + DAY_MS))).state == "done"


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (CommandRefused("door-01", "open_once", "no such door"), "refused", "refused"),
        (DeviceUnreachable("192.0.2.1", "no route"), "failed", "failed"),
        (ZeroDivisionError("a secret"), "failed", "internal"),
    ],
)
async def test_what_a_device_says_is_told(
    buffer: SqliteBuffer, clock: VirtualClock, error: Exception, state: str, code: str
) -> None:
    bus = ObedientBus(fails=error)
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        result = await ended(executor, an_order())
        assert (result.state, result.outcome.code) == (state, code)
        assert "secret" not in result.outcome.detail
        bus.fails = None
        assert (await ended(executor, an_order(2))).state == "done"


async def test_buses_do_not_wait_for_each_other_and_each_keeps_the_order(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    slow, quick = ObedientBus("slow", ("door-01",)), ObedientBus("quick", ("door-02",))
    slow.gate.clear()
    async with running(executor_on(buffer, slow, quick, clock=clock.clock)) as executor:
        held = [await executor.submit(an_order(number)) for number in range(1, 6)]
        for number in range(6, 11):
            assert (await ended(executor, an_order(number, device_id="door-02"))).state == "done"
        slow.gate.set()
        for waiting in held:
            assert waiting is not None
            await waiting
    assert [arguments["key"] for _, _, arguments in slow.acts] == [f"c-{n}" for n in range(1, 6)]


async def test_more_than_a_bus_can_do_is_refused_and_told(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    bus = ObedientBus()
    bus.gate.clear()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        await executor.submit(an_order(0))
        await bus.begun.wait()
        waiting = [await executor.submit(an_order(number)) for number in range(1, MOST_WAITING + 3)]
        bus.gate.set()
        states = Counter([(await each).state for each in waiting if each is not None])
    assert states == {"done": MOST_WAITING, "refused": 2}


async def test_a_device_that_is_not_there_is_refused(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    async with running(executor_on(buffer, ObedientBus(), clock=clock.clock)) as executor:
        assert (await ended(executor, an_order(device_id="door-99"))).outcome.code == "no-such-device"


async def test_a_device_that_was_not_heard_since_the_start_is_given_a_moment(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    bus = ObedientBus(answered_ms=None)
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        first = await executor.submit(an_order(1))
        await clock.advance(2)
        assert bus.acts == []
        bus.answered_ms = clock.now_ms()
        await clock.advance(1)
        assert first is not None
        assert (await first).state == "done"
        bus.answered_ms = None  # one that is never heard is told all the same
        second = await executor.submit(an_order(2))
        await clock.advance(6)
        assert second is not None
        assert (await second).state == "done"


async def test_nothing_is_begun_that_cannot_be_noted(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    bus = ObedientBus()
    noted: list[Any] = []

    async def full(marks: Any) -> None:
        noted.append(marks)
        raise BufferUnavailable("disk full")

    sink = BufferSink(buffer, clock.clock)
    async with running(Executor(lambda: [bus], note=full, sink=sink, clock=clock.clock)) as executor:
        result = await ended(executor, an_order())
    assert (result.state, result.outcome.code, bus.acts) == ("refused", "disk", [])
    assert len(noted) == 1


# after a crash


async def crashed_during(buffer: SqliteBuffer, order: Order) -> None:
    await buffer.append([], {PREFIX + order.id: mark_of(order, begun=True).encode()})


async def test_what_a_crash_cut_off_is_not_repeated_but_told_as_unknown(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    await crashed_during(buffer, an_order(1))
    bus = ObedientBus()
    for _ in range(2):
        async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
            assert await executor.submit(an_order(1)) is None
    assert bus.acts == []
    [event] = await events(buffer)
    assert (event.kind, event.data["code"], event.data["by"]) == (
        "command.failed",
        "unknown-outcome",
        "duty desk",
    )


async def test_what_may_be_repeated_is_repeated_in_its_time(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    await crashed_during(buffer, an_order(2))
    bus = ObedientBus()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        assert (await ended(executor, an_order(2))).state == "done"
        assert await executor.submit(an_order(2)) is None
    assert len(bus.acts) == 1
    assert await told(buffer) == [("command.done", "c-2")]


async def test_what_was_not_offered_again_in_its_time_is_told_as_unknown(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    await crashed_during(buffer, an_order(2))
    async with running(executor_on(buffer, ObedientBus(), clock=clock.clock)):
        assert await told(buffer) == []
        await clock.advance(61)
        while not await told(buffer):
            await clock.advance(61)
    assert [(kind, command_id) for kind, command_id in await told(buffer)] == [("command.failed", "c-2")]


@pytest.mark.parametrize("why", ["expired", "refused", "gone"])
async def test_of_what_had_begun_before_nobody_says_that_nothing_was_done(
    buffer: SqliteBuffer, clock: VirtualClock, why: str
) -> None:
    await crashed_during(buffer, an_order(2))
    bus = ObedientBus(fails=CommandRefused("door-01", "lock", "locked by hand"))
    executor = executor_on(buffer, bus, clock=clock.clock)
    async with running(executor):
        order = an_order(2, device_id="door-99" if why == "gone" else "door-01")
        if why == "expired":
            bus.gate.clear()
            await executor.submit(an_order(3))
            waiting = await executor.submit(order)
            await clock.advance(60)
            bus.gate.set()
            assert waiting is not None
            result = await waiting
        else:
            result = await ended(executor, order)
    assert (result.state, result.outcome.code) == ("failed", "unknown-outcome")


async def test_what_a_technician_had_begun_is_told_at_the_next_start(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    await crashed_during(buffer, an_order(2, origin="on-site", by="li (uid 1000)"))
    async with running(executor_on(buffer, ObedientBus(), clock=clock.clock)):
        pass
    [event] = await events(buffer)
    assert (event.kind, event.data["by"], event.data["origin"]) == (
        "command.failed",
        "li (uid 1000)",
        "on-site",
    )


async def test_commands_are_forgotten_long_after_their_time(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    async with running(executor_on(buffer, ObedientBus(), clock=clock.clock)) as executor:
        await ended(executor, an_order())
        await clock.advance(6.9 * 86_400)
        assert await buffer.marks(PREFIX)
        while await buffer.marks(PREFIX):
            await clock.advance(3600)
            assert clock.now_ms() < START_MS + 8 * DAY_MS
        result = await ended(executor, an_order())  # captured, and played again a week later
    assert result.outcome.code == "expired"


async def test_a_damaged_mark_counts_as_known(buffer: SqliteBuffer, clock: VirtualClock) -> None:
    await buffer.append([], {PREFIX + "c-1": "{not json"})
    assert decoded_mark("{not json") is None
    bus = ObedientBus()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        assert await executor.submit(an_order(1)) is None
    assert bus.acts == []


async def test_secret_arguments_reach_the_device_and_nothing_else(
    buffer: SqliteBuffer, clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    bus = ObedientBus()
    order = an_order(
        4,
        action="put_pass",
        arguments={
            "pass": "v-7", "doors": [1], "from_ms": START_MS, "to_ms": START_MS + DAY_MS, "card": "83726451"
        },
    )  # fmt: skip
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        result = await ended(executor, order)
    assert bus.acts[0][2]["card"] == "83726451"
    assert result.outcome.arguments["card"] == HIDDEN
    kept = b"".join((tmp_path / name).read_bytes() for name in ("buffer.db", "buffer.db-wal"))
    assert b"v-7" not in kept  # nothing in the buffer is in clear
    assert b"83726451" not in kept
    assert "v-7" in repr(await events(buffer))
    assert "83726451" not in caplog.text + repr(order) + repr(result) + repr(await events(buffer)) + str(
        await buffer.marks("")
    )


async def test_when_the_agent_stops_what_waits_is_left_for_the_next_start(
    buffer: SqliteBuffer, clock: VirtualClock
) -> None:
    bus = ObedientBus()
    bus.gate.clear()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as executor:
        doing = await executor.submit(an_order(1))
        waits = await executor.submit(an_order(3))
        await bus.begun.wait()
        executor.stop()
        bus.gate.set()
        assert doing is not None
        assert waits is not None
        assert (await doing).state == "done"
        await asyncio.wait([waits])
        assert waits.cancelled()
    async with running(executor_on(buffer, bus, clock=clock.clock)) as later:
        assert (await ended(later, an_order(3))).state == "done"
