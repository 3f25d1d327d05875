"""The registers of a meter: which requests they allow, and what they hold at a moment."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models.profile.modbus import ModbusProfile
from simulators.electric import Sample
from simulators.modbus.frames import ILLEGAL_ADDRESS, Read, Write, packed_bits
from simulators.modbus.points import MeterPoint
from simulators.raw import Shift

Gaps = Literal["as_profile", "zero", "refused"]

_BITS = ("coil", "discrete")
_SHAPES_KEPT = 512  # a reader repeats a handful of requests; a scanner must not fill the memory


@dataclass(frozen=True, slots=True)
class Shape:
    """What one request touches: points with the byte (or bit) at which they stand in the reply."""

    owners: tuple[tuple[MeterPoint, int], ...]  # these fill the registers, perhaps only in part
    whole: tuple[tuple[MeterPoint, int], ...]  # these lie wholly in the reply, in the profile's order
    names: tuple[str, ...]  # of `whole`


class Image:
    """The tables of one meter."""

    def __init__(self, profile: ModbusProfile, points: Sequence[MeterPoint], gaps: Gaps) -> None:
        self._points = points
        self._owners = _owners(points)
        self._fixed = _fingerprints(profile)
        self._readable = {
            table: _readable(profile, table, gaps) | {at for known, at in self._fixed if known == table}
            for table in ("holding", "input", *_BITS)
        }
        self._shapes: OrderedDict[Read, Shape | int] = OrderedDict()
        self._writable = {
            (point.point.table, point.point.address + n)
            for point in points
            if point.point.writable is not None
            for n in range(point.width)
        }
        self._written: dict[tuple[str, int], int] = {}

    def write(self, write: Write, *, is_done: bool) -> bool:
        """Let the table hold these values from now on, if all of them may be set and it `is_done`."""
        places = [(write.table, write.first + n) for n in range(len(write.values))]
        if not self._writable.issuperset(places):
            return False
        if is_done:
            self._written |= dict(zip(places, write.values, strict=True))
        return True

    def shape(self, read: Read) -> Shape | int:
        """The points that a request touches, or the code of the exception that refuses it."""
        shape = self._shapes.get(read)
        if shape is None:
            shape = self._shapes[read] = self._find(read)
            if len(self._shapes) > _SHAPES_KEPT:
                self._shapes.popitem(last=False)
        return shape

    def content(
        self, read: Read, shape: Shape, sample: Sample, shift: Shift
    ) -> tuple[bytes, list[float | None]]:
        """The bytes of the reply, and the values that a person reads off the whole points in it."""
        if read.table in _BITS:
            return self._bits(read, shape, sample, shift)
        content = bytearray(2 * read.size)
        _store(self._fixed, read, content)
        raws: dict[str, float] = {}
        for point, at in shape.owners:
            raw = raws[point.name] = point.raw(sample, shift)
            point.store(raw, content, at)
        if self._written:
            _store(self._written, read, content)
            raws = {}  # what was written shows in the registers only
        values = []
        for point, at in shape.whole:
            raw_or_none = raws.get(point.name)
            values.append(point.value(point.found(content, at) if raw_or_none is None else raw_or_none))
        return bytes(content), values

    def display(self, sample: Sample, shift: Shift) -> dict[str, float | None]:
        """Every point's value as a person reads it off the meter; None: the meter says, not available."""
        found = {}
        for point in self._points:
            if point in self._owners and not self._written:
                found[point.name] = point.value(point.raw(sample, shift))
                continue
            read = Read(point.point.table, point.point.address, point.width)
            shape = Shape(owners=self._touched(read), whole=((point, 0),), names=(point.name,))
            _, [found[point.name]] = self.content(read, shape, sample, shift)
        return found

    def _bits(
        self, read: Read, shape: Shape, sample: Sample, shift: Shift
    ) -> tuple[bytes, list[float | None]]:
        bits = [False] * read.size
        for point, at in shape.owners:
            written = self._written.get((read.table, read.first + at))
            bits[at] = bool(point.raw(sample, shift) if written is None else written)
        return packed_bits(bits), [point.value(bits[at]) for point, at in shape.whole]

    def _find(self, read: Read) -> Shape | int:
        if not self._readable[read.table].issuperset(range(read.first, read.first + read.size)):
            return ILLEGAL_ADDRESS
        width = 1 if read.table in _BITS else 2
        whole = [
            (point, (point.point.address - read.first) * width)
            for point in self._points
            if point.point.table == read.table
            and point.point.address >= read.first
            and point.point.address + point.width <= read.first + read.size
        ]
        names = tuple(point.name for point, _ in whole)
        return Shape(owners=self._touched(read), whole=tuple(whole), names=names)

    def _touched(self, read: Read) -> tuple[tuple[MeterPoint, int], ...]:
        """The points that fill what is read, perhaps only in part."""
        width = 1 if read.table in _BITS else 2
        return tuple(
            (point, (point.point.address - read.first) * width)
            for point in self._points
            if point in self._owners
            and point.point.table == read.table
            and point.point.address < read.first + read.size
            and point.point.address + point.width > read.first
        )


def _store(words: Mapping[tuple[str, int], int], read: Read, content: bytearray) -> None:
    for (table, address), word in words.items():
        if table == read.table and read.first <= address < read.first + read.size:
            at = 2 * (address - read.first)
            content[at : at + 2] = word.to_bytes(2, "big")


def _fingerprints(profile: ModbusProfile) -> dict[tuple[str, int], int]:
    """The registers by which the model is known, where it is known what they hold."""
    found: dict[tuple[str, int], int] = {}
    for read in profile.fingerprints:
        data = bytes.fromhex(read.equals)
        for n in range(len(data) // 2 if read.table not in _BITS else 0):
            found[read.table, read.address + n] = int.from_bytes(data[2 * n : 2 * n + 2], "big")
    return found


def _owners(points: Sequence[MeterPoint]) -> set[MeterPoint]:
    """The points that fill their registers; one that lies over them on purpose shows what is in them."""
    owners: set[MeterPoint] = set()
    taken: set[tuple[str, int]] = set()
    for point in sorted(points, key=lambda p: p.point.shares_registers):
        mine = {(point.point.table, point.point.address + n) for n in range(point.width)}
        if point.point.shares_registers and mine & taken:
            continue
        owners.add(point)
        taken |= mine
    return owners


def _readable(profile: ModbusProfile, table: str, gaps: Gaps) -> frozenset[int]:
    """The addresses that may be asked for.

    `as_profile`: what lies between two points can be read, as zero, when the profile bridges it.
    """
    points = sorted((p for p in profile.points if p.table == table), key=lambda p: p.address)
    mapped: set[int] = set()
    end = None
    bridge = {"as_profile": profile.modbus.max_gap, "zero": 0x10000, "refused": 0}[gaps]
    for point in points:
        if end is not None and point.address - end <= bridge:
            mapped.update(range(end, point.address))
        mapped.update(range(point.address, point.address + point.width))
        end = max(end or 0, point.address + point.width)
    for span in profile.modbus.forbidden:
        if span.table == table:
            mapped.difference_update(range(span.first, span.last + 1))
    return frozenset(mapped)
