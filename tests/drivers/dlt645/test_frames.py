"""Frames are built and found as DL/T 645 says, and nothing else is ever an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.dlt645 import frames
from drivers.dlt645.frames import Frame, Question, look_for

METER = "123456789012"
READ_TOTAL = bytes.fromhex("68 129078563412 68 11 04 33333433 68 16")
TOTAL = bytes.fromhex("68 129078563412 68 91 08 33333433 AB896745 CC 16")
REFUSED = bytes.fromhex("68 129078563412 68 D1 01 39 91 16")
TOTAL_DI = bytes.fromhex("00000100")


def question(address: str = METER, function: int = 0x11, di: bytes = TOTAL_DI, number: int = 0) -> Question:
    return Question(frames.address_bytes(address), function, di, number)


def frame(control: int, data: str, address: str = METER) -> bytes:
    """Written out here once more, so that `build` is not its own judge."""
    body = bytes.fromhex(data)
    head = b"\x68" + bytes.fromhex(address)[::-1] + b"\x68" + bytes((control, len(body)))
    head += bytes((byte + 0x33) % 256 for byte in body)
    return head + bytes((sum(head) % 256, 0x16))


def answer(heard: bytes, asked: Question | None = None) -> bytes | None:
    return look_for(asked or question())(heard).answer


def test_the_request_of_the_standard_is_built_byte_for_byte() -> None:
    assert question().frame == READ_TOTAL


def test_the_reply_of_the_standard_carries_address_control_and_plain_data() -> None:
    assert frames.parse(TOTAL) == Frame(
        TOTAL, bytes.fromhex("129078563412"), 0x91, bytes.fromhex("00000100 78563412")
    )
    assert frames.address_text(bytes.fromhex("129078563412")) == METER


def test_the_refusal_of_the_standard_names_its_errors() -> None:
    refusal = frames.parse(REFUSED)
    assert refusal is not None
    assert answer(REFUSED) == REFUSED
    assert frames.errors(refusal.data[0], "2007") == ["no such data", "wrong password or not allowed"]


def test_every_bit_of_an_error_word_has_a_name() -> None:
    for edition in ("1997", "2007"):
        names = {name for bit in range(8) for name in frames.errors(1 << bit, edition)}
        assert len(names) == 8
        assert len(frames.errors(0xFF, edition)) == 8
        assert frames.errors(0, edition) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 20])
def test_any_number_of_waking_bytes_may_stand_before_a_reply(count: int) -> None:
    found = look_for(question())(b"\xfe" * count + TOTAL)
    assert (found.answer, found.strays, found.rest) == (TOTAL, (), b"")


def test_a_request_of_1997_has_its_own_control_code_and_two_bytes_of_identifier() -> None:
    asked = question("138000130754", 0x01, bytes.fromhex("1090"))
    reply = bytes.fromhex("68 540713008013 68 81 06 43C3 34333333 2B 16")
    assert asked.frame == bytes.fromhex("68 540713008013 68 01 02 43C3 DA 16")
    assert answer(reply, asked) == reply
    assert answer(reply, asked._replace(function=0x11)) is None


@pytest.mark.parametrize(
    ("asked", "has", "fits"),
    [
        ("AAAAAAAAAAAA", METER, True),
        ("AAAAAAAA9012", METER, True),
        ("AAAAAAAA9013", METER, False),
        (METER, METER, True),
        (METER, "123456789013", False),
        (METER, "223456789012", False),
    ],
)
def test_a_wildcard_stands_for_two_digits_of_the_address(asked: str, has: str, fits: bool) -> None:
    reply = frame(0x91, "00000100 78563412", has)
    assert (answer(reply, question(asked)) == reply) is fits


@pytest.mark.parametrize(
    "address",
    ["1234", "12345678901A", "1AAAAAAAAAAA", "12AA56789012", "１23456789012", "123456789012\n", 12 * "9"],
)
def test_what_is_no_address_is_not_asked(address: str) -> None:
    with pytest.raises(ValueError, match="12 digits"):
        frames.address_bytes(address)


FOREIGN = {
    "the request itself": READ_TOTAL,
    "another meter": frame(0x91, "00000100 78563412", "123456789013"),
    "an address that is none": frame(0x91, "00000100 78563412", "1234567890FA"),
    "the address of all": frame(0x91, "00000100 78563412", "999999999999"),
    "another identifier": frame(0x91, "00010100 78563412"),
    "an identifier that is only begun": frame(0x91, "000001"),
    "no data": frame(0x91, ""),
    "a frame that follows": frame(0x92, "00000100 78563412 01"),
    "the answer to a write": frame(0x94, ""),
    "the edition of 1997": frame(0x81, "00000100 78563412"),
    "a request under our address": frame(0x11, "00000100 78563412"),
    "a refusal of something else": frame(0xD2, "02"),
    "a refusal with two words": frame(0xD1, "0202"),
    "a refusal without a word": frame(0xD1, ""),
    "a refusal by another meter": frame(0xD1, "02", "123456789013"),
    "a checksum that is off by one": TOTAL[:-2] + bytes((TOTAL[-2] + 1,)) + TOTAL[-1:],
    "another end": TOTAL[:-1] + b"\x17",
    "half of it": TOTAL[:11],
    "all but the end": TOTAL[:-1],
    "noise": bytes(range(200)),
    "starts without frames": b"\x68" * 30,
    "waking bytes alone": b"\xfe" * 30,
    "a Modbus reply": bytes.fromhex("01 03 02 12 34 B5 33"),
    "a CJ/T 188 reply": bytes.fromhex(
        "68 10 44332211003378 81 16 1F9000 00776655 2C 00776655 2C 31012211051520 2184 13 16"
    ),
}


@pytest.mark.parametrize("heard", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_answer_is_never_taken_for_one(heard: bytes) -> None:
    assert answer(heard) is None


UNFINISHED = ("half of it", "all but the end", "starts without frames")


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in UNFINISHED])
def test_an_answer_behind_something_else_is_found(name: str) -> None:
    found = look_for(question())(FOREIGN[name] + TOTAL)
    assert found.answer == TOTAL
    assert found.rest == b""
    assert b"".join(found.strays) == FOREIGN[name].strip(b"\xfe")


def test_an_answer_inside_a_longer_frame_is_none() -> None:
    carrier = frame(0x91, "00010100" + bytes((byte - 0x33) % 256 for byte in TOTAL).hex())
    assert TOTAL in carrier
    found = look_for(question())(carrier)
    assert (found.answer, found.strays) == (None, (carrier,))


def test_an_answer_inside_a_longer_frame_is_none_while_its_end_has_not_come() -> None:
    carrier = frame(0x91, "00010100" + bytes((byte - 0x33) % 256 for byte in TOTAL).hex())
    found = look_for(question())(carrier[:-1])
    assert (found.answer, found.rest) == (None, carrier[:-1])


@given(cut=st.integers(0, len(TOTAL)), lead=st.binary(max_size=6))
def test_a_reply_in_pieces_is_the_answer_when_its_last_byte_is_there(cut: int, lead: bytes) -> None:
    lead = lead.replace(b"\x68", b"\x00")
    early = look_for(question())(lead + TOTAL[:cut])
    assert early.answer == (TOTAL if cut == len(TOTAL) else None)
    assert look_for(question())(lead + TOTAL).answer == TOTAL


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


VALID = [
    (question(), TOTAL),
    (question(), REFUSED),
    (question(di=bytes.fromhex("00FF0100")), frame(0x91, "00FF0100" + "16" * 20)),
    (question(function=0x12, number=2), frame(0x92, "00000100 0102030405 02")),
    (question("138000130754", 0x01, bytes.fromhex("1090")), frame(0x81, "1090 01000000", "138000130754")),
]


@pytest.mark.parametrize(("asked", "reply"), VALID)
def test_no_reply_with_one_bit_turned_over_is_an_answer(asked: Question, reply: bytes) -> None:
    assert answer(reply, asked) == reply
    for bit in range(8 * len(reply)):
        wrong = bytearray(reply)
        wrong[bit // 8] ^= 1 << bit % 8
        assert answer(bytes(wrong), asked) is None


@given(data=st.binary(min_size=4, max_size=40), bit=st.integers(0, 8 * 56 - 1))
@settings(max_examples=300)
def test_no_flipped_bit_of_any_reply_makes_another_value(data: bytes, bit: int) -> None:
    reply = frame(0x91, (TOTAL_DI + data).hex())
    wrong = bytearray(reply)
    wrong[bit // 8 % len(wrong)] ^= 1 << bit % 8
    taken = answer(bytes(wrong))
    # A length that shrinks may cut a frame out whose checksum fits by chance: its data have another size.
    assert taken is None or len(taken) != len(reply)


@given(data=st.binary(max_size=60), number=st.integers(1, 255), other=st.integers(1, 255))
def test_a_frame_that_follows_answers_its_own_number_only(data: bytes, number: int, other: int) -> None:
    reply = frame(0xB2, (TOTAL_DI + data + bytes((number,))).hex())
    asked = question(function=0x12, number=other)
    assert (answer(reply, asked) == reply) is (number == other)
    assert answer(reply) is None


def test_the_question_for_what_follows_carries_the_number() -> None:
    assert question(function=0x12, number=3).frame == frame(0x12, "00000100 03")


def test_a_meter_tells_its_address_when_it_is_alone() -> None:
    asked = question("AAAAAAAAAAAA", frames.READ_ADDRESS, b"")
    assert asked.frame == bytes.fromhex("68 AAAAAAAAAAAA 68 13 00 DF 16")
    honest = frame(0x93, bytes.fromhex(METER)[::-1].hex())
    assert answer(honest, asked) == honest
    assert answer(frame(0x93, bytes.fromhex("123456789013")[::-1].hex()), asked) is None
