"""Every way to misbehave, as the bytes that a reader gets."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.faults import KINDS, Fault, FaultMistake, FaultSet, parse_fault
from simulators.ledger import LedgerWriter
from simulators.modbus import misbehave
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.server import Endpoint
from tests.simulators.conftest import Serving
from tests.support.clocks import START_MS, VirtualClock, settle
from tests.support.wire import Wire, read_frame, wire

Making = Callable[..., ModbusMeter]
ASK = read_frame(1, 0, 2, transaction=5)
AGAIN = read_frame(1, 0, 2, transaction=6)


async def first_then_next(line: Wire, first_takes: int) -> tuple[bytes, bytes]:
    """The so many bytes that come for a first request, and the right reply to a second."""
    line.send(ASK, AGAIN)
    return await line.take(first_takes), await line.take(13)


@pytest.mark.parametrize("kind", ["lost", "silence"])
async def test_a_lost_reply_never_comes(a_meter: Making, serving: Serving, kind: str) -> None:
    meter = a_meter()
    meter.faults.add(Fault.model_validate({"kind": kind, "times": 1}))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, reply = await first_then_next(line, 0)
    assert came == b""
    assert reply[:9] == bytes.fromhex("0006 0000 0007 01 04 04")


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        pytest.param("foreign_unit", "0005 0000 0007 02 04 04", id="from a neighbour"),
        pytest.param("foreign_transaction", "8005 0000 0007 01 04 04", id="to another question"),
    ],
)
async def test_a_foreign_reply_is_right_but_for_its_address(
    a_meter: Making, serving: Serving, kind: str, header: str
) -> None:
    meter = a_meter()
    meter.faults.add(Fault.model_validate({"kind": kind, "times": 1}))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, reply = await first_then_next(line, 13)
    assert came == bytes.fromhex(header) + reply[9:]


async def test_an_echo_is_the_request(a_meter: Making, serving: Serving) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="echo", times=1))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, _ = await first_then_next(line, 12)
    assert came == ASK


async def test_a_truncated_reply_ends_too_early(a_meter: Making, serving: Serving) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="truncated", times=1))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, _ = await first_then_next(line, 7)
    assert came == bytes.fromhex("0005 0000 0007 01")


async def test_a_duplicate_comes_twice_and_a_busy_meter_says_so(a_meter: Making, serving: Serving) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="duplicate", times=1))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, reply = await first_then_next(line, 26)
        assert came == 2 * (b"\0\5" + reply[2:])
        meter.faults.add(Fault(kind="busy", times=1))
        assert await line.ask(ASK) == bytes.fromhex("0005 0000 0003 01 84 06")
        meter.faults.add(Fault(kind="exception", code=10, times=1))
        assert await line.ask(ASK) == bytes.fromhex("0005 0000 0003 01 84 0a")


@given(content=st.binary(min_size=2, max_size=250), roll=st.floats(0, 1, exclude_max=True))
def test_a_garbled_reply_is_visibly_wrong_and_its_data_are_whole(content: bytes, roll: float) -> None:
    frame = bytes([0, 5, 0, 0, 0, len(content) + 3, 1, 4, len(content)]) + content
    wrong = misbehave.garbled(frame, roll)
    changed = [place for place, (a, b) in enumerate(zip(frame, wrong, strict=True)) if a != b]
    assert len(changed) == 1
    assert changed[0] in (2, 5, 7, 8)  # protocol, length, function, byte count


async def test_a_garbled_reply_goes_over_the_wire(a_meter: Making, serving: Serving) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="garbled"))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        line.send(*(read_frame(1, 0, 2, transaction=n) for n in range(40)))
        wrong = {
            place
            for n in range(40)
            for place, (a, b) in enumerate(
                zip(await line.take(13), bytes([0, n, 0, 0, 0, 7, 1, 4, 4]), strict=False)
            )
            if a != b
        }
    assert wrong == {2, 5, 7, 8}


async def test_a_late_reply_comes_after_the_one_to_the_next_request(
    a_meter: Making, serving: Serving, virtual_clock: VirtualClock
) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="late", delay_ms=3000, times=1))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        came, reply = await first_then_next(line, 0)
        assert came == b""
        await virtual_clock.advance(3.0)
        assert await line.frame() == b"\0\5" + reply[2:]


async def test_a_late_reply_of_an_endpoint_that_closes_is_forgotten(
    a_meter: Making, serving: Serving
) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="late", delay_ms=3000))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        line.send(ASK)
        await settle()


async def test_a_reset_breaks_the_connection_in_the_middle_of_the_reply(
    a_meter: Making, serving: Serving
) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="reset", times=1))
    async with serving(meter) as endpoint:
        async with wire(endpoint.port) as line:
            line.send(ASK)
            assert await line.take(7) == bytes.fromhex("0005 0000 0007 01")
            with pytest.raises(ConnectionResetError):
                await line.rest()
        async with wire(endpoint.port) as line:
            assert (await line.ask(ASK))[7] == 4


async def test_a_fault_of_the_endpoint_hits_every_unit(a_meter: Making, serving: Serving) -> None:
    async with serving(a_meter(), a_meter("m-02", unit=2)) as endpoint, wire(endpoint.port) as line:
        busy = endpoint.faults.add(Fault(kind="busy"))
        assert [(await line.ask(read_frame(unit, 0, 2)))[7:] for unit in (1, 2, 9)] == 3 * [b"\x84\6"]
        endpoint.faults.remove(busy)
        endpoint.faults.remove(busy)
        assert (await line.ask(ASK))[7] == 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("refused", "reboot", "reset")])
async def test_the_same_seed_and_requests_give_the_same_bytes(
    a_meter: Making, serving: Serving, tmp_path: Path, kind: str
) -> None:
    more: dict[str, dict[str, object]] = {"late": {"delay": "10ms"}, "exception": {"code": 4}}
    fault = Fault.model_validate({"kind": kind, "probability": 0.3, **more.get(kind, {})})

    async def trace(run: str, seed: int) -> tuple[bytes, bytes]:
        meter = a_meter()
        meter.faults = FaultSet("m-01", seed=seed, origin_ms=START_MS, now_ms=lambda: START_MS)
        meter.faults.add(fault)
        ledger = LedgerWriter(tmp_path / run, scenario="test", seed=7, start_ms=START_MS)
        async with serving(meter, ledger=ledger) as endpoint, wire(endpoint.port) as line:
            line.send(*(read_frame(1, 0, 20, transaction=n) for n in range(200)))
            line.writer.write_eof()
            came = await line.rest()
        ledger.close()
        return came, (tmp_path / run).read_bytes()

    first = await trace("first", 7)
    assert first == await trace("second", 7)
    assert first != await trace("third", 8)


def a_fault_set(virtual_clock: VirtualClock) -> FaultSet:
    return FaultSet("m-01", seed=7, origin_ms=START_MS, now_ms=virtual_clock.now_ms)


def test_a_fault_strikes_as_often_as_it_says(virtual_clock: VirtualClock) -> None:
    faults = a_fault_set(virtual_clock)
    faults.add(Fault(kind="lost", probability=0.1))
    struck = sum(faults.strike(START_MS) is not None for _ in range(10_000))
    assert 850 < struck < 1150


async def test_a_fault_has_its_time(virtual_clock: VirtualClock) -> None:
    faults = a_fault_set(virtual_clock)
    faults.add(Fault(kind="silence", after_ms=60_000, for_ms=30_000))
    seen = [faults.strike(START_MS + s * 1000) is not None for s in (0, 59, 60, 89, 90)]
    assert seen == [False, False, True, True, False]
    await virtual_clock.advance(600)
    faults.add(Fault(kind="busy", for_ms=10_000))  # without `after`: from now on
    seen = [faults.strike(START_MS + s * 1000) is not None for s in (599, 600, 609, 610)]
    assert seen == [False, True, True, False]
    faults.clear()
    assert faults.strike(START_MS + 605_000) is None


def test_a_silence_lasts(virtual_clock: VirtualClock) -> None:
    faults = a_fault_set(virtual_clock)
    faults.add(Fault(kind="silence", times=1, lasts_ms=60_000))
    seen = [faults.strike(START_MS + s * 1000) is not None for s in (0, 1, 59, 60, 61)]
    assert seen == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lost=0.01", Fault(kind="lost", probability=0.01)),
        ("late=0.01:3s", Fault(kind="late", probability=0.01, delay_ms=3000)),
        ("exception=0.5:4", Fault(kind="exception", probability=0.5, code=4)),
        ("silence=0.001:1m30s", Fault(kind="silence", probability=0.001, lasts_ms=90_000)),
        ("foreign-unit=0.1", Fault(kind="foreign_unit", probability=0.1)),
        ("busy", Fault(kind="busy")),
    ],
)
def test_a_fault_is_written_on_one_line(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("lots=0.01", "did you mean 'lost'"),
        ("lost=often", "lost=0.01"),
        ("lost=1.5", "less than or equal to 1"),
        ("late=0.01", "needs a `delay`"),
        ("exception=0.01", "needs a `code`"),
        ("late=0.01:soon", "no duration"),
        ("lost=0.01:3s", "last"),
    ],
)
def test_a_mistake_in_a_fault_says_what_is_right(text: str, hint: str) -> None:
    with pytest.raises(FaultMistake, match=hint):
        parse_fault(text)


async def connects(endpoint: Endpoint) -> bool:
    try:
        async with wire(endpoint.port) as line:
            return (await line.ask(ASK))[7] == 4
    except ConnectionRefusedError:
        return False


async def test_a_reboot_breaks_connections_and_the_meter_comes_back(
    a_meter: Making, serving: Serving, virtual_clock: VirtualClock
) -> None:
    meter = a_meter()
    async with serving(meter) as endpoint, asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        async with wire(endpoint.port) as line:
            assert (await line.ask(ASK))[7] == 4
            meter.faults.add(Fault(kind="reboot", probability=0.999999, times=1, lasts_ms=20_000))
            line.send(ASK)
            with pytest.raises(ConnectionResetError):
                await line.rest()
        await virtual_clock.advance(19)
        assert not await connects(endpoint)
        await virtual_clock.advance(2)
        assert await connects(endpoint)
        run.cancel()


async def test_a_planned_reboot_needs_no_request(
    a_meter: Making, serving: Serving, virtual_clock: VirtualClock
) -> None:
    meter = a_meter()
    meter.faults.add(Fault(kind="reboot", after_ms=60_000))
    async with serving(meter) as endpoint, asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        async with wire(endpoint.port) as line:
            assert (await line.ask(ASK))[7] == 4
            await virtual_clock.advance(61)
            with pytest.raises(ConnectionResetError):
                await line.rest()
            assert not await connects(endpoint)
        await virtual_clock.advance(10)
        assert await connects(endpoint)
        run.cancel()


async def test_a_refusal_keeps_the_connections_that_are_open(
    a_meter: Making, serving: Serving, virtual_clock: VirtualClock
) -> None:
    async with serving(a_meter()) as endpoint, asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        async with wire(endpoint.port) as line:
            assert (await line.ask(ASK))[7] == 4
            refusal = endpoint.faults.add(Fault(kind="refused"))
            await settle()
            assert not await connects(endpoint)
            assert (await line.ask(ASK))[7] == 4
            endpoint.faults.remove(refusal)
            await settle()
            assert await connects(endpoint)
        run.cancel()
