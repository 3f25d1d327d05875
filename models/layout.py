"""Which series a batch has: a series is one point of one device.

Meters of one type have the same points. A list of points, a layout, is therefore written once, however many
devices have it, and the series follow from it: the points of the first device, then those of the next. Usual
names of points stand there as numbers (`models.vocabulary`); others are spelled out once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from models.packing import differences, pack, steps_from, sums, unpack, within
from models.vocabulary import NAMES

_USUAL = frozenset(NAMES)


@dataclass(frozen=True, slots=True)
class Series:
    """All series of a batch as parallel lists, in their order."""

    devices: list[str]
    names: list[str]  # those that the batch spells out, then all usual ones
    device: list[int]  # index into `devices`, by series
    name: list[int]  # index into `names`, by series
    cell: list[int]  # which point of which layout, by series; the devices of a layout share its cells

    def pairs(self) -> list[tuple[str, str]]:
        """Device id and point of each series."""
        return [
            (self.devices[device], self.names[name])
            for device, name in zip(self.device, self.name, strict=True)
        ]

    def by_name(self) -> list[list[list[int]]]:
        """The series of each name, whose values are much alike; first those of one cell, then the next.

        The names are in the order of their first series.
        """
        cells: dict[int, list[int]] = {}
        for index, cell in enumerate(self.cell):
            cells.setdefault(cell, []).append(index)
        rows: dict[int, list[list[int]]] = {}
        for members in cells.values():
            rows.setdefault(self.name[members[0]], []).append(members)
        return list(rows.values())


class PackedSeries(msgspec.Struct, array_like=True, frozen=True):
    """`Series` as a batch holds them."""

    devices: list[str]
    spelled: list[str]
    layout_sizes: bytes
    layout_names: bytes  # of all layouts, one after the other
    device_layouts: bytes


def pack_series(pairs: Sequence[tuple[str, str]]) -> tuple[PackedSeries, Series, list[int]]:
    """Distinct pairs of device id and point, packed and in order; then for each pair its place in that."""
    by_device: dict[str, list[int]] = {}
    for i, (device, _) in enumerate(pairs):
        by_device.setdefault(device, []).append(i)
    layouts: dict[tuple[int, ...], tuple[int, int]] = {}  # its number and its first cell
    cells: list[int] = []
    spelled = list(dict.fromkeys(point for _, point in pairs if point not in _USUAL))
    names = [*spelled, *NAMES]
    number_of = {name: number for number, name in enumerate(names)}
    device_layouts: list[int] = []
    series = Series(list(by_device), names, [], [], [])
    places = [0] * len(pairs)
    for number, members in enumerate(by_device.values()):
        for i in members:
            places[i] = len(series.name)
            series.name.append(number_of[pairs[i][1]])
            series.device.append(number)
        layout = tuple(series.name[-len(members) :])
        if layout not in layouts:
            layouts[layout] = len(layouts), len(cells)
            cells.extend(layout)
        layout_number, first_cell = layouts[layout]
        device_layouts.append(layout_number)
        series.cell.extend(range(first_cell, first_cell + len(layout)))
    packed = PackedSeries(
        devices=series.devices,
        spelled=spelled,
        layout_sizes=pack([len(layout) for layout in layouts]),
        layout_names=pack(steps_from(cells)),
        device_layouts=pack(differences(device_layouts)),
    )
    return packed, series, places


def unpack_series(packed: PackedSeries, limit: int) -> Series:
    """What `pack_series` was given, at most `limit`. Raise ValueError for what it cannot have made."""
    sizes = unpack(packed.layout_sizes)
    ends = sums(sizes)
    cells = sums([step + 1 for step in unpack(packed.layout_names, sum(sizes))], start=-1)
    names = [*packed.spelled, *NAMES]
    within(cells, len(names))
    chosen = sums(unpack(packed.device_layouts, len(packed.devices)))
    within(chosen, len(sizes))
    if min(sizes, default=1) < 1 or sum(sizes[layout] for layout in chosen) > limit:
        raise ValueError("has more series than readings")
    series = Series(packed.devices, names, [], [], [])
    for number, layout in enumerate(chosen):
        first, end = ends[layout] - sizes[layout], ends[layout]
        series.device.extend([number] * sizes[layout])
        series.name.extend(cells[first:end])
        series.cell.extend(range(first, end))
    if len(set(series.pairs())) != len(series.name):
        raise ValueError("names a series twice")
    return series
