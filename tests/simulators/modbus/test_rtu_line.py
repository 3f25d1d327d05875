"""Units on a simulated line, by the bytes of the specification: reads, writes, and what goes wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.profile import as_family, load_profile
from models.profile.modbus import ModbusProfile
from simulators.building import Building
from simulators.faults import Fault
from simulators.ledger import LedgerWriter, produced
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.rtu import take_requests
from simulators.modbus.talker import RtuTalker
from tests.support.clocks import START_MS, VirtualClock
from tests.support.rtu_bus import sealed
from tests.support.talking import Said

SETTABLE = """
profile: thermostat
version: "1"
title: A device that can be told something
family: modbus
verified: true
source: made for these tests
modbus: {max_gap: 2, write_functions: [5, 6, 15, 16]}
identifications: [{vendor: Acme, product: T-1}]
points:
  - {name: wanted_c, unit: "°C", kind: gauge, table: holding, address: 0, type: int16, scale: 0.1,
     decimals: 1, writable: {min: 5, max: 30}}
  - {name: limit_kw, unit: kW, kind: gauge, table: holding, address: 1, type: float32, decimals: 2,
     writable: {min: 0, max: 500}}
  - {name: voltage_v, unit: V, kind: gauge, table: holding, address: 3, type: uint16, decimals: 0}
  - {name: relay_on, unit: "", kind: state, table: coil, address: 7, type: bool, writable: {min: 0, max: 1}}
  - {name: lamp_on, unit: "", kind: state, table: coil, address: 8, type: bool, writable: {min: 0, max: 1}}
"""
PROFILE = as_family(load_profile(SETTABLE, "thermostat.yaml"), ModbusProfile)
Talking = Callable[..., tuple[RtuTalker, Said]]


@pytest.fixture
def talking() -> Talking:
    def make(
        *faults: Fault, units: tuple[int, ...] = (1,), ledger: LedgerWriter | None = None
    ) -> tuple[RtuTalker, Said]:
        time = VirtualClock()
        meters = [
            ModbusMeter(
                f"m-{unit}",
                unit=unit,
                profile=PROFILE,
                building=Building(seed=7),
                kw=30.0,
                origin_ms=START_MS,
                now_ms=time.now_ms,
            )
            for unit in units
        ]
        talker = RtuTalker(meters, name="line", seed=7, origin_ms=START_MS, clock=time.clock, ledger=ledger)
        for fault in faults:
            talker.faults.add(fault)
        return talker, Said(talker)

    return make


def rtu(body: str) -> bytes:
    return sealed(bytes.fromhex(body))


def test_the_example_of_the_specification_has_its_checksum() -> None:
    assert rtu("02 07") == bytes.fromhex("02 07 41 12")  # serial line guide V1.02, 6.2.2


def test_a_unit_answers_under_its_own_address_only(talking: Talking) -> None:
    _, ask = talking(units=(1, 9))
    [reply] = ask(rtu("09 03 0003 0001"))
    assert reply[:3] == bytes.fromhex("09 03 02")
    assert sealed(reply[:-2]) == reply
    assert 200 < int.from_bytes(reply[3:5], "big") < 260
    assert ask(rtu("02 03 0003 0001")) == []


def test_requests_among_noise_and_in_pieces_are_found() -> None:
    stream = bytearray(b"\x00\xff\x01" + rtu("01 03 0000 0001") + b"\x55")
    whole = rtu("01 10 0000 0001 02 0001") + rtu("01 2b 0e 01 00")
    assert [request.pdu.hex() for request in take_requests(stream)] == ["0300000001"]
    found = []
    for byte in whole:
        stream.append(byte)
        found += take_requests(stream)
    assert [request.pdu.hex() for request in found] == ["10000000010200 01".replace(" ", ""), "2b0e0100"]
    assert take_requests(bytearray(b"\xff" * 5000)) == []


def test_noise_does_not_pile_up() -> None:
    stream = bytearray()
    for _ in range(100):
        stream += b"\x01\x0f\x00\x00\x00\x01\xff" * 10
        take_requests(stream)
    assert len(stream) <= 300


@pytest.mark.parametrize(
    ("request_pdu", "reply_pdu", "read_pdu", "shown"),
    [
        pytest.param("05 0007 ff00", "05 0007 ff00", "01 0007 0002", "01 01 01", id="a coil"),
        pytest.param("0f 0007 0002 01 03", "0f 0007 0002", "01 0007 0002", "01 01 03", id="coils"),
        pytest.param("06 0000 00d7", "06 0000 00d7", "03 0000 0001", "03 02 00d7", id="a register"),
        pytest.param(
            "10 0000 0003 06 00d7 42c8 0000", "10 0000 0003", "03 0000 0003", "03 06 00d7 42c8 0000",
            id="registers",
        ),
    ],
)  # fmt: skip
def test_what_is_written_is_read_afterwards(
    talking: Talking, request_pdu: str, reply_pdu: str, read_pdu: str, shown: str
) -> None:
    _, ask = talking()
    assert ask(rtu("01" + request_pdu)) == [rtu("01" + reply_pdu)]
    assert ask(rtu("01" + read_pdu)) == [rtu("01" + shown)]


def test_what_may_not_be_set_is_refused_as_a_whole(talking: Talking) -> None:
    _, ask = talking()
    before = ask(rtu("01 03 0000 0004"))
    assert ask(rtu("01 06 0003 0001")) == [rtu("01 86 02")]
    assert ask(rtu("01 10 0002 0002 04 0001 0002")) == [rtu("01 90 02")]
    assert ask(rtu("01 03 0000 0004")) == before


def test_a_broadcast_is_obeyed_by_all_and_answered_by_none(talking: Talking) -> None:
    _, ask = talking(units=(1, 2))
    assert ask(rtu("00 06 0000 0064")) == []
    for unit in ("01", "02"):
        assert ask(rtu(unit + "03 0000 0001")) == [rtu(unit + "03 02 0064")]


def test_a_device_says_who_it_is(talking: Talking) -> None:
    _, ask = talking()
    objects = "00 04" + b"Acme".hex() + "01 03" + b"T-1".hex() + "02 04" + b"V1.0".hex()
    assert ask(rtu("01 2b 0e 01 00")) == [rtu("01 2b 0e 01 81 00 00 03" + objects)]
    assert ask(rtu("01 2b 0e 04 01")) == [rtu("01 2b 0e 04 81 00 00 01 01 03" + b"T-1".hex())]
    assert ask(rtu("01 2b 0e 01 07")) == [rtu("01 ab 02")]


READ = rtu("01 03 0003 0001")


def answers(wrong: bytes) -> bool:
    """Whether a reader would take it for the answer."""
    return wrong[:3] == b"\x01\x03\x02" and sealed(wrong[:-2]) == wrong


@pytest.mark.parametrize(
    "kind", ["lost", "foreign_unit", "foreign_transaction", "garbled", "bad_checksum", "truncated", "echo",
             "busy", "reboot"],
)  # fmt: skip
def test_an_answer_that_is_spoiled_is_none(talking: Talking, kind: str) -> None:
    for _ in range(20):
        _, ask = talking(Fault.model_validate({"kind": kind, "times": 1, "lasts": "5s"} if kind == "reboot"
                                              else {"kind": kind}))  # fmt: skip
        assert not any(answers(said) for said in ask(READ))


@pytest.mark.parametrize("kind", ["noise", "duplicate"])
def test_an_answer_with_something_beside_it_is_whole(talking: Talking, kind: str) -> None:
    _, honest = talking()
    [whole] = honest(READ)
    _, ask = talking(Fault.model_validate({"kind": kind}))
    said = [b"".join(ask(READ)) for _ in range(20)]
    assert all(whole in heard and len(heard) > len(whole) for heard in said)
    if kind == "noise":
        assert len({heard.index(whole) > 0 for heard in said}) == 2  # before it, and behind it


def test_a_write_whose_answer_is_lost_is_done_and_one_that_is_refused_is_not(talking: Talking) -> None:
    _, ask = talking(Fault.model_validate({"kind": "lost", "times": 1}))
    assert ask(rtu("01 06 0000 0064")) == []
    assert ask(rtu("01 03 0000 0001")) == [rtu("01 03 02 0064")]
    _, ask = talking(Fault.model_validate({"kind": "busy", "times": 1}))
    assert ask(rtu("01 06 0000 0064")) == [rtu("01 86 06")]
    assert ask(rtu("01 03 0000 0001")) != [rtu("01 03 02 0064")]


def test_the_ledger_tells_what_was_shown(talking: Talking, tmp_path: Path) -> None:
    ledger_file = tmp_path / "ledger.jsonl"
    ledger = LedgerWriter(ledger_file, scenario="test", seed=7, start_ms=START_MS)
    _, ask = talking(ledger=ledger)
    ask(rtu("01 06 0000 0064"))
    ask(rtu("01 03 0000 0001"))
    ask(rtu("01 03 0000 0001"))
    ledger.end(START_MS)
    ledger.close()
    shown = [(value.meter_id, value.point, value.value, value.confirmed) for value in produced(ledger_file)]
    assert shown == [("m-1", "wanted_c", 10.0, True)] * 2
