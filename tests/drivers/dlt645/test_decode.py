"""The data of an identifier become readings: digits, signs, dates, and what is none of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.dlt645.decode import DataDecoder
from models.profile.dlt645 import CALENDAR_LENGTHS, Dlt645Point, Dlt645Section
from models.reading import Quality, Reading, Reason

SECTION = Dlt645Section(edition="2007")


def a_point(name: str = "x", **given: Any) -> Dlt645Point:
    settings: dict[str, Any] = {"unit": "V", "kind": "gauge", "di": 0x02010100, "length": 2, "decimals": 1}
    return Dlt645Point(name=name, **(settings | given))


def decoded(data: str, *points: Dlt645Point, is_block: bool = False, **parameters: float) -> list[Reading]:
    into: list[Reading | None] = [None] * len(points)
    decoder = DataDecoder(points, range(len(points)), SECTION, parameters, "m", is_block=is_block)
    decoder.decode(bytes.fromhex(data), 10, 20, into)
    readings = [reading for reading in into if reading is not None]
    assert len(readings) == len(points)
    return readings


def one(data: str, **given: Any) -> tuple[float | None, Reason]:
    [reading] = decoded(data, a_point(**given))
    assert (reading.value is None) is (reading.quality is Quality.BAD)
    return reading.value, Reason(reading.reason)


@pytest.mark.parametrize(
    ("data", "given", "value"),
    [
        pytest.param("01 10", {"scale": 0.1}, 100.1, id="the example of the standard"),
        pytest.param("78 56 34 12", {"length": 4, "scale": 0.01, "decimals": 2}, 123456.78, id="energy"),
        pytest.param("99 99 99 99", {"length": 4, "scale": 0.01, "decimals": 2}, 999999.99, id="largest"),
        pytest.param("00 00", {"scale": 0.1}, 0.0, id="zero"),
        pytest.param("05", {"length": 1, "decimals": 0}, 5.0, id="one byte"),
        pytest.param("21 43 65 87 09 21 43 65", {"length": 8, "decimals": 0}, 6543210987654321.0, id="eight"),
        pytest.param("00 80", {"type": "signed_bcd", "scale": 0.1}, 0.0, id="minus zero is zero"),
        pytest.param("45 23 81", {"type": "signed_bcd", "length": 3, "scale": 0.0001, "decimals": 4}, -1.2345,
                     id="sign in the highest bit"),
        pytest.param("99 99 79", {"type": "signed_bcd", "length": 3, "scale": 0.001, "decimals": 3}, 799.999,
                     id="largest with a sign"),
    ],
)  # fmt: skip
def test_digits_are_a_number(data: str, given: dict[str, Any], value: float) -> None:
    assert one(data, **given) == (value, Reason.NONE)
    assert str(one(data, **given)[0]) == str(value)  # -0.0 would be another text


@pytest.mark.parametrize("type_", ["bcd", "signed_bcd"])
def test_all_bits_set_mean_not_available(type_: str) -> None:
    assert one("FF FF", type=type_) == (None, Reason.NOT_AVAILABLE)


@pytest.mark.parametrize("data", ["0A 00", "A0 00", "00 0F", "FF 0F", "F0 FF"])
@pytest.mark.parametrize("type_", ["bcd", "signed_bcd"])
def test_a_digit_above_nine_is_no_number(data: str, type_: str) -> None:
    assert one(data, type=type_) == (None, Reason.UNDECODABLE)


@pytest.mark.parametrize("data", ["", "01", "01 10 00", "01 10 01 10"])
def test_data_of_another_length_are_another_format(data: str) -> None:
    assert one(data) == (None, Reason.UNDECODABLE)


@pytest.mark.parametrize(
    ("data", "type_", "unit", "value"),
    [
        pytest.param("01 21 09 26", "date", "d", 20717.0, id="YYMMDDWW"),
        pytest.param("21 09 26", "date", "d", 20717.0, id="YYMMDD"),
        pytest.param("20 33 21", "time", "s", 77600.0, id="hhmmss"),
        pytest.param("59 59 23", "time", "s", 86399.0, id="the last second"),
        pytest.param("20 33 21 01 21 09 26", "date_time", "s", 1789997600.0, id="YYMMDDWWhhmmss"),
        pytest.param("20 33 21 21 09 26", "date_time", "s", 1789997600.0, id="YYMMDDhhmmss"),
        pytest.param("33 21 21 09 26", "date_time", "s", 1789997580.0, id="YYMMDDhhmm"),
        pytest.param("01 29 02 28", "date", "d", 21243.0, id="a leap day"),
    ],
)
def test_dates_and_times(data: str, type_: str, unit: str, value: float) -> None:
    length = len(bytes.fromhex(data))
    assert one(data, type=type_, unit=unit, length=length, decimals=0) == (value, Reason.NONE)


@pytest.mark.parametrize(
    ("data", "type_"),
    [
        ("00 29 02 26", "date"),  # 2026 has no such day
        ("00 00 00 00", "date"),
        ("00 01 13 26", "date"),
        ("00 0A 01 26", "date"),
        ("00 00 24", "time"),
        ("60 00 00", "time"),
        ("00 60 00", "time"),
        ("00 00 24 21 09 26", "date_time"),
        ("00 00 00 31 09 26", "date_time"),
    ],
)
def test_a_moment_that_does_not_exist_is_none(data: str, type_: str) -> None:
    unit = "d" if type_ == "date" else "s"
    length = len(bytes.fromhex(data))
    assert one(data, type=type_, unit=unit, length=length) == (None, Reason.UNDECODABLE)


def test_a_bit_is_a_state() -> None:
    points = [
        a_point(f"bit_{bit}", unit="", kind="state", type="bit", bit=bit, decimals=0) for bit in (0, 4, 15)
    ]
    assert [reading.value for reading in decoded("10 80", *points)] == [0.0, 1.0, 1.0]
    assert [reading.value for reading in decoded("FF FF", *points)] == [1.0, 1.0, 1.0]


def test_values_are_multiplied_by_the_transformers_and_judged_as_the_meter_sees_them() -> None:
    point = a_point(length=3, scale=0.001, decimals=3, multiply_by=("ct",), max=6)
    [good] = decoded("00 50 00", point, ct=20)
    [high] = decoded("00 70 00", point, ct=20)
    assert (good.value, good.quality) == (100.0, Quality.GOOD)
    assert (high.value, high.quality, high.reason) == (140.0, Quality.SUSPECT, Reason.OUT_OF_RANGE)


def test_several_values_stand_in_one_identifier() -> None:
    points = [a_point("first", decimals=0), a_point("second", at=3, length=1, decimals=0)]
    assert [reading.value for reading in decoded("12 34 00 56", *points)] == [3412.0, 56.0]


BLOCK = [a_point("total", length=3, decimals=0), a_point("a", decimals=0), a_point("b", decimals=0)]


def test_a_block_is_split_into_its_points() -> None:
    readings = decoded("00 01 00  02 00  FF FF", *BLOCK, is_block=True)
    assert [reading.value for reading in readings] == [100.0, 2.0, None]
    assert [reading.reason for reading in readings] == [0, 0, Reason.NOT_AVAILABLE]


@pytest.mark.parametrize("more", ["", "77 77", "77 77 77 77", "AA"])
def test_a_block_may_go_on_behind_the_points(more: str) -> None:
    readings = decoded("00 01 00 02 00 03 00" + more, *BLOCK, is_block=True)
    assert [reading.value for reading in readings] == [100.0, 2.0, 3.0]


@pytest.mark.parametrize("data", ["", "00 01 00", "00 01 00 02 00", "00 01 00 02 00 03 00 04"])
def test_a_block_that_is_too_short_or_ends_within_a_value_tells_nothing(data: str) -> None:
    assert {reading.reason for reading in decoded(data, *BLOCK, is_block=True)} == {Reason.UNDECODABLE}


FORMS = [("bcd", length) for length in range(1, 9)] + [("signed_bcd", length) for length in range(1, 9)]
FORMS += [(type_, length) for type_, lengths in CALENDAR_LENGTHS.items() for length in lengths]


@given(data=st.binary(max_size=9), form=st.sampled_from(FORMS))
def test_any_data_give_a_value_of_their_digits_or_none(data: bytes, form: tuple[str, int]) -> None:
    type_, length = form
    value, reason = one(data.hex(), type=type_, length=length, unit="s", decimals=0)
    assert (value is None) is (reason is not Reason.NONE)
    if type_ == "bcd" and len(data) == length and value is not None:
        assert value == float(int(data[::-1].hex()))
