"""Frames written out by hand from the MODBUS Application Protocol specification."""

import pytest

from simulators.modbus.frames import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    NotModbus,
    Read,
    answer,
    asked_for,
    exception,
    frame,
    packed_bits,
    take_requests,
)


def test_a_request_is_taken_apart() -> None:
    stream = bytearray.fromhex("15 01 00 00 00 06 11 03 00 6b 00 03")  # example of section 6.3, unit 17
    [request] = take_requests(stream)
    assert (request.transaction, request.unit) == (0x1501, 17)
    assert asked_for(request.pdu) == Read("holding", 0x6B, 3)
    assert not stream


def test_a_stream_is_cut_into_frames_wherever_the_network_cut_it() -> None:
    whole = bytes.fromhex("0001 0000 0006 01 04 0000 0002") + bytes.fromhex("0002 0000 0006 02 03 0010 0001")
    stream, found = bytearray(), []
    for byte in whole:
        stream.append(byte)
        found += take_requests(stream)
    assert [(r.transaction, r.unit, asked_for(r.pdu)) for r in found] == [
        (1, 1, Read("input", 0, 2)),
        (2, 2, Read("holding", 16, 1)),
    ]


def test_a_frame_of_another_protocol_is_dropped_and_the_next_one_served() -> None:
    stream = bytearray.fromhex("0001 0005 0006 01 04 0000 0002 0002 0000 0006 01 04 0000 0002")
    assert [request.transaction for request in take_requests(stream)] == [2]


@pytest.mark.parametrize("length", ["0000", "0001", "00ff", "ffff"])
def test_an_impossible_length_ends_the_conversation(length: str) -> None:
    with pytest.raises(NotModbus):
        take_requests(bytearray.fromhex(f"0001 0000 {length} 01 04 0000 0002"))


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        pytest.param("04 0000 0000", ILLEGAL_VALUE, id="no register"),
        pytest.param("04 0000 007e", ILLEGAL_VALUE, id="126 registers"),
        pytest.param("01 0000 07d1", ILLEGAL_VALUE, id="2001 coils"),
        pytest.param("04 0000 00", ILLEGAL_VALUE, id="too short"),
        pytest.param("04 0000 0001 00", ILLEGAL_VALUE, id="too long"),
        pytest.param("03 fff0 0011", ILLEGAL_ADDRESS, id="beyond the last address"),
        pytest.param("05 0000 0001", ILLEGAL_VALUE, id="a coil that is neither on nor off"),
        pytest.param("05 0000 ff", ILLEGAL_VALUE, id="half a coil"),
        pytest.param("06 0000 000100", ILLEGAL_VALUE, id="a register and a half"),
        pytest.param("0f 0000 0009 01 01", ILLEGAL_VALUE, id="nine coils in a byte"),
        pytest.param("10 0000 0001 04 0001 0002", ILLEGAL_VALUE, id="two registers for one"),
        pytest.param("10 0000 0000 00", ILLEGAL_VALUE, id="no register to write"),
        pytest.param("10 ffff 0002 04 0001 0002", ILLEGAL_ADDRESS, id="write beyond the last address"),
        pytest.param("16 0000 00f2 0025", ILLEGAL_FUNCTION, id="a masked write"),
        pytest.param("2b 0e 01 00", ILLEGAL_FUNCTION, id="identification"),
    ],
)
def test_what_the_specification_forbids_is_refused(pdu: str, code: int) -> None:
    assert asked_for(bytes.fromhex(pdu)) == code


@pytest.mark.parametrize(("pdu", "read"), [
    ("01 0013 0013", Read("coil", 0x13, 19)),
    ("02 00c4 0016", Read("discrete", 0xC4, 22)),
    ("03 0000 007d", Read("holding", 0, 125)),
    ("04 ffff 0001", Read("input", 0xFFFF, 1)),
    ("01 0000 07d0", Read("coil", 0, 2000)),
])  # fmt: skip
def test_what_it_allows_is_understood(pdu: str, read: Read) -> None:
    assert asked_for(bytes.fromhex(pdu)) == read


def test_bits_are_packed_as_in_the_example_of_the_specification() -> None:
    """Section 6.1: coils 20 to 38 answer CD 6B 05."""
    text = "1 0 1 1 0 0 1 1  1 1 0 1 0 1 1 0  1 0 1"  # coil 20 first
    assert packed_bits([bit == "1" for bit in text.split()]) == bytes.fromhex("cd 6b 05")


def test_replies_look_as_in_the_specification() -> None:
    """Section 6.3: registers 108 to 110 hold 555, 0 and 100."""
    assert answer(3, bytes.fromhex("022b 0000 0064")) == bytes.fromhex("03 06 02 2b 00 00 00 64")
    assert exception(3, 2) == bytes.fromhex("83 02")
    assert frame(0x1501, 17, bytes.fromhex("83 02")) == bytes.fromhex("1501 0000 0003 11 83 02")
