"""Of all bytes on a line, only the frame that answers a question is its answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.line import Found
from drivers.modbus import rtu
from drivers.modbus.link import Question, reading
from tests.support.rtu_bus import checksum, sealed

READ = reading(bytes.fromhex("0300000002"), 4)
REQUEST = sealed(bytes.fromhex("01 03 0000 0002"))
ANSWER = sealed(bytes.fromhex("01 03 04 1234 5678"))
NEIGHBOUR = sealed(bytes.fromhex("02 03 04 dead beef"))
WRITE = Question(bytes.fromhex("0600070001"), bytes.fromhex("0600070001"), 5)
WRITTEN = sealed(bytes.fromhex("01 06 0007 0001"))
IDENTIFY = Question(bytes.fromhex("2b0e0100"), bytes.fromhex("2b0e01"), 0)


def look(heard: bytes, question: Question = READ, **how: bool) -> Found:
    return rtu.look_for(1, question, **how)(heard)


@pytest.mark.parametrize(
    ("frame", "end"),
    [
        pytest.param("02 07", "41 12", id="serial line guide V1.02, 6.2.2"),
        pytest.param("01 04 00 00 00 01", "31 ca", id="the usual first request"),
        pytest.param("11 03 00 6b 00 03", "76 87", id="three registers of unit 17"),
    ],
)
def test_the_checksum_is_that_of_published_frames(frame: str, end: str) -> None:
    assert rtu.crc(bytes.fromhex(frame)) == bytes.fromhex(end)


@given(st.binary(max_size=300))
def test_the_checksum_is_what_the_specification_works_out_bit_by_bit(data: bytes) -> None:
    assert rtu.crc(data) == checksum(data)


def test_a_request_is_framed_byte_for_byte() -> None:
    assert rtu.frame(1, READ.pdu) == REQUEST


@pytest.mark.parametrize(
    ("heard", "strays"),
    [
        pytest.param(ANSWER, (), id="alone"),
        pytest.param(REQUEST + ANSWER, (REQUEST,), id="behind its echo"),
        pytest.param(NEIGHBOUR + ANSWER, (NEIGHBOUR,), id="behind another unit's"),
        pytest.param(b"\xff\x00\xff" + ANSWER, (b"\xff\x00\xff",), id="behind noise"),
        pytest.param(b"\xff" + REQUEST + b"\0" + ANSWER, (b"\xff", REQUEST, b"\0"), id="behind all of it"),
        pytest.param(ANSWER + b"\xff\xfe", (), id="before noise"),
        pytest.param(sealed(b"\1\4\4\0\0\0\0") + ANSWER, (sealed(b"\1\4\4\0\0\0\0"),), id="another function"),
        pytest.param(sealed(b"\1\3\2\0\0") + ANSWER, (sealed(b"\1\3\2\0\0"),), id="behind a shorter one"),
    ],
)
def test_the_answer_is_found(heard: bytes, strays: tuple[bytes, ...]) -> None:
    found = look(heard)
    assert (found.answer, found.strays) == (ANSWER, strays)
    for end in range(len(heard)):
        part = look(heard[:end])
        assert part.answer in (None, ANSWER)
        assert (part.answer is None) == (ANSWER not in heard[:end])


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(REQUEST, id="the request itself"),
        pytest.param(NEIGHBOUR, id="another unit"),
        pytest.param(ANSWER[:-1], id="without its end"),
        pytest.param(ANSWER[1:], id="without its beginning"),
        pytest.param(ANSWER[:-1] + bytes((ANSWER[-1] ^ 1,)), id="a wrong checksum"),
        pytest.param(sealed(b"\1\3\6\0\0\0\0\0\0"), id="more registers"),
        pytest.param(sealed(b"\1\4\4\x12\x34\x56\x78"), id="another function"),
        pytest.param(sealed(b"\1\x84\2"), id="an exception to another function"),
        pytest.param(sealed(b"\1\6\0\0\0\2"), id="the answer to a write"),
        pytest.param(b"\xff" * 300, id="noise"),
        pytest.param(b"\0" * 300, id="zeros"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_nothing_else_is_taken_for_it(heard: bytes) -> None:
    found = look(heard)
    assert found.answer is None
    assert b"".join((*found.strays, found.rest)) == heard


def test_what_lies_inside_of_another_frame_is_not_looked_at() -> None:
    carrier = sealed(bytes((2, 3, 2 * len(ANSWER))) + ANSWER + ANSWER)
    found = look(carrier)
    assert (found.answer, found.likely, found.strays) == (None, None, (carrier,))
    unfinished = look(carrier[: 3 + len(ANSWER)])
    assert (unfinished.answer, unfinished.likely) == (None, ANSWER)  # only if nothing more comes


def test_noise_that_looks_like_the_beginning_of_a_frame_does_not_hide_the_answer() -> None:
    heard = bytes.fromhex("01 03 80") + ANSWER
    found = look(heard)
    assert (found.answer, found.likely, found.rest) == (None, ANSWER, heard)


def test_an_exception_is_an_answer_unless_it_may_be_an_older_one() -> None:
    exception = sealed(b"\1\x83\2")
    assert look(exception).answer == exception
    assert look(exception, is_exception_ours=False) == Found(None, (exception,), b"")
    assert look(exception + ANSWER, is_exception_ours=False) == Found(ANSWER, (exception,), b"")


def test_the_answer_to_a_write_equals_it_and_its_echo_is_told_apart_where_the_line_echoes() -> None:
    assert look(WRITTEN, WRITE).answer == WRITTEN
    assert look(WRITTEN, WRITE, is_echoed=True) == Found(None, (WRITTEN,), b"")
    assert look(WRITTEN * 2, WRITE, is_echoed=True) == Found(WRITTEN, (WRITTEN,), b"")
    assert look(b"\xff" + WRITTEN, WRITE, is_echoed=True)[::3] == (None, None)
    assert look(b"\xff" + WRITTEN * 2, WRITE, is_echoed=True).answer == WRITTEN


@pytest.mark.parametrize("objects", [{}, {0: b"Acme"}, {0: b"A", 1: b"", 2: b"V2.11", 0x80: b"x" * 200}])
def test_an_identification_tells_its_own_length(objects: dict[int, bytes]) -> None:
    told = b"".join(bytes((number, len(text))) + text for number, text in objects.items())
    whole = sealed(bytes.fromhex("01 2b0e 01 81 00 00") + bytes((len(objects),)) + told)
    assert look(whole, IDENTIFY).answer == whole
    assert look(sealed(b"\1" + IDENTIFY.pdu) + whole, IDENTIFY).answer == whole
    for end in range(len(whole)):
        assert look(whole[:end], IDENTIFY).answer is None


def test_the_frame_of_a_unit_is_known_by_its_checksum() -> None:
    assert rtu.unit_of(NEIGHBOUR) == 2
    assert rtu.unit_of(NEIGHBOUR[:-1]) is None
    assert rtu.unit_of(b"") is None


FRAMES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([REQUEST, NEIGHBOUR, WRITTEN, ANSWER[:4], b"\1\3\xfa", b"\1\x10"]),
)


@settings(max_examples=600, deadline=None)
@given(before=st.lists(FRAMES, max_size=6), after=st.binary(max_size=8))
def test_whatever_comes_before_it_the_answer_is_found_or_likely(before: list[bytes], after: bytes) -> None:
    heard = b"".join(before) + ANSWER
    found = look(heard, is_exception_ours=False)
    assert ANSWER in (found.answer, found.likely)
    if found.answer is not None:
        assert look(heard + after, is_exception_ours=False).answer == found.answer


@settings(max_examples=600, deadline=None)
@given(st.lists(FRAMES, max_size=8).map(b"".join))
def test_no_bytes_are_lost_or_taken_for_an_answer_that_is_not_there(heard: bytes) -> None:
    found = look(heard)
    pieces = (*found.strays, *filter(None, (found.answer,)), found.rest)
    assert b"".join(pieces) == heard
    for answer in filter(None, (found.answer, found.likely)):
        assert sealed(answer[:-2]) == answer
        assert answer[:2] in (b"\1\3", b"\1\x83")
