"""Finds the mistakes of points that hold for every family."""

from collections.abc import Iterator

from models.document import Mistake
from models.document_hints import suggest
from models.profile.parts import Point, Profile

COUNTER_UNITS = frozenset(
    {"Wh", "kWh", "MWh", "varh", "kvarh", "Mvarh", "VAh", "kVAh", "MVAh", "Ah", "kJ", "MJ", "GJ", "L", "m3"}
    | {"s", "min", "h", "d", "kg", "t", "1"}
)
"""What adds up. A counter in kW or V is a mistake: its differences would be taken for consumption."""

Path = tuple[str | int, ...]


def names(profile: Profile) -> Iterator[Mistake]:
    """Names that stand twice."""
    seen = set()
    for index, point in enumerate(profile.points):
        if point.name in seen:
            yield Mistake(("points", index, "name"), f"a point '{point.name}' stands above already")
        seen.add(point.name)


def meaning(profile: Profile, point: Point, path: Path) -> Iterator[Mistake]:
    """What a point says of itself and cannot be so."""
    for name in point.multiply_by:
        if name not in profile.parameters:
            what = f"'{name}' is no parameter of this profile"
            yield Mistake((*path, "multiply_by"), what, suggest(name, profile.parameters) or "add it below")
    if point.scale == 0:
        yield Mistake((*path, "scale"), "must not be 0")
    if point.min is not None and point.max is not None and point.min > point.max:
        yield Mistake((*path, "min"), f"is above max, {point.max:g}")
    if (point.unit == "") != (point.kind == "state"):
        yield Mistake(
            (*path, "unit"), f"does not fit a {point.kind}", 'a plain number has "1", a state has ""'
        )
    if point.kind == "counter":
        yield from _counter(point, path)
        return
    for key in ("modulus", "max_rate_per_h"):
        if getattr(point, key) is not None:
            yield Mistake((*path, key), f"only a counter has it, and this is a {point.kind}")


def _counter(point: Point, path: Path) -> Iterator[Mistake]:
    if point.unit not in COUNTER_UNITS:
        what = f"'{point.unit}' does not add up as a counter does"
        yield Mistake((*path, "unit"), what, suggest(point.unit, COUNTER_UNITS))
    if point.modulus is not None and point.max is not None and point.max > point.modulus:
        yield Mistake(
            (*path, "max"), f"is above the modulus, {point.modulus:g}, where the counter is 0 again"
        )
