"""Joins the points of a profile into the fewest requests that the protocol and the device allow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from drivers.modbus.identification import WHO_ARE_YOU
from drivers.modbus.link import Question, reading
from models.profile.modbus import ModbusPoint, ModbusSection, Table

REQUESTS: dict[Table, type[ModbusPDU]] = {
    "coil": ReadCoilsRequest,
    "discrete": ReadDiscreteInputsRequest,
    "holding": ReadHoldingRegistersRequest,
    "input": ReadInputRegistersRequest,
}
BIT_TABLES: tuple[Table, ...] = ("coil", "discrete")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to read, and the points that its reply answers, as indexes into the profile."""

    table: Table
    first: int
    count: int
    points: tuple[int, ...]

    @property
    def pdu(self) -> bytes:
        """The bytes from the function code on."""
        request = REQUESTS[self.table](address=self.first, count=self.count)
        return bytes([request.function_code]) + request.encode()

    @property
    def data_bytes(self) -> int:
        """How many bytes of data the reply must carry."""
        return (self.count + 7) // 8 if self.table in BIT_TABLES else 2 * self.count

    @property
    def question(self) -> Question:
        return reading(self.pdu, self.data_bytes)


def plan(
    points: Sequence[ModbusPoint], section: ModbusSection, only: Sequence[int] | None = None
) -> list[Request]:
    """Requests for all points, or for `only` those: as few as possible and, of such, those that read least.

    No request exceeds the limits of the section, bridges more than `max_gap` or touches a forbidden
    address; no point is split. Each point on its own must fit, which loading a profile checks.
    """
    requests: list[Request] = []
    for table in REQUESTS:
        chosen = range(len(points)) if only is None else only
        indexes = [index for index in chosen if points[index].table == table]
        requests += _Table(table, points, indexes, section).requests()
    return requests


def places_to_cut(points: Sequence[ModbusPoint], indexes: Sequence[int]) -> list[int]:
    """Where points in the order of their addresses can be divided without one being in two parts.

    The nearest to the middle comes first. Empty when all lie over the same registers.
    """
    end = 0
    cuts: list[int] = []
    for position, index in enumerate(indexes):
        if position and points[index].address >= end:
            cuts.append(position)
        end = max(end, points[index].address + points[index].width)
    if not cuts and len({(points[index].address, points[index].width) for index in indexes}) > 1:
        cuts = [len(indexes) // 2]
    return sorted(cuts, key=lambda cut: abs(2 * cut - len(indexes)))


def other_reads(
    request: Request, planned: Sequence[Request], points: Sequence[ModbusPoint], section: ModbusSection
) -> Iterator[Question]:
    """Reads that may be sent instead of `request` when its reply must look different, best first.

    Those that are planned anyway, then beginnings of them that hold whole points, then what a unit answers
    at least with a refusal: who it is, and one register or bit of each table. None touches a forbidden
    address.
    """
    for other in planned:
        yield other.question
    for whole in (request, *planned):
        ends = sorted({points[index].address + points[index].width for index in whole.points})
        for count in [end - whole.first for end in ends]:
            if not could_be_its_own_reply(whole.table, whole.first, count):
                yield Request(whole.table, whole.first, count, ()).question
    yield WHO_ARE_YOU
    for table in REQUESTS:
        is_forbidden = any(
            range_.table == table and range_.first <= request.first <= range_.last
            for range_ in section.forbidden
        )
        if not is_forbidden:
            yield Request(table, request.first, 1, ()).question


def could_be_its_own_reply(table: Table, first: int, count: int) -> bool:
    """Whether the reply to a request may equal it, so that it looks like its echo and is not taken.

    So it is for 17 to 24 bits from 0x0300 to 0x03ff: function, then 3, then three bytes.
    """
    return table in BIT_TABLES and first >> 8 == 3 and 17 <= count <= 24


class _Table:
    """The points of one table in the order of their addresses.

    A request then always takes a run of neighbours: a point that is left out between two others reaches
    beyond the request's end, and so the request that does take it covers the later ones too.
    """

    def __init__(
        self, table: Table, points: Sequence[ModbusPoint], indexes: list[int], section: ModbusSection
    ) -> None:
        self.table, self.points = table, points
        self.indexes = sorted(indexes, key=lambda index: (points[index].address, points[index].width))
        self.limit = section.max_bits if table in BIT_TABLES else section.max_registers
        self.max_gap = section.max_gap
        self.forbidden = [range_ for range_ in section.forbidden if range_.table == table]
        ordered = [points[index] for index in self.indexes]
        self.overlaps = any(one.address + one.width > two.address for one, two in pairwise(ordered))

    def requests(self) -> list[Request]:
        """From the first point on: the cheapest way to have read all points up to each place to cut."""
        total = len(self.indexes)
        cost: dict[int, tuple[int, int]] = {0: (0, 0)}  # up to this point: requests, addresses read
        came_from: dict[int, int] = {}
        for start in range(total):
            if start not in cost:
                continue
            requests, read = cost[start]
            for stop, count in self._ends(start):
                if stop not in cost or (requests + 1, read + count) < cost[stop]:
                    cost[stop] = requests + 1, read + count
                    came_from[stop] = start
        found: list[Request] = []
        stop = total
        while stop:
            start = came_from[stop]
            found.append(self._covering(self.indexes[start:stop]))
            stop = start
        return found[::-1]

    def _covering(self, indexes: Sequence[int]) -> Request:
        first = self.points[indexes[0]].address
        end = max(self.points[index].address + self.points[index].width for index in indexes)
        return Request(self.table, first, end - first, tuple(indexes))

    def _ends(self, start: int) -> list[tuple[int, int]]:
        """The (stop, count) worth trying for the request that reads from point `start` to before `stop`.

        That is before each gap, and as far as possible. To stop earlier where points touch each other
        would save nothing here and cost more later, unless they overlap.
        """
        first = self.points[self.indexes[start]].address
        barrier = min((range_.first for range_ in self.forbidden if range_.last >= first), default=0x10000)
        ends: list[tuple[int, int]] = []
        furthest: tuple[int, int] | None = None
        end = first
        for position in range(start, len(self.indexes)):
            point = self.points[self.indexes[position]]
            gap = point.address - end
            if furthest is not None and (gap > 0 or self.overlaps):
                ends.append(furthest)
            end = max(end, point.address + point.width)
            if gap > self.max_gap or end - first > self.limit or end > barrier:
                break
            furthest = position + 1, end - first
        if furthest is not None and furthest not in ends:
            ends.append(furthest)
        return ends
