"""Turns the data bytes of one reply into readings, by a program that is compiled once for each request.

All four orders of bytes and words come down to two: reading the bytes forwards or backwards, and swapping
the two bytes of every register first or not. One `struct` then unpacks all points of one order at once.

Scale, parameters and offset are decimal numbers in the profile and are kept as exact fractions until they
meet the raw value: 23020 x 0.01 becomes 23020 / 100, which is 230.2 and not 230.20000000000002.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, prod

from drivers.modbus.plan import BIT_TABLES, Request
from models.profile.modbus import ByteOrder, ModbusPoint, ModbusSection, RegisterType, WordOrder
from models.reading import Quality, Reading, Reason

CODES = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I", "bcd64": "Q", "bool": "H",
}  # fmt: skip
"""Of `struct`, by type."""

_LARGEST = 1.7976931348623157e308  # bounds of a point without bounds: not a number and infinity lie outside

_BAD, _SUSPECT = Quality.BAD, Quality.SUSPECT


@dataclass(frozen=True, slots=True)
class _Field:
    """How one raw value becomes the value of its point: (raw x factor + addend) / divisor / steps."""

    index: int  # in the profile
    name: str
    factor: float  # an int where the raw value is one, so that large counters stay exact
    addend: float
    divisor: float
    steps: int  # of the resolution in one unit: 100 for two decimals
    low: float  # bounds of what is plausible, in steps
    high: float
    sentinels: frozenset[float]
    nan_is_sentinel: bool
    bit: int


_Row = tuple[int, str, float, float, float, int, float, float, frozenset[float], _Field]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Points of one order that do not overlap: one call of `struct` unpacks them all."""

    swap: bool
    layout: struct.Struct
    rows: tuple[_Row, ...]


class ReplyDecoder:
    """The compiled program for the replies to one request."""

    def __init__(
        self,
        request: Request,
        points: Sequence[ModbusPoint],
        section: ModbusSection,
        parameters: Mapping[str, float],
        device_id: str,
    ) -> None:
        self._device_id = device_id
        self._bits: list[tuple[int, int, str]] = []
        self._plain: list[_Layer] = []  # whole numbers that need no rounding
        self._rounded: list[_Layer] = []
        self._packed: list[_Layer] = []  # BCD, and bits of registers
        if request.table in BIT_TABLES:
            for index in request.points:
                point = points[index]
                self._bits.append((point.address - request.first, index, point.name))
            return
        chosen = [(points[index], _field(points[index], index, parameters)) for index in request.points]
        plain = [pair for pair in chosen if _is_exact(*pair)]
        packed = [pair for pair in chosen if _is_packed(pair[0])]
        rounded = [pair for pair in chosen if not _is_exact(*pair) and not _is_packed(pair[0])]
        self._plain = _layers(plain, request, section)
        self._rounded = _layers(rounded, request, section)
        self._packed = _layers(packed, request, section)

    def decode(self, data: bytes, measured_ms: int, received_ms: int, into: list[Reading | None]) -> None:
        """Put the reading of each point of the request in its place of the profile.

        `data` is what follows the byte count of the reply, in the length that the request asks for.
        """
        device_id = self._device_id
        # Written out twice, without a call per point: this loop is what a gateway spends its time in.
        for layer in self._plain:
            raws = layer.layout.unpack(_swapped(data) if layer.swap else data)
            for raw, row in zip(raws, layer.rows, strict=True):
                index, name, factor, addend, _, steps, low, high, sentinels, field = row
                scaled = raw * factor + addend
                if low <= scaled <= high and raw not in sentinels:
                    into[index] = Reading(
                        device_id=device_id,
                        point=name,
                        value=scaled / steps,
                        measured_ms=measured_ms,
                        received_ms=received_ms,
                    )
                else:
                    into[index] = self._doubtful(field, raw, measured_ms, received_ms)
        for layer in self._rounded:
            raws = layer.layout.unpack(_swapped(data) if layer.swap else data)
            for raw, row in zip(raws, layer.rows, strict=True):
                index, name, factor, addend, divisor, steps, low, high, sentinels, field = row
                scaled = (raw * factor + addend) / divisor
                if low <= scaled <= high and raw not in sentinels:
                    into[index] = Reading(
                        device_id=device_id,
                        point=name,
                        value=round(scaled) / steps,
                        measured_ms=measured_ms,
                        received_ms=received_ms,
                    )
                else:
                    into[index] = self._doubtful(field, raw, measured_ms, received_ms)
        for layer in self._packed:
            raws = layer.layout.unpack(_swapped(data) if layer.swap else data)
            for raw, row in zip(raws, layer.rows, strict=True):
                into[row[0]] = self._unpacked(row[-1], raw, measured_ms, received_ms)
        for offset, index, name in self._bits:
            into[index] = Reading(
                device_id=device_id,
                point=name,
                value=float(data[offset >> 3] >> (offset & 7) & 1),
                measured_ms=measured_ms,
                received_ms=received_ms,
            )

    def _unpacked(self, field: _Field, raw: int, measured_ms: int, received_ms: int) -> Reading:
        """A BCD number, or one bit of a register."""
        if raw in field.sentinels:
            return self._bad(field, Reason.NOT_AVAILABLE, measured_ms, received_ms)
        number = raw >> field.bit & 1 if field.bit >= 0 else _from_bcd(raw)
        if number is None:
            return self._bad(field, Reason.UNDECODABLE, measured_ms, received_ms)
        return self._judged(field, number, measured_ms, received_ms)

    def _doubtful(self, field: _Field, raw: float, measured_ms: int, received_ms: int) -> Reading:
        """A number that the quick way of `decode` did not take."""
        if raw in field.sentinels or (raw != raw and field.nan_is_sentinel):
            return self._bad(field, Reason.NOT_AVAILABLE, measured_ms, received_ms)
        return self._judged(field, raw, measured_ms, received_ms)

    def _judged(self, field: _Field, raw: float, measured_ms: int, received_ms: int) -> Reading:
        scaled = (raw * field.factor + field.addend) / field.divisor
        if not -_LARGEST <= scaled <= _LARGEST:
            return self._bad(field, Reason.UNDECODABLE, measured_ms, received_ms)
        steps = round(scaled)
        plausible = field.low <= steps <= field.high
        return Reading(
            device_id=self._device_id,
            point=field.name,
            value=steps / field.steps,
            quality=Quality.GOOD if plausible else _SUSPECT,
            reason=Reason.NONE if plausible else Reason.OUT_OF_RANGE,
            measured_ms=measured_ms,
            received_ms=received_ms,
        )

    def _bad(self, field: _Field, reason: Reason, measured_ms: int, received_ms: int) -> Reading:
        return Reading(
            device_id=self._device_id,
            point=field.name,
            value=None,
            quality=_BAD,
            reason=reason,
            measured_ms=measured_ms,
            received_ms=received_ms,
        )


def decimal(number: float) -> Fraction:
    """The decimal number that a person wrote, which the float only comes near to."""
    return Fraction(str(number))


def in_order(word_order: WordOrder, byte_order: ByteOrder, pack: Callable[[str], bytes]) -> bytes:
    """The registers of one value, for which `pack` makes the bytes in the order that it is told."""
    swap, layout = _order(word_order, byte_order)
    return _swapped(pack(layout)) if swap else pack(layout)


def raw_value(
    data: bytes, type_: RegisterType, word_order: WordOrder, byte_order: ByteOrder
) -> int | float | None:
    """The number that registers hold, before scale and sentinels; None when the bytes are no number."""
    swap, layout = _order(word_order, byte_order)
    [raw] = struct.unpack(layout + CODES[type_], _swapped(data) if swap else data)
    if type_.startswith("bcd"):
        return _from_bcd(raw)
    number: int | float = raw
    return number if -_LARGEST <= number <= _LARGEST else None


def _from_bcd(packed: int) -> int | None:
    try:
        return int(f"{packed:x}")
    except ValueError:
        return None


def _field(point: ModbusPoint, index: int, parameters: Mapping[str, float]) -> _Field:
    multiplier = prod((decimal(parameters[name]) for name in point.multiply_by), start=Fraction(1))
    offset = decimal(point.offset)
    steps = 10**point.decimals
    factor, addend = decimal(point.scale) * multiplier * steps, offset * steps
    divisor = lcm(factor.denominator, addend.denominator)
    number = float if _is_float(point) else int
    # Bounds are given for parameters of 1, as the value before they multiply it.
    bounds = [
        bound if bound is None else ((decimal(bound) - offset) * multiplier + offset) * steps
        for bound in (point.min, point.max)
    ]
    return _Field(
        index=index,
        name=point.name,
        factor=number(factor * divisor),
        addend=number(addend * divisor),
        divisor=number(divisor),
        steps=steps,
        low=-_LARGEST if bounds[0] is None else float(bounds[0]),
        high=_LARGEST if bounds[1] is None else float(bounds[1]),
        sentinels=frozenset(_raw_sentinels(point)),
        nan_is_sentinel=any(sentinel == "nan" or sentinel != sentinel for sentinel in point.sentinels),
        bit=-1 if point.bit is None else point.bit,
    )


def _raw_sentinels(point: ModbusPoint) -> Iterable[float]:
    """The sentinels as `struct` will show them: profiles write 0xffff where an int16 has -1."""
    for sentinel in point.sentinels:
        if isinstance(sentinel, str) or sentinel != sentinel:
            continue
        if point.type == "float32":
            yield struct.unpack("f", struct.pack("f", sentinel))[0]
        elif point.type.startswith("int") and sentinel >= 1 << (16 * point.width - 1):
            yield sentinel - (1 << 16 * point.width)
        else:
            yield sentinel


def _is_float(point: ModbusPoint) -> bool:
    return point.type.startswith("float")


def _is_packed(point: ModbusPoint) -> bool:
    return point.type.startswith("bcd") or point.type == "bool"


def _is_exact(point: ModbusPoint, field: _Field) -> bool:
    return not _is_packed(point) and not _is_float(point) and field.divisor == 1


def _swapped(data: bytes) -> bytes:
    """The data with the two bytes of every register exchanged."""
    registers = array("H", data)
    registers.byteswap()
    return registers.tobytes()


def _order(word_order: WordOrder, byte_order: ByteOrder) -> tuple[bool, str]:
    """Whether to swap the bytes of the registers first, and then which way to read."""
    return (word_order == "high_first") != (byte_order == "big"), ">" if word_order == "high_first" else "<"


def _layers(
    chosen: Iterable[tuple[ModbusPoint, _Field]], request: Request, section: ModbusSection
) -> list[_Layer]:
    """As few layers as possible: one for each order, and a further one where points overlap."""
    open_layers: list[tuple[tuple[bool, str], list[tuple[ModbusPoint, _Field]]]] = []
    for point, field in sorted(chosen, key=lambda pair: pair[0].address):
        order = _order(point.word_order or section.word_order, point.byte_order or section.byte_order)
        for known, members in open_layers:
            last = members[-1][0]
            if known == order and last.address + last.width <= point.address:
                members.append((point, field))
                break
        else:
            open_layers.append((order, [(point, field)]))
    return [_layer(order, members, request) for order, members in open_layers]


def _layer(order: tuple[bool, str], members: list[tuple[ModbusPoint, _Field]], request: Request) -> _Layer:
    swap, layout = order
    at = request.first
    for point, _ in members:
        layout += "2x" * (point.address - at) + CODES[point.type]
        at = point.address + point.width
    layout += "2x" * (request.first + request.count - at)
    rows = tuple(
        (f.index, f.name, f.factor, f.addend, f.divisor, f.steps, f.low, f.high, f.sentinels, f)
        for _, f in members
    )
    return _Layer(swap, struct.Struct(layout), rows)
