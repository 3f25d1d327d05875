"""Simulated DL/T 645 meters answer as the standard says, and misbehave as they are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.anomalies import Jump, Restart, Stuck, WrongTime
from simulators.dlt645.line import make_talker
from simulators.dlt645.sections import Dlt645LineSection, find_mistakes
from simulators.dlt645.talker import Dlt645Talker
from simulators.faults import Fault
from simulators.ledger import LedgerWriter, produced
from tests.support.clocks import START_MS, VirtualClock
from tests.support.talking import Said

ADDRESS = "123456789012"
WAKE = b"\xfe" * 4


def frame(control: int, data: str, address: str = ADDRESS) -> bytes:
    """Written from the standard, and not with the simulator's own code."""
    body = bytes.fromhex(data)
    head = b"\x68" + bytes.fromhex(address)[::-1] + b"\x68" + bytes((control, len(body)))
    head += bytes((byte + 0x33) % 256 for byte in body)
    return head + bytes((sum(head) % 256, 0x16))


def plain(reply: bytes) -> bytes:
    """The data of a frame."""
    bare = reply.lstrip(b"\xfe")
    return bytes((byte - 0x33) % 256 for byte in bare[10:-2])


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def talking(time: VirtualClock) -> Callable[..., tuple[Dlt645Talker, Said]]:
    def make(*, ledger: LedgerWriter | None = None, seed: int = 3, **meter: Any) -> tuple[Dlt645Talker, Said]:
        section = Dlt645LineSection.model_validate({"meters": [{"id": "m", "address": ADDRESS, **meter}]})
        talker = make_talker(section, clock=time.clock, seed=seed, origin_ms=START_MS, ledger=ledger)
        return talker, Said(talker)

    return make


Talking = Callable[..., tuple[Dlt645Talker, Said]]
READ_TOTAL = frame(0x11, "00000100")


def test_the_example_of_the_standard_is_answered_byte_for_byte(talking: Talking) -> None:
    talker, ask = talking(load_kw=0.001)
    talker.meters[0].begin(Restart(kind="replaced", after_ms=0, start=123456.78))
    request = bytes.fromhex("FEFEFEFE 68 129078563412 68 11 04 33333433 68 16")
    assert ask(request) == [bytes.fromhex("FEFEFEFE 68 129078563412 68 91 08 33333433 AB896745 CC 16")]


def test_what_a_meter_shows_is_in_its_frames(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    shown = talker.meters[0].display(time.now_ms())
    [reply] = ask(frame(0x11, "00010102"))  # the voltage
    assert float(plain(reply)[:3:-1].hex()) / 10 == shown["voltage_v"]
    [reply] = ask(READ_TOTAL)
    assert float(plain(reply)[:3:-1].hex()) / 100 == shown["energy_import_kwh"]
    assert shown["clock_date_d"] == 20717
    assert shown["clock_time_s"] == 80_000
    assert plain(ask(frame(0x11, "01010004"))[0])[4:] == bytes.fromhex("01 21 09 26")  # a Monday
    assert plain(ask(frame(0x11, "02010004"))[0])[4:] == bytes.fromhex("20 13 22")


def test_a_request_in_pieces_and_behind_noise_is_understood(talking: Talking) -> None:
    _, ask = talking()
    whole = b"\x68\x00noise\x68" + WAKE + READ_TOTAL
    assert [ask(whole[at : at + 1]) for at in range(len(whole) - 1)] == [[]] * (len(whole) - 1)
    assert len(ask(whole[-1:])) == 1


def test_a_request_with_a_wrong_checksum_is_not_heard(talking: Talking) -> None:
    _, ask = talking()
    assert ask(READ_TOTAL[:-2] + bytes((READ_TOTAL[-2] ^ 1, 0x16))) == []


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        (ADDRESS, True),
        ("AAAAAAAAAAAA", True),
        ("AAAAAAAA9012", True),
        ("123456789013", False),
        (12 * "9", False),
    ],
)
def test_a_meter_answers_to_its_address_and_to_wildcards(talking: Talking, asked: str, answers: bool) -> None:
    _, ask = talking()
    replies = ask(frame(0x11, "00000100", asked))
    assert bool(replies) is answers
    assert all(reply.lstrip(b"\xfe")[1:7] == bytes.fromhex(ADDRESS)[::-1] for reply in replies)


def test_what_a_meter_does_not_have_is_refused(talking: Talking) -> None:
    _, ask = talking()
    assert ask(frame(0x11, "77777777")) == [WAKE + frame(0xD1, "02")]
    assert ask(frame(0x11, "0000")) == [WAKE + frame(0xD1, "01")]
    assert ask(frame(0x14, "00000100 00000000")) == []


def test_a_block_carries_its_points_one_behind_the_other(talking: Talking) -> None:
    _, ask = talking()
    single = [plain(ask(frame(0x11, f"00{n:02x}0100"))[0])[4:] for n in range(5)]
    assert plain(ask(frame(0x11, "00FF0100"))[0]) == bytes.fromhex("00FF0100") + b"".join(single)
    _, ask = talking(blocks=False)
    assert ask(frame(0x11, "00FF0100")) == [WAKE + frame(0xD1, "02")]


def test_a_long_answer_comes_in_frames_that_are_numbered(talking: Talking) -> None:
    _, ask = talking()
    whole = plain(ask(frame(0x11, "00FF0100"))[0])[4:]
    _, ask = talking(longest=8)
    [first] = ask(frame(0x11, "00FF0100"))
    assert first.lstrip(b"\xfe")[8] == 0xB1
    parts = [plain(first)[4:]]
    for number, control in ((1, 0xB2), (2, 0x92)):
        [more] = ask(frame(0x12, f"00FF0100{number:02x}"))
        assert more.lstrip(b"\xfe")[8] == control
        assert plain(more)[-1] == number
        parts.append(plain(more)[4:-1])
    assert b"".join(parts) == whole
    assert ask(frame(0x12, "00FF010003")) == [WAKE + frame(0xD2, "02")]
    assert ask(frame(0x12, "00FE010002")) == [WAKE + frame(0xD2, "02")]


def test_a_meter_of_1997_has_its_own_words(talking: Talking) -> None:
    _, ask = talking(profile="dlt645-1997-single-phase")
    [reply] = ask(frame(0x01, "1F90"))
    assert reply.lstrip(b"\xfe")[8] == 0x81
    assert len(plain(reply)) == 2 + 5 * 4 + 1
    assert plain(reply)[-1] == 0xAA
    assert ask(READ_TOTAL) == []
    assert ask(frame(0x01, "7777")) == [WAKE + frame(0xC1, "02")]


def test_a_meter_tells_its_address(talking: Talking) -> None:
    _, ask = talking()
    assert ask(frame(0x13, "", "AAAAAAAAAAAA")) == [WAKE + frame(0x93, "129078563412")]


def seconds_off(talker: Dlt645Talker, time: VirtualClock) -> float:
    shown = talker.meters[0].display(time.now_ms())
    assert shown["clock_time_s"] is not None
    return shown["clock_time_s"] - (time.now_ms() // 1000 + 8 * 3600) % 86_400


def told(time: VirtualClock, seconds: int = 0) -> bytes:
    local = time.now_ms() // 1000 + 8 * 3600 + seconds
    second = local % 86_400
    day = 21 + local // 86_400 - 20717
    clock = f"{second % 60:02d}{second // 60 % 60:02d}{second // 3600:02d}{day:02d}0926"
    return frame(0x08, clock, "999999999999")


async def test_a_broadcast_sets_the_clock_within_its_limits(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    talker.meters[0].begin(WrongTime(kind="wrong_time", after_ms=0, seconds=-200))
    assert seconds_off(talker, time) == -200
    assert ask(told(time, 101)) == []  # 301 s ahead of its own time
    assert seconds_off(talker, time) == -200
    assert ask(told(time)) == []
    assert seconds_off(talker, time) == 0
    await time.advance(3600)
    ask(told(time, 60))  # the second time of the day
    assert seconds_off(talker, time) == 0
    await time.advance(23 * 3600)
    ask(told(time, 60))
    assert seconds_off(talker, time) == 60


async def test_no_clock_is_set_around_midnight(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    await time.advance(86_400 - 80_000 - 200)
    ask(told(time, 60))
    assert seconds_off(talker, time) == 0


async def test_anomalies_are_seen_on_the_wire(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    meter = talker.meters[0]
    before = ask(READ_TOTAL)
    stuck = meter.begin(Stuck(kind="stuck"))
    await time.advance(36_000)
    assert ask(READ_TOTAL) == before
    meter.end(stuck)
    assert ask(READ_TOTAL) != before
    usual = meter.display(time.now_ms())["voltage_v"]
    meter.begin(Jump(kind="jump", points=("voltage_v",), by=50.0))
    assert meter.display(time.now_ms())["voltage_v"] == pytest.approx((usual or 0) + 50)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("lost", {}), ("reset", {}), ("refused", {}), ("reboot", {"lasts_ms": 60_000}), ("silence", {})],
)
def test_a_silent_fault_gives_no_byte(talking: Talking, kind: str, more: dict[str, Any]) -> None:
    talker, ask = talking()
    talker.meters[0].faults.add(Fault.model_validate({"kind": kind, "times": 1, **more}))
    assert ask(READ_TOTAL) == []


async def test_a_meter_that_reboots_is_silent_for_so_long(talking: Talking, time: VirtualClock) -> None:
    talker, ask = talking()
    talker.meters[0].faults.add(Fault(kind="reboot", times=1, lasts_ms=60_000))
    assert (ask(READ_TOTAL), ask(READ_TOTAL)) == ([], [])
    await time.advance(60)
    assert len(ask(READ_TOTAL)) == 1


def spoiled(talking: Talking, kind: str, **more: Any) -> tuple[bytes, bytes]:
    """The honest answer, and what comes instead."""
    talker, ask = talking()
    [honest] = ask(READ_TOTAL)
    talker.meters[0].faults.add(Fault.model_validate({"kind": kind, "times": 1, **more}))
    return honest.lstrip(b"\xfe"), b"".join(ask(READ_TOTAL))


def test_faults_change_what_they_say_they_change(talking: Talking) -> None:
    honest, other = spoiled(talking, "foreign_unit")
    assert (other[1:7], plain(other)) == (bytes.fromhex("139078563412"), plain(honest))
    honest, other = spoiled(talking, "foreign_transaction")
    assert (other[1:7], other[8], plain(other)[4:]) == (honest[1:7], honest[8], plain(honest)[4:])
    assert plain(other)[:4] != plain(honest)[:4]
    honest, other = spoiled(talking, "truncated")
    assert honest.startswith(other)
    assert len(other) < len(honest)
    assert spoiled(talking, "echo")[1] == READ_TOTAL
    assert spoiled(talking, "exception", code=0x40)[1] == frame(0xD1, "40")
    honest, other = spoiled(talking, "bad_checksum")
    assert bin(int.from_bytes(honest, "big") ^ int.from_bytes(other, "big")).count("1") == 1
    honest, other = spoiled(talking, "duplicate")
    assert other == (WAKE + honest) * 2
    honest, other = spoiled(talking, "preamble")
    assert other in (honest, b"\xfe" * 20 + honest)


@pytest.mark.parametrize("kind", ["garbled", "bad_checksum", "truncated"])
def test_a_spoiled_answer_is_never_a_frame(talking: Talking, kind: str) -> None:
    talker, ask = talking()
    talker.meters[0].faults.add(Fault.model_validate({"kind": kind}))
    for _ in range(200):
        spoiled_bytes = b"".join(ask(READ_TOTAL))
        for start in range(len(spoiled_bytes) - 11):
            piece = spoiled_bytes[start:]
            size = 12 + piece[9]
            whole = piece[:size]
            is_frame = piece[0] == 0x68 and piece[7] == 0x68 and len(whole) == size and whole[-1] == 0x16
            assert not (is_frame and sum(whole[:-2]) % 256 == whole[-2])


def test_a_late_answer_is_the_right_one(talking: Talking) -> None:
    talker, ask = talking()
    honest = ask(READ_TOTAL)
    talker.meters[0].faults.add(Fault(kind="late", delay_ms=3000, times=1))
    assert ask(READ_TOTAL) == []
    assert ask.later == [(3.0, honest[0])]


def test_the_same_seed_gives_the_same_trace(talking: Talking) -> None:
    def trace(seed: int) -> list[list[bytes]]:
        talker, ask = talking(seed=seed)
        for kind in ("garbled", "lost", "bad_checksum", "preamble"):
            talker.faults.add(Fault.model_validate({"kind": kind, "probability": 0.2}))
        return [ask(READ_TOTAL) for _ in range(50)]

    assert trace(1) == trace(1) != trace(2)


def test_the_ledger_has_what_was_shown_and_what_was_spoiled(
    talking: Talking, time: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = LedgerWriter(path, scenario="test", seed=3, start_ms=START_MS)
    talker, ask = talking(ledger=ledger, longest=8)
    shown = talker.meters[0].display(time.now_ms())
    ask(READ_TOTAL)
    ask(frame(0x11, "00FF0100"))  # only the first of three frames
    talker.faults.add(Fault(kind="lost", times=1))
    ask(READ_TOTAL)
    ask(READ_TOTAL)
    ledger.end(time.now_ms())
    ledger.close()
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    shapes = [line for line in lines if isinstance(line, dict) and "shape" in line]
    assert [(shape["meter"], shape["table"], shape["first"]) for shape in shapes] == [
        ("m", "dlt645", 0x00010000),
        ("m", "dlt645", 0x0001FF00),
    ]
    assert [line[3] for line in lines if isinstance(line, list)] == [
        [shown["energy_import_kwh"]],
        "lost",
        [shown["energy_import_kwh"]],
    ]
    assert {(value.point, value.value) for value in produced(path)} == {
        ("energy_import_kwh", shown["energy_import_kwh"])
    }


def test_mistakes_of_a_section_are_found() -> None:
    section = Dlt645LineSection.model_validate(
        {
            "meters": [
                {"id": "a", "address": ADDRESS},
                {"id": "a", "address": ADDRESS, "profile": "eastron-sdm630"},
                {"id": "c", "address": "000000000001", "parameters": {"ct": 2}},
            ]
        }
    )
    said = {(mistake.path, mistake.what) for mistake in find_mistakes(section)}
    assert (("meters", 1, "id"), "a meter 'a' stands above already") in said
    assert (("meters", 1, "profile"), "'eastron-sdm630' is of another family, modbus") in said
    assert any(path == ("meters", 2, "parameters", "ct") for path, _ in said)
