"""The data of a reply become readings, in the unit of the point whatever the meter counts in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.cjt188.decode import DataDecoder
from models.profile.cjt188 import UNITS, Cjt188Point, Cjt188Section, Read, UnitCode
from models.reading import Quality, Reading, Reason

CODES = {0x02: ("Wh", 1), 0x05: ("kWh", 1), 0x08: ("MWh", 1), 0x0A: ("MWh", 100), 0x0B: ("kJ", 1),
         0x0E: ("MJ", 1), 0x11: ("GJ", 1), 0x13: ("GJ", 100), 0x29: ("L", 1), 0x2C: ("m3", 1),
         0x17: ("kW", 1), 0x32: ("L/h", 1), 0x35: ("m3/h", 1)}  # fmt: skip


def section(length: int = 5) -> Cjt188Section:
    return Cjt188Section(
        edition="2004",
        meter_type=0x10,
        reads=(Read(di=0x901F, length=length),),
        units=tuple(
            UnitCode(code=code, unit=unit, times=times, source="this test", verified=True)
            for code, (unit, times) in CODES.items()
        ),
    )


def a_point(**given: Any) -> Cjt188Point:
    settings: dict[str, Any] = {
        "name": "x", "unit": "m3", "kind": "gauge", "at": 0, "length": 4, "unit_at": 4, "scale": 0.01,
        "decimals": 3,
    }  # fmt: skip
    return Cjt188Point(**(settings | given))


def one(data: str, of: int = 5, **given: Any) -> tuple[float | None, Reason]:
    into: list[Reading | None] = [None]
    decoder = DataDecoder([a_point(**given)], 0x901F, section(of), {}, "m")
    decoder.decode(bytes.fromhex(data), 10, 20, into)
    [reading] = into
    assert reading is not None
    assert (reading.value is None) is (reading.quality is Quality.BAD)
    return reading.value, Reason(reading.reason)


@pytest.mark.parametrize(
    ("data", "unit", "value"),
    [
        ("00 77 66 55 2C", "m3", 556677.0),
        ("60 34 12 00 29", "m3", 1.235),  # 1234.60 L
        ("00 77 66 55 2C", "L", 556677000.0),
        ("78 56 34 12 05", "kWh", 123456.78),
        ("78 56 34 12 02", "kWh", 123.457),
        ("02 00 00 00 08", "kWh", 20.0),
        ("02 00 00 00 0A", "kWh", 2000.0),
        ("25 01 00 00 11", "kWh", 347.222),  # 1.25 GJ
        ("25 01 00 00 13", "kWh", 34722.222),
        ("60 03 00 00 0E", "kWh", 1.0),  # 3.6 MJ
        ("00 60 03 00 0B", "kWh", 0.1),  # 360 kJ
        ("78 56 34 12 05", "GJ", 444.444),
        ("50 01 00 00 32", "m3/h", 0.002),  # 1.5 L/h
        ("50 01 00 00 35", "m3/h", 1.5),
    ],
)
def test_a_value_is_shown_in_the_unit_of_its_point(data: str, unit: str, value: float) -> None:
    assert one(data, unit=unit) == (value, Reason.NONE)


@pytest.mark.parametrize("code", [0x00, 0x05, 0x17, 0x35, 0x7F, 0xFF])
def test_a_value_in_an_unknown_unit_or_one_of_something_else_is_none(code: int) -> None:
    assert one(f"00 77 66 55 {code:02x}") == (None, Reason.UNDECODABLE)


def test_all_bits_set_mean_not_available_and_other_digits_are_none() -> None:
    assert one("FF FF FF FF 2C") == (None, Reason.NOT_AVAILABLE)
    assert one("0A 00 00 00 2C") == (None, Reason.UNDECODABLE)


@pytest.mark.parametrize("data", ["", "00 77 66 55", "00 77 66 55 2C 00"])
def test_data_of_another_length_are_another_format(data: str) -> None:
    assert one(data) == (None, Reason.UNDECODABLE)


def test_the_clock_of_a_meter() -> None:
    clock: dict[str, Any] = {"type": "date_time", "unit": "s", "length": 7, "unit_at": None, "scale": 1}
    assert one("31 01 22 11 05 15 20", 7, **clock) == (1431352891.0, Reason.NONE)
    assert one("31 01 22 32 05 15 20", 7, **clock) == (None, Reason.UNDECODABLE)
    assert one("FF FF FF FF FF FF FF", 7, **clock) == (None, Reason.NOT_AVAILABLE)


@pytest.mark.parametrize(("status", "valve", "battery"), [("00 00", 0, 0), ("21 84", 1, 0), ("07 00", 3, 1)])
def test_the_state_of_valve_and_battery(status: str, valve: int, battery: int) -> None:
    bits: dict[str, Any] = {"type": "bits", "unit": "", "kind": "state", "length": 2, "unit_at": None}
    assert one(status, 2, **bits, bit=0, bits=2, scale=1) == (float(valve), Reason.NONE)
    assert one(status, 2, **bits, bit=2, bits=1, scale=1) == (float(battery), Reason.NONE)


@given(data=st.binary(min_size=5, max_size=5), unit=st.sampled_from(sorted(UNITS)))
def test_any_data_give_a_value_of_their_digits_or_none(data: bytes, unit: str) -> None:
    value, reason = one(data.hex(), unit=unit)
    assert (value is None) is (reason is not Reason.NONE)
    if value is not None:
        assert data[:4].hex().isdecimal()
        assert UNITS[CODES[data[4]][0]][0] == UNITS[unit][0]
