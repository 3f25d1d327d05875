"""Frames are built and found as CJ/T 188 says, and nothing else is ever an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.cjt188 import frames
from drivers.cjt188.frames import Frame, Question, look_for

METER = "78330011223344"
REQUEST = bytes.fromhex("68 10 44332211003378 01 03 1F9000 80 16")
REPLY = bytes.fromhex("68 10 44332211003378 81 16 1F9000 00776655 2C 00776655 2C 31012211051520 2184 13 16")


def question(address: str = METER, meter_type: int = 0x10, di: str = "1F90", serial: int = 0) -> Question:
    return Question(meter_type, frames.address_bytes(address), bytes.fromhex(di), serial)


def frame(control: int, data: str, address: str = METER, meter_type: int = 0x10) -> bytes:
    """Written out here once more, so that `build` is not its own judge."""
    body = bytes.fromhex(data)
    head = bytes((0x68, meter_type)) + bytes.fromhex(address)[::-1] + bytes((control, len(body))) + body
    return head + bytes((sum(head) % 256, 0x16))


def answer(heard: bytes, asked: Question | None = None) -> bytes | None:
    return look_for(asked or question())(heard).answer


def test_the_request_of_the_standard_is_built_byte_for_byte() -> None:
    assert question().frame == REQUEST


def test_the_reply_carries_type_address_and_data_as_they_are() -> None:
    assert frames.parse(REPLY) == Frame(
        REPLY,
        0x10,
        bytes.fromhex("44332211003378"),
        0x81,
        bytes.fromhex("1F9000 00776655 2C 00776655 2C 31012211051520 2184"),
    )
    assert frames.address_text(bytes.fromhex("44332211003378")) == METER
    assert answer(REPLY) == REPLY


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20])
def test_any_number_of_waking_bytes_may_stand_before_a_reply(count: int) -> None:
    found = look_for(question())(b"\xfe" * count + REPLY)
    assert (found.answer, found.strays, found.rest) == (REPLY, (), b"")


def test_a_recorded_reply_with_its_identifier_the_other_way_round() -> None:
    asked = question("00000040314132", 0x20, "901F", 1)
    reply = bytes.fromhex(
        "68 20 32413140000000 81 2E 901F01 0802000000 0802000000 1700000000 3500000000 2C34100000"
        "352500 662500 000000 53001210071520 0000 31 16"
    )
    assert asked.frame == bytes.fromhex("68 20 32413140000000 01 03 901F01 20 16")
    assert answer(reply, asked) == reply


def test_whoever_is_alone_answers_the_wildcard() -> None:
    assert answer(REPLY, question("A" * 14)) == REPLY
    assert answer(frame(0x81, "1F9000", "A" * 14), question("A" * 14)) is None


@pytest.mark.parametrize("address", ["1234", "7833001122334G", "783300112233445", ""])
def test_what_is_no_address_is_not_asked(address: str) -> None:
    with pytest.raises(ValueError, match="14 digits"):
        frames.address_bytes(address)


FOREIGN = {
    "the request itself": REQUEST,
    "another meter": frame(0x81, "1F9000 00", "78330011223345"),
    "another maker": frame(0x81, "1F9000 00", "78340011223344"),
    "another type": frame(0x81, "1F9000 00", meter_type=0x11),
    "another identifier": frame(0x81, "2FD100 00"),
    "another serial number": frame(0x81, "1F9001 00"),
    "no serial number": frame(0x81, "1F90"),
    "no data": frame(0x81, ""),
    "the answer to a write": frame(0x84, "1F9000 00"),
    "a refusal of another question": frame(0xC1, "01 0200"),
    "a refusal that is too short": frame(0xC1, "00 02"),
    "a refusal by another meter": frame(0xC1, "00 0200", "78330011223345"),
    "a checksum that is off by one": REPLY[:-2] + bytes((REPLY[-2] + 1,)) + REPLY[-1:],
    "another end": REPLY[:-1] + b"\x17",
    "half of it": REPLY[:15],
    "all but the end": REPLY[:-1],
    "noise": bytes(range(100)),
    "waking bytes alone": b"\xfe" * 30,
    "a DL/T 645 reply": bytes.fromhex("68 129078563412 68 91 08 33333433 AB896745 CC 16"),
    "a Modbus reply": bytes.fromhex("01 03 02 12 34 B5 33"),
}


@pytest.mark.parametrize("heard", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_answer_is_never_taken_for_one(heard: bytes) -> None:
    assert answer(heard) is None


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in ("half of it", "all but the end")])
def test_an_answer_behind_something_else_is_found(name: str) -> None:
    found = look_for(question())(FOREIGN[name] + REPLY + b"\xfe" * 200)
    assert found.answer == REPLY


def test_a_refusal_answers_its_own_question_only() -> None:
    refusal = frame(0xC1, "07 0200")
    assert answer(refusal, question(serial=7)) == refusal
    assert answer(refusal, question(serial=8)) is None


@given(serial=st.integers(0, 255), other=st.integers(0, 255), data=st.binary(max_size=50))
def test_a_reply_answers_the_question_with_its_own_number_only(serial: int, other: int, data: bytes) -> None:
    reply = frame(0x81, f"1F90{serial:02x}" + data.hex())
    assert (answer(reply, question(serial=other)) == reply) is (serial == other)


@given(st.binary(max_size=300))
@settings(max_examples=400)
def test_any_bytes_are_taken_apart_without_a_loss_and_answer_only_as_a_frame_that_fits(heard: bytes) -> None:
    found = look_for(question())(heard)
    if found.answer is not None:
        whole = frames.parse(found.answer)
        assert whole is not None
        assert question().is_answered_by(whole)
    kept = b"".join(found.strays) + (found.answer or b"") + found.rest
    assert kept.replace(b"\xfe", b"") == heard.replace(b"\xfe", b"")


@pytest.mark.parametrize("reply", [REPLY, frame(0xC1, "00 0200"), frame(0x81, "1F9000" + "16" * 30)])
def test_no_reply_with_one_bit_turned_over_is_an_answer(reply: bytes) -> None:
    assert answer(reply) == reply
    for bit in range(8 * len(reply)):
        wrong = bytearray(reply)
        wrong[bit // 8] ^= 1 << bit % 8
        assert answer(bytes(wrong)) is None


@given(cut=st.integers(0, len(REPLY)))
def test_a_reply_in_pieces_is_the_answer_when_its_last_byte_is_there(cut: int) -> None:
    assert answer(REPLY[:cut]) == (REPLY if cut == len(REPLY) else None)
