import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.decode import ReplyDecoder, raw_value
from drivers.modbus.guess import plausible_decodings
from drivers.modbus.plan import plan
from models.profile.modbus import ModbusPoint, ModbusProfile, ModbusSection
from models.reading import Quality, Reading, Reason
from tests.support.profiles import a_point, a_profile
from tests.support.register_encoder import ORDERS, WIDTHS, encoded, pattern, registers

NOT_AVAILABLE = (None, Quality.BAD, Reason.NOT_AVAILABLE)
UNDECODABLE = (None, Quality.BAD, Reason.UNDECODABLE)


def decode(profile: ModbusProfile, data: bytes, parameters: dict[str, float] | None = None) -> list[Reading]:
    """The readings of a profile whose points fit into one request, from the data of its reply."""
    [request] = plan(profile.points, profile.modbus)
    settled = profile.settled_parameters(parameters or {})
    decoder = ReplyDecoder(request, profile.points, profile.modbus, settled, "meter-01")
    into: list[Reading | None] = [None] * len(profile.points)
    decoder.decode(data, 1_000, 1_010, into)
    readings = [reading for reading in into if reading is not None]
    assert [reading.point for reading in readings] == [point.name for point in profile.points]
    return readings


def decode_one(
    point: ModbusPoint, data: str | bytes, **parameters: float
) -> tuple[float | None, Quality, Reason]:
    data = bytes.fromhex(data) if isinstance(data, str) else data
    [reading] = decode(a_profile(point, parameters=parameters), data)
    return reading.value, reading.quality, reading.reason


@pytest.mark.parametrize(
    ("type_", "data", "value"),
    [
        pytest.param("int16", "FFFE", -2.0, id="int16"),
        pytest.param("uint16", "FFFE", 65534.0, id="uint16"),
        pytest.param("int32", "FFFFFFFE", -2.0, id="int32"),
        pytest.param("uint32", "00012345", 74565.0, id="uint32"),
        pytest.param("int64", "FFFFFFFFFFFFFFFE", -2.0, id="int64"),
        pytest.param("uint64", "0000000000BC614E", 12345678.0, id="uint64"),
        pytest.param("float32", "43660000", 230.0, id="float32"),
        pytest.param("float64", "406CC00000000000", 230.0, id="float64"),
        pytest.param("bcd16", "9876", 9876.0, id="bcd16"),
        pytest.param("bcd32", "12345678", 12345678.0, id="bcd32"),
        pytest.param("bcd64", "0000001234567890", 1234567890.0, id="bcd64"),
    ],
)
def test_each_type_is_read_from_its_registers(type_: str, data: str, value: float) -> None:
    assert decode_one(a_point("x", 0, type_), data) == (value, Quality.GOOD, Reason.NONE)


@pytest.mark.parametrize(
    ("word_order", "byte_order", "data"),
    [
        pytest.param("high_first", "big", "43663333", id="ABCD"),
        pytest.param("low_first", "big", "33334366", id="CDAB"),
        pytest.param("high_first", "little", "66433333", id="BADC"),
        pytest.param("low_first", "little", "33336643", id="DCBA"),
    ],
)
def test_bytes_and_words_come_in_four_orders(word_order: str, byte_order: str, data: str) -> None:
    point = a_point("x", 0, "float32", word_order=word_order, byte_order=byte_order, decimals=1)
    assert decode_one(point, data)[0] == 230.2


def test_points_of_one_reply_may_differ_in_their_orders() -> None:
    profile = a_profile(
        a_point("abcd", 0, "uint32"),
        a_point("dcba", 2, "uint32", word_order="low_first", byte_order="little"),
        a_point("cdab", 4, "uint32", word_order="low_first"),
        a_point("badc", 6, "uint32", byte_order="little"),
    )
    readings = decode(profile, bytes.fromhex("01020304 04030201 03040102 02010403"))
    assert {reading.value for reading in readings} == {float(0x01020304)}


def test_a_reading_carries_the_two_times_of_its_request() -> None:
    [reading] = decode(a_profile(a_point("x", 0)), b"\0\1")
    assert (reading.device_id, reading.measured_ms, reading.received_ms) == ("meter-01", 1_000, 1_010)


@pytest.mark.parametrize(
    ("settings", "data", "value"),
    [
        pytest.param({"scale": 0.1, "decimals": 1}, "5A7C", 2316.4, id="tenths stay tenths"),
        pytest.param({"scale": 0.01, "decimals": 2}, "0007", 0.07, id="0.07 and not 0.07000000000000001"),
        pytest.param({"scale": 0.01, "decimals": 1}, "0019", 0.2, id="half goes to the even digit"),
        pytest.param({"scale": 0.01, "decimals": 1}, "0023", 0.4, id="half goes to the even digit, upwards"),
        pytest.param({"scale": 10, "decimals": 0}, "0019", 250.0, id="tens"),
        pytest.param({"scale": -1, "decimals": 0}, "0019", -25.0, id="turned round"),
        pytest.param({"scale": 0.1, "offset": -40, "decimals": 1}, "019A", 1.0, id="offset"),
        pytest.param({"offset": 273.15, "decimals": 2}, "0000", 273.15, id="offset with decimals"),
    ],
)
def test_scale_and_offset_give_the_decimal_number_that_is_meant(
    settings: dict[str, Any], data: str, value: float
) -> None:
    assert decode_one(a_point("x", 0, **settings), data)[0] == value


def test_parameters_multiply_the_raw_value_and_its_bounds_but_not_the_offset() -> None:
    point = a_point(
        "x", 0, scale=0.01, decimals=2, offset=1, multiply_by=("pt", "ct"), min=1, max=7.55
    )  # before the offset: 0 to 6.55, which is every count there is
    profile = a_profile(point, parameters={"ct": 1, "pt": 1})
    [plain] = decode(profile, bytes.fromhex("0064"))
    [ratio] = decode(profile, bytes.fromhex("0064"), {"ct": 20})
    [highest] = decode(profile, bytes.fromhex("028F"), {"ct": 20, "pt": 10})
    [lowest] = decode(profile, bytes.fromhex("0000"), {"ct": 20, "pt": 10})
    [beyond] = decode(profile, bytes.fromhex("0290"), {"ct": 20, "pt": 10})
    assert (plain.value, ratio.value, highest.value, lowest.value) == (2.0, 21.0, 1311.0, 1.0)
    assert {plain.quality, ratio.quality, highest.quality, lowest.quality} == {Quality.GOOD}
    assert (beyond.value, beyond.quality) == (1313.0, Quality.SUSPECT)


def test_a_large_counter_keeps_every_count() -> None:
    point = a_point("x", 0, "uint64", scale=0.001, decimals=3)
    assert decode_one(point, (2**52 + 1).to_bytes(8, "big"))[0] == 4503599627370.497


def test_a_float_is_rounded_once_to_the_decimals_of_its_point() -> None:
    point = a_point("x", 0, "float32", scale=0.1, decimals=2)
    assert decode_one(point, "450FD800")[0] == 230.15


def test_a_negative_zero_is_zero() -> None:
    value, *_ = decode_one(
        a_point("x", 0, "float32", decimals=2), encoded("float32", -0.001953125, "high_first", "big")
    )
    assert value == 0
    assert math.copysign(1, value or 0.0) == 1


@pytest.mark.parametrize(
    ("type_", "sentinels", "data"),
    [
        pytest.param("uint16", (0xFFFF,), "FFFF", id="all ones"),
        pytest.param("int16", (0x8000,), "8000", id="the lowest, written as in the manual"),
        pytest.param("int16", (-32768,), "8000", id="the lowest, written as a number"),
        pytest.param("int32", (0x7FFFFFFF, 0x80000000), "80000000", id="one of two"),
        pytest.param("uint64", (0xFFFFFFFFFFFFFFFF,), "FFFFFFFFFFFFFFFF", id="64 bits"),
        pytest.param("float32", ("nan",), "7FC00000", id="not a number"),
        pytest.param("float32", ("nan",), "FFFFFFFF", id="another not a number"),
        pytest.param("float32", (-9999.9,), "C61C3F9A", id="a number that float32 only comes near to"),
        pytest.param("float64", (float("nan"),), "7FF8000000000000", id="not a number, of 64 bits"),
        pytest.param("bcd32", (0xFFFFFFFF,), "FFFFFFFF", id="no digits"),
    ],
)
def test_a_sentinel_is_no_value(type_: str, sentinels: tuple[float, ...], data: str) -> None:
    assert decode_one(a_point("x", 0, type_, sentinels=sentinels), data) == NOT_AVAILABLE


def test_a_bcd_number_that_equals_the_pattern_of_a_sentinel_is_a_value() -> None:
    point = a_point("x", 0, "bcd16", sentinels=(0x04D2,))  # 1234, which no BCD register holds as 04D2
    assert decode_one(point, "1234")[0] == 1234.0


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        pytest.param("bcd16", "12A4", id="a digit above 9"),
        pytest.param("float32", "7FC00000", id="not a number"),
        pytest.param("float32", "FF800000", id="infinity"),
        pytest.param("float64", "7FF0000000000000", id="infinity of 64 bits"),
    ],
)
def test_bytes_that_are_no_number_are_undecodable(type_: str, data: str) -> None:
    assert decode_one(a_point("x", 0, type_), data) == UNDECODABLE


@pytest.mark.parametrize(
    ("raw", "quality"),
    [(0, Quality.GOOD), (5000, Quality.GOOD), (5001, Quality.SUSPECT), (65535, Quality.SUSPECT)],
)
def test_a_value_outside_what_is_possible_is_kept_and_suspect(raw: int, quality: Quality) -> None:
    point = a_point("x", 0, scale=0.1, decimals=1, min=0, max=500)
    reason = Reason.NONE if quality is Quality.GOOD else Reason.OUT_OF_RANGE
    assert decode_one(point, raw.to_bytes(2, "big")) == (raw / 10, quality, reason)


def test_the_value_that_is_shown_decides_whether_it_is_possible() -> None:
    point = a_point("x", 0, "float32", decimals=1, max=500)
    assert decode_one(point, encoded("float32", 500.03125, "high_first", "big"))[:2] == (500.0, Quality.GOOD)


def test_a_bcd_value_has_a_scale_and_a_range_too() -> None:
    point = a_point("x", 0, "bcd32", scale=0.01, decimals=2, max=500_000)
    assert decode_one(point, "12345678")[:2] == (123456.78, Quality.GOOD)
    assert decode_one(point, "99999999")[:2] == (999999.99, Quality.SUSPECT)


def test_bits_of_a_register_are_states_of_their_own() -> None:
    profile = a_profile(
        *(a_point(f"bit_{bit}", 0, "bool", bit=bit) for bit in (0, 3, 15)),
        a_point("word", 0, shares_registers=True),
    )
    assert [reading.value for reading in decode(profile, bytes.fromhex("8001"))] == [1, 0, 1, 32769]


def test_a_bit_follows_the_byte_order_of_its_register() -> None:
    assert decode_one(a_point("x", 0, "bool", bit=0, byte_order="little"), "0100")[0] == 1.0


@pytest.mark.parametrize("table", ["coil", "discrete"])
def test_coils_are_packed_lowest_bit_first(table: str) -> None:
    profile = a_profile(*(a_point(f"c_{address}", address, table=table) for address in range(3, 14)))
    readings = decode(profile, bytes.fromhex("CD05"))
    assert [reading.value for reading in readings] == [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1]


def _numbers(type_: str) -> st.SearchStrategy[float]:
    bits = 16 * WIDTHS[type_]
    if type_ == "float32":
        return st.floats(width=32)
    if type_ == "float64":
        return st.floats()
    if type_.startswith("bcd"):
        return st.integers(0, 10 ** (bits // 4) - 1)
    return (
        st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
        if type_[0] == "i"
        else st.integers(0, (1 << bits) - 1)
    )


@settings(deadline=None)  # machines are busy at times
@given(data=st.data(), type_=st.sampled_from(sorted(WIDTHS)), order=st.sampled_from(ORDERS))
def test_every_raw_number_of_every_type_and_order_is_read_back(
    data: st.DataObject, type_: str, order: tuple[str, str]
) -> None:
    number = data.draw(_numbers(type_))
    raw = raw_value(encoded(type_, number, *order), type_, *order)  # type: ignore[arg-type]  # plain text here
    assert raw == (number if math.isfinite(number) else None)


@settings(deadline=None)  # machines are busy at times
@given(
    data=st.data(),
    type_=st.sampled_from(sorted(WIDTHS)),
    order=st.sampled_from(ORDERS),
    scale=st.sampled_from([1, 0.1, 0.01, 0.001, 0.0001, 10, 2.5, -0.1, 0.125]),
    offset=st.sampled_from([0, -40, 273.15]),
    ratio=st.sampled_from([1, 20, 40, 0.5, 83.3]),
    decimals=st.integers(0, 6),
)
def test_every_value_is_the_exact_product_rounded_once(
    data: st.DataObject,
    type_: str,
    order: tuple[str, str],
    scale: float,
    offset: float,
    ratio: float,
    decimals: int,
) -> None:
    number = data.draw(_numbers(type_).filter(lambda raw: abs(raw) < 1e12))  # also drops not a number
    point = a_point(
        "x", 7, type_, scale=scale, offset=offset, multiply_by=("ratio",), decimals=decimals,
        word_order=order[0], byte_order=order[1],
    )  # fmt: skip
    value, quality, _ = decode_one(point, encoded(type_, number, *order), ratio=ratio)
    exact = Fraction(number) * Fraction(str(scale)) * Fraction(str(ratio)) + Fraction(str(offset))
    steps = exact * 10**decimals
    assert quality is Quality.GOOD
    if type_.startswith("float"):  # one multiplication of floats may fall to the other side of a half
        assert value is not None
        assert abs(Fraction(value) * 10**decimals - steps) <= Fraction(1, 2) + abs(steps) / 2**50
        assert value == round(value, decimals)
    else:
        assert value == float(Fraction(round(steps), 10**decimals))


@settings(deadline=None)  # machines are busy at times
@given(data=st.data(), order=st.sampled_from(ORDERS))
def test_many_points_in_one_reply_do_not_disturb_each_other(
    data: st.DataObject, order: tuple[str, str]
) -> None:
    types: Sequence[str] = data.draw(st.lists(st.sampled_from(sorted(WIDTHS)), min_size=1, max_size=20))
    address = data.draw(st.integers(0, 60_000))
    sent = b""
    points: list[ModbusPoint] = []
    expected: list[float | None] = []
    for index, type_ in enumerate(types):
        gap = data.draw(st.integers(0, 3)) if points else 0
        number = data.draw(_numbers(type_).filter(lambda raw: abs(raw) < 1e9))
        points.append(
            a_point(f"p_{index}", address + gap, type_, decimals=9, word_order=order[0], byte_order=order[1])
        )
        sent += b"\xaa\x55" * gap + registers(pattern(type_, number), WIDTHS[type_], *order)
        address += gap + WIDTHS[type_]
        expected.append(float(Fraction(round(Fraction(number) * 10**9), 10**9)))
    shuffled = data.draw(st.permutations(list(zip(points, expected, strict=True))))
    readings = decode(a_profile(*(point for point, _ in shuffled), max_gap=3), sent)
    assert [reading.value for reading in readings] == [value for _, value in shuffled]


def test_unknown_registers_are_read_in_every_sensible_way() -> None:
    found = [(d.type, d.word_order, d.byte_order, d.value) for d in plausible_decodings([0x3333, 0x4366])]
    assert found[0] == ("float32", "low_first", "big", 230.1999969482422)
    assert ("uint32", "low_first", "big", 0x43663333) in found
    assert len(found) == len({(type_, value) for type_, _, _, value in found})


def test_one_register_of_nine_digits_is_no_bcd_number() -> None:
    assert {d.type for d in plausible_decodings([0xABCD])} == {"uint16", "int16"}
    assert plausible_decodings([1, 2, 3]) == []


def test_the_section_gives_the_orders_that_a_point_does_not() -> None:
    section = ModbusSection(word_order="low_first", byte_order="little")
    profile = a_profile(a_point("x", 0, "uint32")).model_copy(update={"modbus": section})
    assert decode(profile, bytes.fromhex("04030201"))[0].value == float(0x01020304)
