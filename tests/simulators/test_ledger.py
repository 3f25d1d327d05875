"""The ledger holds what was shown, all of it and nothing else."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.faults import Fault
from simulators.ledger import (
    Happened,
    LedgerExists,
    LedgerMistake,
    LedgerWriter,
    Produced,
    happenings,
    produced,
)
from simulators.modbus.meter import ModbusMeter
from tests.simulators.conftest import Serving
from tests.support.clocks import START_MS, VirtualClock
from tests.support.wire import read_frame, wire

Making = Callable[..., ModbusMeter]
VOLTS = ("voltage_l1_v", "voltage_l2_v")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def a_writer(path: Path) -> LedgerWriter:
    return LedgerWriter(path, scenario="test", seed=7, start_ms=START_MS)


def lines_of(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


async def test_a_reply_is_confirmed_when_its_reader_asks_again(
    a_meter: Making, serving: Serving, path: Path, virtual_clock: VirtualClock
) -> None:
    meter, writer = a_meter(), a_writer(path)
    async with serving(meter, ledger=writer) as endpoint:
        async with wire(endpoint.port) as line:
            for _ in range(3):
                await line.ask(read_frame(1, 0, 4))
                await virtual_clock.advance(60)
        async with wire(endpoint.port) as line:
            await line.ask(read_frame(1, 0, 4))
    writer.close()
    assert [(p.served_ms - START_MS, p.point, p.confirmed) for p in produced(path)] == [
        (ms, point, confirmed)
        for ms, confirmed in ((0, True), (60_000, True), (120_000, False), (180_000, False))
        for point in VOLTS
    ]
    for entry in produced(path):
        assert entry.meter_id == "m-01"
        assert entry.value == meter.display(entry.served_ms)[entry.point]


async def test_another_connection_or_other_registers_confirm_nothing(
    a_meter: Making, serving: Serving, path: Path
) -> None:
    writer = a_writer(path)
    async with (
        serving(a_meter(), a_meter("m-02", unit=2), ledger=writer) as endpoint,
        wire(endpoint.port) as one,
        wire(endpoint.port) as other,
    ):
        await one.ask(read_frame(1, 0, 2))
        await one.ask(read_frame(1, 0, 4))
        await one.ask(read_frame(2, 0, 2))
        await other.ask(read_frame(1, 0, 2))
    writer.close()
    assert not any(entry.confirmed for entry in produced(path))
    assert len(list(produced(path))) == 5


async def test_the_end_of_the_scenario_confirms_what_open_connections_got(
    a_meter: Making, serving: Serving, path: Path, virtual_clock: VirtualClock
) -> None:
    writer = a_writer(path)
    async with serving(a_meter(), ledger=writer) as endpoint:
        async with wire(endpoint.port) as died:
            await died.ask(read_frame(1, 0, 2))
        async with wire(endpoint.port) as line:
            await line.ask(read_frame(1, 2, 2))
            writer.end(virtual_clock.now_ms())
    writer.close()
    assert {entry.point: entry.confirmed for entry in produced(path)} == {
        "voltage_l1_v": False,
        "voltage_l2_v": True,
    }


@pytest.mark.parametrize(
    "kind",
    [
        "lost",
        "silence",
        "foreign_unit",
        "foreign_transaction",
        "garbled",
        "truncated",
        "echo",
        "busy",
        "reset",
    ],
)
async def test_a_spoiled_reply_shows_nothing_and_is_named(
    a_meter: Making, serving: Serving, path: Path, kind: str
) -> None:
    meter, writer = a_meter(), a_writer(path)
    meter.faults.add(Fault.model_validate({"kind": kind, "times": 1}))
    async with serving(meter, ledger=writer) as endpoint, wire(endpoint.port) as line:
        line.send(read_frame(1, 0, 2))
        line.writer.write_eof()
        if kind != "reset":
            await line.rest()
        else:
            with pytest.raises(ConnectionResetError):
                await line.rest()
    writer.close()
    assert [START_MS, 1, 0, kind] in lines_of(path)
    assert list(produced(path)) == []


async def test_a_late_reply_counts_only_within_the_time_that_a_reader_waits(
    a_meter: Making, serving: Serving, path: Path, virtual_clock: VirtualClock
) -> None:
    meter, writer = a_meter(), a_writer(path)
    meter.faults.add(Fault(kind="late", delay_ms=3000, times=1))
    meter.faults.add(Fault(kind="late", delay_ms=200, times=1))
    async with serving(meter, ledger=writer) as endpoint, wire(endpoint.port) as line:
        line.send(read_frame(1, 0, 2), read_frame(1, 2, 2))
        async with wire(endpoint.port) as other:
            await other.ask(read_frame(1, 0x14, 2))  # both requests before have been served
        await virtual_clock.advance(5)
        await line.frame()
        await line.frame()
    writer.close()
    assert {entry.point for entry in produced(path)} == {"voltage_l2_v", "frequency_hz"}


async def test_a_refused_request_is_in_the_ledger_without_values(
    a_meter: Making, serving: Serving, path: Path
) -> None:
    writer = a_writer(path)
    async with serving(a_meter(), ledger=writer) as endpoint, wire(endpoint.port) as line:
        await line.ask(read_frame(1, 0x100, 2))
        await line.ask(read_frame(1, 0, 2, function=6))
    writer.close()
    assert lines_of(path)[1:3] == [
        {"shape": 0, "meter": "m-01", "unit": 1, "table": "input", "first": 256, "size": 2, "points": []},
        [START_MS, 1, 0, "exception 02"],
    ]


async def test_whatever_goes_wrong_every_value_that_was_sent_is_there_and_no_other(
    a_meter: Making, serving: Serving, path: Path, virtual_clock: VirtualClock
) -> None:
    """A reader that takes only what is right, against the ledger, through all faults of the wire."""
    meter, writer = a_meter(), a_writer(path)
    for kind in ("lost", "foreign_unit", "foreign_transaction", "garbled", "echo", "duplicate", "busy"):
        meter.faults.add(Fault.model_validate({"kind": kind, "probability": 0.08}))
    taken: list[tuple[int, bytes]] = []
    async with serving(meter, ledger=writer) as endpoint, wire(endpoint.port) as line:
        for number in range(400):
            line.send(read_frame(1, 0, 4, transaction=number), read_frame(9, 0, 1, transaction=0x7FFF))
            came = b""
            while not came.endswith(bytes.fromhex("7fff 0000 0003 09 84 0b")):
                came += await line.take(1)
            head = number.to_bytes(2, "big") + bytes.fromhex("0000 000b 01 04 08")
            if came.startswith(head):
                taken.append((virtual_clock.now_ms(), came[9:17]))
            await virtual_clock.advance(random.Random(number).uniform(1, 90))
        writer.end(virtual_clock.now_ms())
    writer.close()
    entries = list(produced(path))
    assert len(taken) > 150
    assert all(entry.confirmed for entry in entries)
    assert [entry.served_ms for entry in entries[::2]] == [at_ms for at_ms, _ in taken]
    assert [entry.point for entry in entries] == list(VOLTS) * len(taken)


def test_a_ledger_is_never_written_over(path: Path) -> None:
    a_writer(path).close()
    with pytest.raises(LedgerExists, match="is there already"):
        a_writer(path)


def test_values_come_back_exactly(path: Path) -> None:
    writer = a_writer(path)
    connection = writer.connection()
    shape = writer.shape(meter="m", unit=1, table="input", first=0, size=4, points=("a", "b"))
    values = [0.1 + 0.2, 5e-324]
    writer.shown(START_MS, connection, shape, values)
    writer.shown(START_MS + 1, connection, shape, [None, 1e300])
    writer.close()
    writer.close()
    assert list(produced(path)) == [
        Produced("m", "a", values[0], START_MS, True),
        Produced("m", "b", values[1], START_MS, True),
        Produced("m", "b", 1e300, START_MS + 1, False),
    ]


def test_a_last_line_that_broke_off_is_left_out(path: Path) -> None:
    writer = a_writer(path)
    shape = writer.shape(meter="m", unit=1, table="input", first=0, size=2, points=("a",))
    writer.shown(START_MS, writer.connection(), shape, [1.5])
    writer.close()
    with path.open("ab") as file:
        file.write(b"[179000000")
    assert [entry.value for entry in produced(path)] == [1.5]


@pytest.mark.parametrize("content", [b'{"hello": 1}\n', b"no json\n"])
def test_another_file_is_no_ledger(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(LedgerMistake):
        list(produced(path))


def test_what_devices_say_by_themselves_is_told_with_what_happened(tmp_path: Path) -> None:
    path = tmp_path / "meters.ledger"
    writer = LedgerWriter(path, scenario="office", seed=1, start_ms=0)
    writer.said(5, "b-1", {"power_kw": 1.5, "temperature_c": None}, kept=False)
    writer.happened(6, "d-1", "door.granted", {"door": 1, "name": "东门"})
    writer.close()
    assert list(produced(path)) == [Produced("b-1", "power_kw", 1.5, 5, confirmed=False)]
    assert list(happenings(path)) == [Happened("d-1", "door.granted", 6, {"door": 1, "name": "东门"})]
