"""What can be wrong with the profile of a Bluetooth device is found, with the line and what to write."""

from typing import Any

import pytest
import yaml

from models.document import DocumentMistakes
from models.profile import load_profile
from models.profile.ble import BleProfile
from models.profile.ble_checks import scale_between

POINT: dict[str, Any] = {
    "name": "power_kw",
    "unit": "kW",
    "kind": "gauge",
    "fields": ["0x5C"],
    "scale": 0.001,
}
PROFILE: dict[str, Any] = {
    "profile": "x", "version": "1", "title": "X", "family": "ble", "verified": True, "source": "s",
    "ble": {"format": "bthome", "authenticated": True}, "points": [POINT],
}  # fmt: skip
GOLDEN: dict[str, Any] = {"frame": "40", "key": "00" * 16, "values": {"power_kw": 1}}


def mistakes(**changed: Any) -> str:
    with pytest.raises(DocumentMistakes) as caught:
        load_profile(yaml.safe_dump(PROFILE | changed, allow_unicode=True), "x.yaml")
    return "\n".join(str(problem) for problem in caught.value.problems)


def load(**changed: Any) -> BleProfile:
    profile = load_profile(yaml.safe_dump(PROFILE | changed, allow_unicode=True), "x.yaml")
    assert isinstance(profile, BleProfile)
    return profile


@pytest.mark.parametrize(
    ("point", "told"),
    [
        pytest.param({"fields": ["0x5D"]}, "'0x5D' is in 'A', which cannot be turned into 'kW'", id="unit"),
        pytest.param({"scale": 1}, "is not what turns W into kW (scale: 0.001)", id="scale"),
        pytest.param({"fields": ["0x5E5"]}, "bthome has no field '0x5E5'", id="field"),
        pytest.param({"fields": ["0x00"]}, "bthome has no field '0x00'", id="packet id"),
        pytest.param({"fields": ["0x5C#1"]}, "bthome has no field '0x5C#1'", id="number of a first object"),
        pytest.param({"fields": []}, "fields: must have at least 1", id="no field"),
        pytest.param({"kind": "counter"}, "does not add up as a counter does", id="counter of kW"),
        pytest.param({"fields": ["0x23"], "unit": "1", "scale": 1}, "is in 'states'", id="state"),
    ],
)
def test_a_mistake_in_a_point_is_told(point: dict[str, Any], told: str) -> None:
    assert told in mistakes(points=[POINT | point])


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"format": "ruuvi_df5", "authenticated": True}, "does not prove who sent it (authenticated: false)"),
        ({"format": "victron_bmv", "authenticated": True}, "does not prove who sent it"),
        ({"format": "bthome", "authenticated": True, "checksum": False}, "is always looked at (remove it)"),
        ({"format": "bthomme", "authenticated": True}, "did you mean 'bthome'?"),
        ({"format": "bthome"}, "authenticated: is missing"),
    ],
)
def test_a_mistake_in_how_it_speaks_is_told(section: dict[str, Any], told: str) -> None:
    assert told in mistakes(ble=section)


@pytest.mark.parametrize(
    ("golden", "told"),
    [
        ({"frame": "4x"}, "golden[0].frame: is no hex"),
        ({"key": None}, "golden[0].key: is missing"),
        ({"key": "00" * 12}, "must have 16 bytes"),
        ({"values": {"power_w": 1}}, "there is no point 'power_w' (did you mean 'power_kw'?)"),
        ({"address": "54:48"}, "golden[0].address"),
    ],
)
def test_a_golden_frame_must_be_one(golden: dict[str, Any], told: str) -> None:
    assert told in mistakes(golden=[GOLDEN | golden])


@pytest.mark.parametrize(
    ("format_name", "authenticated", "key"),
    [
        ("bthome", True, "required"), ("bthome", False, "never"), ("mibeacon", True, "required"),
        ("mibeacon", False, "allowed"), ("ruuvi_df5", False, "never"), ("victron_bmv", False, "required"),
        ("atorch", False, "never"), ("jbd", False, "never"),
    ],
)  # fmt: skip
def test_a_profile_says_whether_its_devices_have_a_key(
    format_name: str, authenticated: bool, key: str
) -> None:
    field = {"bthome": "0x02", "jbd": "temperature_1"}.get(format_name, "temperature")
    point = {"name": "t_c", "unit": "°C", "kind": "gauge", "fields": [field]}
    profile = load(ble={"format": format_name, "authenticated": authenticated}, points=[point])
    assert profile.addressing.key == key
    assert profile.unauthenticated is not authenticated


def test_a_second_object_of_an_id_has_a_name_of_its_own() -> None:
    assert load(points=[POINT | {"fields": ["0x5C#2"]}]).points[0].place == "0x5C#2"


@pytest.mark.parametrize(
    ("unit", "wanted", "scale"),
    [("W", "kW", "0.001"), ("kWh", "Wh", 1000), ("L", "m3", "0.001"), ("Pa", "hPa", "0.01"), ("°C", "°C", 1)],
)
def test_a_scale_is_what_lies_between_two_units(unit: str, wanted: str, scale: float | str) -> None:
    assert str(float(scale_between(unit, wanted) or 0)) == str(float(scale))


@pytest.mark.parametrize(("unit", "wanted"), [("W", "Wh"), ("V", "A"), ("%", "1"), ("s", "min")])
def test_units_of_other_things_are_not_turned_into_each_other(unit: str, wanted: str) -> None:
    assert scale_between(unit, wanted) is None
