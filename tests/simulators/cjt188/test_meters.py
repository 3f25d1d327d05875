"""Simulated CJ/T 188 meters answer as the standard says, in their own units, and misbehave when told to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.anomalies import Restart, WrongTime
from simulators.cjt188.line import make_talker
from simulators.cjt188.meter import UnitMistake
from simulators.cjt188.sections import Cjt188LineSection, find_mistakes
from simulators.cjt188.talker import Cjt188Talker
from simulators.faults import Fault
from simulators.ledger import LedgerWriter
from tests.support.clocks import START_MS, VirtualClock
from tests.support.talking import Said

ADDRESS = "78330011223344"
WAKE = b"\xfe" * 2
REQUEST = bytes.fromhex("68 10 44332211003378 01 03 1F9000 80 16")


def frame(control: int, data: str, address: str = ADDRESS, meter_type: int = 0x10) -> bytes:
    """Written from the standard, and not with the simulator's own code."""
    body = bytes.fromhex(data)
    head = bytes((0x68, meter_type)) + bytes.fromhex(address)[::-1] + bytes((control, len(body))) + body
    return head + bytes((sum(head) % 256, 0x16))


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def talking(time: VirtualClock) -> Callable[..., tuple[Cjt188Talker, Said]]:
    def make(*, ledger: LedgerWriter | None = None, seed: int = 3, **meter: Any) -> tuple[Cjt188Talker, Said]:
        section = Cjt188LineSection.model_validate({"meters": [{"id": "m", "address": ADDRESS, **meter}]})
        talker = make_talker(section, clock=time.clock, seed=seed, origin_ms=START_MS, ledger=ledger)
        return talker, Said(talker)

    return make


Talking = Callable[..., tuple[Cjt188Talker, Said]]


def test_a_water_meter_answers_the_request_of_the_standard(talking: Talking) -> None:
    talker, ask = talking(load_kw=0.001, states={"valve_state": 1})
    talker.meters[0].begin(Restart(kind="replaced", after_ms=0, start=556677.0))
    [reply] = ask(REQUEST)
    bare = reply.removeprefix(WAKE)
    assert bare.startswith(bytes.fromhex("68 10 44332211003378 81 16 1F9000 00776655 2C"))
    assert bare[24:31] == bytes.fromhex("20132221092620")  # 2026-09-21 22:13:20 in China
    assert bare[31:33] == b"\x01\x00"
    assert (bare[-2], bare[-1]) == (sum(bare[:-2]) % 256, 0x16)


def test_a_meter_counts_in_its_own_unit_and_says_so(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    in_m3 = talker.meters[0].display(time.now_ms())["volume_m3"]
    talker, ask = talking(counts_in={"volume_m3": "L"})
    [reply] = ask(REQUEST)
    bare = reply.removeprefix(WAKE)
    assert bare[18] == 0x29
    litres = int(bare[14:18][::-1].hex()) / 100
    assert litres / 1000 == pytest.approx(in_m3, abs=0.01)
    assert talker.meters[0].display(time.now_ms())["volume_m3"] == pytest.approx(litres / 1000, abs=1e-5)
    with pytest.raises(UnitMistake, match="no code for 'kWh'"):
        talking(counts_in={"volume_m3": "kWh"})


def test_a_heat_meter_has_its_own_type_and_layout(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking(profile="cjt188-heat", counts_in={"energy_kwh": "GJ"})
    assert ask(REQUEST) == []
    [reply] = ask(frame(0x01, "1F9007", meter_type=0x20))
    bare = reply.removeprefix(WAKE)
    shown = talker.meters[0].display(time.now_ms())
    assert bare[9:14] == bytes.fromhex("81 2E 1F9007")
    assert (bare[18], bare[23]) == (0x05, 0x11)
    assert int(bare[19:23][::-1].hex()) / 100 / 0.0036 == pytest.approx(shown["energy_kwh"], abs=0.001)
    assert int(bare[39:42][::-1].hex()) / 100 == shown["supply_temperature_c"]


def test_a_meter_answers_to_its_address_its_type_and_the_wildcard(talking: Talking) -> None:
    _, ask = talking()
    assert ask(frame(0x01, "1F9000", "78330011223345")) == []
    assert ask(frame(0x01, "1F9000", meter_type=0x11)) == []
    assert len(ask(frame(0x01, "1F9000", "A" * 14, 0xAA))) == 1
    assert ask(frame(0x04, "17A00055")) == []


def test_a_meter_of_another_order_is_asked_in_it(talking: Talking) -> None:
    _, ask = talking(profile="cjt188-water-90-1f")
    assert ask(REQUEST) == [WAKE + frame(0xC1, "000200")]
    assert len(ask(frame(0x01, "901F00"))) == 1


def test_a_meter_with_one_serial_number_takes_no_other(talking: Talking) -> None:
    _, ask = talking(profile="cjt188-heat-unit-first")
    assert ask(frame(0x01, "901F00", meter_type=0x20)) == []
    assert len(ask(frame(0x01, "901F01", meter_type=0x20))) == 1


def test_a_wrong_clock_is_on_the_wire(talking: Talking) -> None:
    talker, ask = talking()
    talker.meters[0].begin(WrongTime(kind="wrong_time", after_ms=0, seconds=-300))
    [reply] = ask(REQUEST)
    assert reply.removeprefix(WAKE)[24:31] == bytes.fromhex("20082221092620")


def test_faults_change_what_they_say_they_change(talking: Talking) -> None:
    def spoiled(kind: str, **more: Any) -> tuple[bytes, bytes]:
        talker, ask = talking()
        [honest] = ask(REQUEST)
        talker.meters[0].faults.add(Fault.model_validate({"kind": kind, "times": 1, **more}))
        return honest.removeprefix(WAKE), b"".join(ask(REQUEST))

    honest, other = spoiled("foreign_unit")
    assert (other[2:9], other[11:-2]) == (bytes.fromhex("45332211003378"), honest[11:-2])
    honest, other = spoiled("foreign_transaction")
    assert (other[11:14], other[14:-2]) == (bytes.fromhex("1F90FF"), honest[14:-2])
    honest, other = spoiled("truncated")
    assert honest.startswith(other)
    assert spoiled("echo")[1] == REQUEST
    assert spoiled("exception", code=4)[1] == frame(0xC1, "000400")
    honest, other = spoiled("bad_checksum")
    assert bin(int.from_bytes(honest, "big") ^ int.from_bytes(other, "big")).count("1") == 1
    honest, other = spoiled("preamble")
    assert other in (honest, b"\xfe" * 20 + honest)
    for kind in ("lost", "reset", "reboot"):
        assert spoiled(kind)[1] == b""


def test_the_ledger_has_what_was_shown(talking: Talking, time: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = LedgerWriter(path, scenario="test", seed=3, start_ms=START_MS)
    talker, ask = talking(ledger=ledger)
    shown = list(talker.meters[0].display(time.now_ms()).values())
    ask(REQUEST)
    talker.faults.add(Fault(kind="garbled", times=1))
    ask(REQUEST)
    ledger.close()
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert (lines[1]["table"], lines[1]["first"], lines[1]["points"][0]) == ("cjt188", 0x901F, "volume_m3")
    assert [line[3] for line in lines[2:]] == [shown, "garbled"]


def test_mistakes_of_a_section_are_found() -> None:
    meters = [{"id": "a", "address": ADDRESS}, {"id": "b", "address": ADDRESS, "profile": "nothing"}]
    section = Cjt188LineSection.model_validate({"meters": meters})
    said = {mistake.path for mistake in find_mistakes(section)}
    assert said == {("meters", 1, "address"), ("meters", 1, "profile")}
