"""Finds the mistakes of a DL/T 645 profile that only show when it is looked at as a whole."""

from collections.abc import Iterator

from models.document import Mistake
from models.document_hints import suggest
from models.profile import checks
from models.profile.dlt645 import CALENDAR_LENGTHS, Dlt645Point, Dlt645Profile, Golden

_READ = {"1997": 0x01, "2007": 0x11}
_MOST_DATA = 200  # bytes of data that one frame may carry to a meter's reader
_CALENDAR_UNITS = {"date": "d", "time": "s", "date_time": "s"}


def find_mistakes(profile: Dlt645Profile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from checks.names(profile)
    for index, point in enumerate(profile.points):
        yield from _place(profile, point, ("points", index))
        yield from _meaning(profile, point, ("points", index))
    yield from _overlaps(profile)
    yield from _blocks(profile)
    yield from _clock(profile)
    for index, golden in enumerate(profile.golden):
        yield from _golden(profile, golden, ("golden", index))


def _fits(profile: Dlt645Profile, di: int, path: checks.Path) -> Iterator[Mistake]:
    if profile.dlt645.edition == "1997" and di > 0xFFFF:
        yield Mistake(path, f"{di:#x} has more than the 2 bytes of 1997", "such as 0x9010")


def _place(profile: Dlt645Profile, point: Dlt645Point, path: tuple[str, int]) -> Iterator[Mistake]:
    yield from _fits(profile, point.di, (*path, "di"))
    if point.at + point.length > _MOST_DATA:
        yield Mistake((*path, "at"), f"ends behind byte {_MOST_DATA}, the last one of a frame")
    lengths = CALENDAR_LENGTHS.get(point.type)
    if lengths is not None and point.length not in lengths:
        have = " or ".join(map(str, lengths))
        yield Mistake((*path, "length"), f"a {point.type} has {have} bytes")
    if (point.bit is not None) != (point.type == "bit"):
        yield Mistake((*path, "bit"), "a bit needs its place, and nothing else has one", "type: bit, bit: 0")
    elif point.bit is not None and point.bit >= 8 * point.length:
        yield Mistake((*path, "bit"), f"{point.length} bytes have bits 0 to {8 * point.length - 1}")


def _meaning(profile: Dlt645Profile, point: Dlt645Point, path: tuple[str, int]) -> Iterator[Mistake]:
    yield from checks.meaning(profile, point, path)
    if point.type == "bit" and point.kind != "state":
        yield Mistake((*path, "kind"), "one bit is a state", "kind: state")
    unit = _CALENDAR_UNITS.get(point.type)
    if unit is not None and (point.unit, point.kind) != (unit, "gauge"):
        yield Mistake((*path, "unit"), f"a {point.type} is a gauge in {unit}", f'unit: "{unit}", kind: gauge')
    if unit is not None or point.type == "bit":
        for key in ("scale", "offset", "multiply_by"):
            if getattr(point, key) != type(point).model_fields[key].default:
                yield Mistake((*path, key), f"a {point.type} is what it is", "leave it out")


def _overlaps(profile: Dlt645Profile) -> Iterator[Mistake]:
    """Points over the same bytes of an identifier, unless they are different bits of them."""
    holders: dict[tuple[int, int], list[Dlt645Point]] = {}
    for index, point in enumerate(profile.points):
        below: dict[str, None] = {}
        for byte in range(point.at, point.at + point.length):
            others = holders.setdefault((point.di, byte), [])
            below |= {
                other.name: None
                for other in others
                if None in (point.bit, other.bit) or _same_bit(point, other)
            }
            others.append(point)
        if below:
            names = ", ".join(f"'{name}'" for name in below)
            yield Mistake(("points", index, "at"), f"lies over {names}")


def _same_bit(one: Dlt645Point, two: Dlt645Point) -> bool:
    return (one.bit or 0) + 8 * one.at == (two.bit or 0) + 8 * two.at


def _blocks(profile: Dlt645Profile) -> Iterator[Mistake]:
    points = {point.name: point for point in profile.points}
    seen: dict[str, None] = {}
    for number, block in enumerate(profile.dlt645.blocks):
        path = ("dlt645", "blocks", number)
        yield from _fits(profile, block.di, (*path, "di"))
        for index, name in enumerate(block.points):
            if name not in points:
                hint = suggest(name, points)
                yield Mistake((*path, "points", index), f"there is no point '{name}'", hint)
            elif name in seen:
                yield Mistake((*path, "points", index), f"'{name}' is in a block above already")
            elif points[name].at:
                yield Mistake((*path, "points", index), f"'{name}' is only a part of its identifier's data")
            seen[name] = None
        if any(point.di == block.di for point in profile.points):
            yield Mistake((*path, "di"), f"{block.di:#x} is the identifier of a point as well")
        length = sum(points[name].length for name in block.points if name in points)
        if length > _MOST_DATA:
            yield Mistake((*path, "points"), f"need {length} bytes, but a frame carries {_MOST_DATA}")


def _clock(profile: Dlt645Profile) -> Iterator[Mistake]:
    clock = profile.dlt645.clock
    if clock is not None:
        yield from _fits(profile, clock.date, ("dlt645", "clock", "date"))
        yield from _fits(profile, clock.time, ("dlt645", "clock", "time"))


def _golden(profile: Dlt645Profile, golden: Golden, path: tuple[str, int]) -> Iterator[Mistake]:
    size = 2 if profile.dlt645.edition == "1997" else 4
    read = _READ[profile.dlt645.edition]
    request, reply = _frame(golden.request), _frame(golden.reply)
    if request is None or request[1] != read or len(request[2]) != size:
        yield Mistake((*path, "request"), "is no request to read", f"a whole frame with control {read:02X}")
        return
    address, _, di = request
    if reply is None or (reply[0], reply[1]) != (address, read | 0x80) or not reply[2].startswith(di):
        yield Mistake((*path, "reply"), "is no reply to this request, or its checksum is wrong")
    asked = int.from_bytes(di, "little")
    block = {name for block in profile.dlt645.blocks if block.di == asked for name in block.points}
    points = {point.name: point for point in profile.points}
    for name in golden.values:
        if name not in points:
            yield Mistake((*path, "values", name), f"there is no point '{name}'", suggest(name, points))
        elif points[name].di != asked and name not in block:
            yield Mistake((*path, "values", name), "the request does not ask for this point")
    for name in golden.parameters:
        if name not in profile.parameters:
            what = f"'{name}' is no parameter of this profile"
            yield Mistake((*path, "parameters", name), what, suggest(name, profile.parameters))


def _frame(text: str) -> tuple[bytes, int, bytes] | None:
    """Address, control and plain data of hex that is one whole frame; None when it is none."""
    try:
        frame = bytes.fromhex(text).lstrip(b"\xfe")
    except ValueError:
        return None
    if len(frame) < 12 or frame[0] != 0x68 or frame[7] != 0x68 or len(frame) != 12 + frame[9]:
        return None
    if frame[-1] != 0x16 or frame[-2] != sum(frame[:-2]) & 0xFF:
        return None
    return frame[1:7], frame[8], bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
