"""Finds the mistakes of a CJ/T 188 profile that only show when it is looked at as a whole."""

from collections.abc import Iterator

from models.document import Mistake
from models.document_hints import suggest
from models.profile import checks
from models.profile.cjt188 import DATE_TIME_LENGTH, UNITS, Cjt188Point, Cjt188Profile, Golden

_HEADER = 3  # bytes of identifier and serial number before the data


def find_mistakes(profile: Cjt188Profile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from checks.names(profile)
    yield from _units(profile)
    yield from _reads(profile)
    for index, point in enumerate(profile.points):
        yield from checks.meaning(profile, point, ("points", index))
        yield from _place(profile, point, ("points", index))
        yield from _unit(profile, point, ("points", index))
    yield from _overlaps(profile)
    for index, golden in enumerate(profile.golden):
        yield from _golden(profile, golden, ("golden", index))


def _units(profile: Cjt188Profile) -> Iterator[Mistake]:
    seen: set[int] = set()
    for index, unit in enumerate(profile.cjt188.units):
        path = ("cjt188", "units", index)
        if unit.unit not in UNITS:
            yield Mistake(
                (*path, "unit"), f"'{unit.unit}' is no unit of such meters", suggest(unit.unit, UNITS)
            )
        if unit.code in seen:
            yield Mistake((*path, "code"), f"a code {unit.code:#04x} stands above already")
        seen.add(unit.code)


def _reads(profile: Cjt188Profile) -> Iterator[Mistake]:
    seen: set[int] = set()
    for index, read in enumerate(profile.cjt188.reads):
        if read.di in seen:
            yield Mistake(("cjt188", "reads", index, "di"), f"{read.di:#06x} stands above already")
        seen.add(read.di)


def _place(profile: Cjt188Profile, point: Cjt188Point, path: tuple[str, int]) -> Iterator[Mistake]:
    lengths = {read.di: read.length for read in profile.cjt188.reads}
    if point.di not in lengths:
        have = ", ".join(f"{di:#06x}" for di in lengths)
        yield Mistake((*path, "di"), f"{point.di:#06x} is not among the reads", f"have: {have}")
    elif point.at + point.length > lengths[point.di]:
        yield Mistake((*path, "at"), f"ends behind the {lengths[point.di]} bytes of {point.di:#06x}")
    elif point.unit_at is not None and point.unit_at >= lengths[point.di]:
        yield Mistake((*path, "unit_at"), f"lies behind the {lengths[point.di]} bytes of {point.di:#06x}")
    if point.type == "date_time" and point.length != DATE_TIME_LENGTH:
        yield Mistake((*path, "length"), f"a date_time has {DATE_TIME_LENGTH} bytes")
    if (point.bit is None, point.bits is None) != (point.type != "bits", point.type != "bits"):
        what = "bits need `bit` and `bits`, and nothing else has them"
        yield Mistake((*path, "bit"), what, "type: bits, bit: 0, bits: 2")
    elif point.bit is not None and point.bit + (point.bits or 0) > 8 * point.length:
        yield Mistake((*path, "bit"), f"{point.length} bytes have bits 0 to {8 * point.length - 1}")


def _unit(profile: Cjt188Profile, point: Cjt188Point, path: tuple[str, int]) -> Iterator[Mistake]:
    if point.type == "bits" and point.kind != "state":
        yield Mistake((*path, "kind"), "bits are a state", "kind: state")
    if point.type == "date_time" and (point.unit, point.kind) != ("s", "gauge"):
        yield Mistake((*path, "unit"), "a date_time is a gauge in s", 'unit: "s", kind: gauge')
    if point.type in ("bits", "date_time"):
        for key in ("scale", "offset", "multiply_by", "unit_at"):
            if getattr(point, key) != type(point).model_fields[key].default:
                yield Mistake((*path, key), f"{point.type} are what they are", "leave it out")
        return
    if point.unit_at is None:
        return
    if point.unit not in UNITS:
        what = f"a meter that says its unit does not count in '{point.unit}'"
        yield Mistake((*path, "unit"), what, suggest(point.unit, UNITS))
    elif not any(UNITS.get(code.unit, ("",))[0] == UNITS[point.unit][0] for code in profile.cjt188.units):
        yield Mistake((*path, "unit_at"), f"no code of cjt188.units means any {UNITS[point.unit][0]}")


def _overlaps(profile: Cjt188Profile) -> Iterator[Mistake]:
    """Points over the same bits of a read. Several may have the same unit byte."""
    holders: dict[tuple[int, int], str] = {}
    for index, point in enumerate(profile.points):
        first = 8 * point.at + (point.bit or 0)
        last = first + (point.bits if point.bits is not None else 8 * point.length)
        below = dict.fromkeys(
            holders[point.di, bit] for bit in range(first, last) if (point.di, bit) in holders
        )
        if below:
            names = ", ".join(f"'{name}'" for name in below)
            yield Mistake(("points", index, "at"), f"lies over {names}")
        holders |= {(point.di, bit): point.name for bit in range(first, last)}


def _golden(profile: Cjt188Profile, golden: Golden, path: tuple[str, int]) -> Iterator[Mistake]:
    request, reply = _frame(golden.request), _frame(golden.reply)
    if request is None or request[1] != 0x01 or len(request[2]) != _HEADER:
        yield Mistake((*path, "request"), "is no request to read", "a whole frame with control 01")
        return
    place, _, header = request
    if reply is None or (reply[0], reply[1], reply[2][:_HEADER]) != (place, 0x81, header):
        yield Mistake((*path, "reply"), "is no reply to this request, or its checksum is wrong")
    di = int.from_bytes(header[:2], "little" if profile.cjt188.di_order == "low_first" else "big")
    points = {point.name: point for point in profile.points}
    for name in golden.values:
        if name not in points:
            yield Mistake((*path, "values", name), f"there is no point '{name}'", suggest(name, points))
        elif points[name].di != di:
            yield Mistake((*path, "values", name), "the request does not ask for this point")
    for name in golden.parameters:
        if name not in profile.parameters:
            what = f"'{name}' is no parameter of this profile"
            yield Mistake((*path, "parameters", name), what, suggest(name, profile.parameters))


def _frame(text: str) -> tuple[bytes, int, bytes] | None:
    """Type with address, control and data of hex that is one whole frame; None when it is none."""
    try:
        frame = bytes.fromhex(text).lstrip(b"\xfe")
    except ValueError:
        return None
    if len(frame) < 13 or frame[0] != 0x68 or len(frame) != 13 + frame[10]:
        return None
    if frame[-1] != 0x16 or frame[-2] != sum(frame[:-2]) & 0xFF:
        return None
    return frame[1:9], frame[9], frame[11:-2]
