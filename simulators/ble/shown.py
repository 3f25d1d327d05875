"""What an ideal reader makes of a frame: the values of the points of a profile."""

from collections.abc import Mapping
from fractions import Fraction

from models.profile.ble import BlePoint, BleProfile
from models.profile.ble_formats import RSSI, field_of


def shown(profile: BleProfile, values: Mapping[str, int], rssi: int | None = None) -> dict[str, float | None]:
    """By point, from the raw numbers of the fields that a frame has."""
    have = dict(values) if rssi is None else {**values, RSSI: rssi}
    found: dict[str, float | None] = {}
    for point in profile.points:
        name = next((name for name in point.fields if name in have), None)
        if name is not None:
            found[point.name] = float(round(have[name] * _size(profile, point, name), point.decimals))
    return found


def raw_step(profile: BleProfile, amount: float) -> tuple[str, int]:
    """The field of the first point, and how many of its counts are `amount` in the point's unit."""
    point = profile.points[0]
    name = point.fields[0]
    return name, round(Fraction(str(amount)) / _size(profile, point, name))


def _size(profile: BleProfile, point: BlePoint, name: str) -> Fraction:
    field = field_of(profile.ble.format, name)
    if field is None:
        raise ValueError(f"{profile.profile} has no field {name}")
    return Fraction(field.factor) * Fraction(str(point.scale))
