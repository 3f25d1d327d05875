"""Finds the mistakes of a Bluetooth profile that only show when it is looked at as a whole."""

from collections.abc import Iterator
from fractions import Fraction

from models.document import Mistake
from models.document_hints import suggest
from models.profile import checks
from models.profile.ble import BleGolden, BlePoint, BleProfile
from models.profile.ble_formats import FORMATS, field_of

_SIZES = {"u": "0.000001", "m": "0.001", "": "1", "k": "1000", "M": "1000000"}
_PREFIXED = ("Wh", "W", "V", "A", "Ah", "Hz", "m3/h", "g", "Pa", "L", "m", "s")
_ALSO = {("hPa", "Pa"): "100", ("Pa", "hPa"): "0.01", ("L", "m3"): "0.001", ("mL", "m3"): "0.000001"}


def find_mistakes(profile: BleProfile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    section, found = profile.ble, FORMATS[profile.ble.format]
    if section.authenticated and not found.proof:
        what = f"a frame of {section.format} does not prove who sent it"
        yield Mistake(("ble", "authenticated"), what, "authenticated: false")
    if not section.checksum and section.format != "atorch":
        yield Mistake(
            ("ble", "checksum"), f"the checksum of {section.format} is always looked at", "remove it"
        )
    yield from checks.names(profile)
    for index, point in enumerate(profile.points):
        path = ("points", index)
        yield from checks.meaning(profile, point, path)
        yield from _fields(profile, point, path)
    for index, golden in enumerate(profile.golden):
        yield from _golden(profile, golden, ("golden", index))


def scale_between(unit: str, wanted: str) -> Fraction | None:
    """What a number in `unit` is multiplied by to be one in `wanted`; None when they measure other things."""
    if unit == wanted:
        return Fraction(1)
    also = _ALSO.get((unit, wanted))
    if also is not None:
        return Fraction(also)
    for base in _PREFIXED:
        if unit.endswith(base) and wanted.endswith(base):
            have, want = unit.removesuffix(base), wanted.removesuffix(base)
            if have in _SIZES and want in _SIZES:
                return Fraction(_SIZES[have]) / Fraction(_SIZES[want])
    return None


def _fields(profile: BleProfile, point: BlePoint, path: tuple[str, int]) -> Iterator[Mistake]:
    name = profile.ble.format
    known = FORMATS[name].fields
    for place, text in enumerate(point.fields):
        field = field_of(name, text)
        if field is None:
            yield Mistake((*path, "fields", place), f"{name} has no field '{text}'", suggest(text, known))
            continue
        if point.kind == "state" or point.multiply_by:
            continue
        scale = scale_between(field.unit, point.unit)
        if scale is None:
            what = f"'{text}' is in '{field.unit or 'states'}', which cannot be turned into '{point.unit}'"
            yield Mistake((*path, "unit"), what, f"unit: {field.unit}" if field.unit else "kind: state")
        elif Fraction(str(point.scale)) != scale:
            what = f"is not what turns {field.unit} into {point.unit}"
            yield Mistake((*path, "scale"), what, f"scale: {float(scale):g}")


def _golden(profile: BleProfile, golden: BleGolden, path: tuple[str, int]) -> Iterator[Mistake]:
    found = FORMATS[profile.ble.format]
    for key in ("frame", "key"):
        try:
            bytes.fromhex(getattr(golden, key) or "")
        except ValueError:
            yield Mistake((*path, key), "is no hex")
    needed = profile.addressing.key
    if golden.key is None and needed == "required":
        yield Mistake((*path, "key"), "is missing", "the published key that the frame was made with")
    if golden.key is not None and needed == "never":
        yield Mistake((*path, "key"), f"{profile.profile} has no key", "remove it")
    if golden.key is not None and len(golden.key) not in {2 * size for size in found.key_bytes} | {0}:
        sizes = " or ".join(str(size) for size in found.key_bytes)
        yield Mistake((*path, "key"), f"must have {sizes} bytes")
    points = {point.name: point for point in profile.points}
    for name in golden.values:
        if name not in points:
            yield Mistake((*path, "values", name), f"there is no point '{name}'", suggest(name, points))
