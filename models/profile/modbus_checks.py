"""Finds the mistakes of a Modbus profile that only show when it is looked at as a whole."""

from collections.abc import Iterator

from models.document import Mistake
from models.document_hints import suggest
from models.profile import checks
from models.profile.modbus import Fingerprint, Golden, ModbusPoint, ModbusProfile, Writable

_READS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def find_mistakes(profile: ModbusProfile) -> Iterator[Mistake]:
    """All mistakes of a profile whose single values are right."""
    yield from checks.names(profile)
    for index, point in enumerate(profile.points):
        yield from _place(profile, point, ("points", index))
        yield from _meaning(profile, point, ("points", index))
    yield from _overlaps(profile)
    for index, golden in enumerate(profile.golden):
        yield from _golden(profile, golden, ("golden", index))
    for index, fingerprint in enumerate(profile.fingerprints):
        yield from _fingerprint(profile, fingerprint, ("fingerprints", index))
    for index, identification in enumerate(profile.identifications):
        if not identification.vendor and not identification.product:
            yield Mistake(("identifications", index), "fits every device", "a vendor or a product")


def _place(profile: ModbusProfile, point: ModbusPoint, path: tuple[str, int]) -> Iterator[Mistake]:
    last = point.address + point.width - 1
    if last > 0xFFFF:
        yield Mistake(
            (*path, "address"), f"a {point.type} at {point.address:#06x} ends behind register 0xffff"
        )
    for range_ in profile.modbus.forbidden:
        if point.table == range_.table and point.address <= range_.last and last >= range_.first:
            yield Mistake(
                (*path, "address"), f"lies in the forbidden range {range_.first:#06x} to {range_.last:#06x}"
            )
    limit = profile.modbus.max_bits if point.is_bit_table else profile.modbus.max_registers
    if point.width > limit:
        yield Mistake((*path, "type"), f"needs {point.width} registers, but one request may carry {limit}")
    if point.is_bit_table and (point.type != "bool" or point.bit is not None):
        yield Mistake((*path, "type"), f"a {point.table} is one bit", "type: bool, and no `bit`")
    if not point.is_bit_table and (point.type == "bool") != (point.bit is not None):
        yield Mistake((*path, "type"), "a bool in a register needs its bit", "type: bool, bit: 0 to 15")


def _meaning(profile: ModbusProfile, point: ModbusPoint, path: tuple[str, int]) -> Iterator[Mistake]:
    yield from checks.meaning(profile, point, path)
    if point.type == "bool":
        yield from _bit(point, path)
    for sentinel in point.sentinels:
        if not _sentinel_fits(point, sentinel):
            yield Mistake((*path, "sentinels"), f"{sentinel} can never be the raw value of a {point.type}")
    if point.writable is not None:
        yield from _writable(profile, point, point.writable, (*path, "writable"))


def _writable(
    profile: ModbusProfile, point: ModbusPoint, range_: Writable, path: checks.Path
) -> Iterator[Mistake]:
    if range_.min > range_.max:
        yield Mistake((*path, "min"), f"is above max, {range_.max:g}")
    if point.table not in ("coil", "holding"):
        yield Mistake(path, f"a {point.table} can only be read", "coil or holding")
        return
    ways = (5, 15) if point.table == "coil" else (6, 16) if point.width == 1 else (16,)
    if not set(ways) & set(profile.modbus.write_functions):
        codes = " or ".join(map(str, ways))
        what = f"needs function {codes} to be set, which `write_functions` does not have"
        yield Mistake(path, what)


def _bit(point: ModbusPoint, path: tuple[str, int]) -> Iterator[Mistake]:
    if point.kind != "state":
        yield Mistake((*path, "kind"), "one bit is a state", "kind: state")
    for key in ("scale", "offset", "multiply_by", "min", "max"):
        if getattr(point, key) != type(point).model_fields[key].default:
            yield Mistake((*path, key), "one bit is 0 or 1 and nothing else", "leave it out")


def _sentinel_fits(point: ModbusPoint, sentinel: int | float | str) -> bool:
    if point.type in _LARGEST:
        return isinstance(sentinel, str) or sentinel != sentinel or abs(sentinel) <= _LARGEST[point.type]
    if not isinstance(sentinel, int):
        return False
    bits = 16 * point.width
    low = -(1 << (bits - 1)) if point.type.startswith("int") else 0
    return point.type != "bool" and low <= sentinel < 1 << bits


def _overlaps(profile: ModbusProfile) -> Iterator[Mistake]:
    """Points over the same registers, unless they are bits of one register or say that they mean it."""
    holders: dict[tuple[str, int], list[ModbusPoint]] = {}
    for index, point in enumerate(profile.points):
        if point.shares_registers:
            continue
        below: dict[str, None] = {}
        for address in range(point.address, point.address + point.width):
            others = holders.setdefault((point.table, address), [])
            below |= {
                other.name: None for other in others if point.bit is None or other.bit in (None, point.bit)
            }
            others.append(point)
        if below:
            names = ", ".join(f"'{name}'" for name in below)
            hint = "if that is meant: shares_registers: true"
            yield Mistake(("points", index, "address"), f"lies over {names}", hint)


def _golden(profile: ModbusProfile, golden: Golden, path: tuple[str, int]) -> Iterator[Mistake]:
    request, reply = pdu(golden.request), pdu(golden.reply)
    if request is None or len(request) != 5 or request[0] not in _READS.values():
        yield Mistake((*path, "request"), "is no request to read", "hex: function 01 to 04, address, count")
        return
    function, first, count = (
        request[0],
        int.from_bytes(request[1:3], "big"),
        int.from_bytes(request[3:5], "big"),
    )
    size = (count + 7) // 8 if function < 3 else 2 * count
    if reply is None or reply[:2] != bytes([function, size & 0xFF]) or len(reply) != 2 + size:
        yield Mistake((*path, "reply"), f"is no reply to this request, which asks for {size} bytes")
    points = {point.name: point for point in profile.points}
    for name in golden.values:
        point = points.get(name)
        if point is None:
            yield Mistake((*path, "values", name), f"there is no point '{name}'", suggest(name, points))
        elif _READS[point.table] != function or not (
            first <= point.address and point.address + point.width <= first + count
        ):
            yield Mistake((*path, "values", name), "the request does not ask for this point")
    for name in golden.parameters:
        if name not in profile.parameters:
            what = f"'{name}' is no parameter of this profile"
            yield Mistake((*path, "parameters", name), what, suggest(name, profile.parameters))


def _fingerprint(profile: ModbusProfile, read: Fingerprint, path: tuple[str, int]) -> Iterator[Mistake]:
    if bool(read.equals) == bool(read.point):
        yield Mistake(path, "needs either `equals` or `point`")
    if read.equals:
        yield from _fingerprint_data(read, path)
    points = {point.name: point for point in profile.points}
    if not read.point:
        return
    point = points.get(read.point)
    if point is None:
        yield Mistake((*path, "point"), f"there is no point '{read.point}'", suggest(read.point, points))
    elif point.table != read.table or not (
        read.address <= point.address and point.address + point.width <= read.address + read.count
    ):
        yield Mistake((*path, "point"), "does not lie in the registers of this read")


def _fingerprint_data(read: Fingerprint, path: checks.Path) -> Iterator[Mistake]:
    size = (read.count + 7) // 8 if read.table in ("coil", "discrete") else 2 * read.count
    try:
        given = len(bytes.fromhex(read.equals))
    except ValueError:
        yield Mistake((*path, "equals"), "is no hex", "such as 0054")
        return
    if given != size:
        yield Mistake((*path, "equals"), f"has {given} bytes, but this read gives {size}")


def pdu(text: str) -> bytes | None:
    """The bytes from the function code on, of hex that is either that or a whole Modbus TCP frame."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    framed = len(data) >= 8 and data[2:4] == b"\0\0" and int.from_bytes(data[4:6], "big") == len(data) - 6
    return data[7:] if framed else data
