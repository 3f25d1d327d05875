"""Ten thousand register maps at random: legal requests, nearly as few as can be, and the same values."""

import random
from collections.abc import Sequence
from functools import cache

from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.plan import Request, plan
from models.profile.modbus import Forbidden, ModbusPoint, ModbusSection, RegisterType, Table
from models.reading import Quality, Reading
from tests.support.profiles import a_point

MAPS = 10_000
MOST_TIMES_THE_FEWEST = 1.1
TABLES: tuple[Table, ...] = ("holding", "input", "coil", "discrete")
TYPES: tuple[RegisterType, ...] = ("uint16", "int16", "uint32", "int32", "uint64")


@cache
def point(table: Table, address: int, type_: RegisterType) -> ModbusPoint:
    name = f"{table}_{address}_{type_}"
    return a_point(name, address, type_, table=table, shares_registers=True)


def a_map(roll: random.Random) -> tuple[list[ModbusPoint], ModbusSection]:
    """Points as real maps have them: runs, gaps, sometimes one over another, in any order."""
    table = roll.choices(TABLES, (6, 4, 1, 1))[0]
    is_bits = table in ("coil", "discrete")
    points: dict[str, ModbusPoint] = {}
    address = roll.choice((0, 0, 0x300, 0x2000, 0xFF00))
    for _ in range(roll.randint(1, 25)):
        type_ = "bool" if is_bits else roll.choice(TYPES)
        chosen = point(table, address, type_)
        points[chosen.name] = chosen
        address += roll.choice(
            (0, chosen.width, chosen.width, chosen.width, chosen.width + roll.randint(1, 30))
        )
    forbidden = []
    taken = {p.address + n for p in points.values() for n in range(p.width)}
    for _ in range(roll.choice((0, 0, 1, 2))):
        first = min(taken) + roll.randint(0, 100)
        last = first + roll.randint(0, 3)
        if not taken & set(range(first, last + 1)):
            forbidden.append(Forbidden(table=table, first=first, last=last))
    section = ModbusSection(
        max_registers=roll.choice((4, 10, 40, 125)),
        max_bits=roll.choice((8, 40, 2000)),
        max_gap=roll.choice((0, 0, 4, 20, 124)),
        forbidden=tuple(forbidden),
    )
    shuffled = list(points.values())
    roll.shuffle(shuffled)
    return shuffled, section


def limit_of(points: Sequence[ModbusPoint], section: ModbusSection) -> int:
    return section.max_bits if points[0].is_bit_table else section.max_registers


def fewest(points: Sequence[ModbusPoint], section: ModbusSection) -> int:
    """The least number of legal requests, by dynamic programming from the last point to the first."""
    ordered = sorted(points, key=lambda p: (p.address, p.width))
    limit = limit_of(points, section)
    best = [0] * (len(ordered) + 1)
    for start in range(len(ordered) - 1, -1, -1):
        first = end = ordered[start].address
        barrier = min((r.first for r in section.forbidden if r.last >= first), default=1 << 17)
        best[start] = len(ordered)
        for stop in range(start, len(ordered)):
            candidate = ordered[stop]
            if candidate.address - end > section.max_gap:
                break
            end = max(end, candidate.address + candidate.width)
            if end - first > limit or end > barrier:
                break
            best[start] = min(best[start], 1 + best[stop + 1])
    return best[0]


def check_legal(requests: Sequence[Request], points: Sequence[ModbusPoint], section: ModbusSection) -> None:
    assert sorted(index for request in requests for index in request.points) == list(range(len(points)))
    for request in requests:
        assert 1 <= request.count <= limit_of(points, section)
        assert request.first + request.count <= 0x10000
        last = request.first + request.count - 1
        for span in section.forbidden:
            assert span.table != request.table or last < span.first or request.first > span.last
        carried = sorted((points[index] for index in request.points), key=lambda p: p.address)
        end = request.first
        for carries in carried:
            assert carries.table == request.table
            assert carries.address - end <= section.max_gap
            end = max(end, carries.address + carries.width)
        assert end == request.first + request.count


def value_at(carries: ModbusPoint, image: bytes) -> int:
    """What the point alone reads as, without the driver's decoder."""
    if carries.is_bit_table:
        return image[2 * (carries.address & 0xFF)] & 1
    begin = 2 * (carries.address & 0x3FF)
    whole = image[begin : begin + 2 * carries.width]
    return int.from_bytes(whole, "big", signed=carries.type.startswith("int"))


def reply_data(request: Request, image: bytes) -> bytes:
    if request.table in ("coil", "discrete"):
        bits = [image[2 * ((request.first + n) & 0xFF)] & 1 for n in range(request.count)]
        return bytes(
            sum(bit << n for n, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
        )
    begin = 2 * (request.first & 0x3FF)
    return image[begin : begin + 2 * request.count]


def test_ten_thousand_maps_are_read_in_few_legal_requests_with_the_values_of_single_reads() -> None:
    roll = random.Random(645)
    image = roll.randbytes(2 * 0x800)
    requests_made = optimum = 0
    for _ in range(MAPS):
        points, section = a_map(roll)
        points = [p for p in points if p.width <= limit_of(points, section)]
        if not points:
            continue
        requests = plan(points, section)
        check_legal(requests, points, section)
        least = fewest(points, section)
        assert len(requests) <= MOST_TIMES_THE_FEWEST * least
        requests_made, optimum = requests_made + len(requests), optimum + least
        readings: list[Reading | None] = [None] * len(points)
        for request in requests:
            decoder = ReplyDecoder(request, points, section, {}, "d")
            decoder.decode(reply_data(request, image), 0, 0, readings)
        for carries, reading in zip(points, readings, strict=True):
            assert reading is not None
            assert reading.quality is Quality.GOOD
            assert reading.value == float(value_at(carries, image)), carries
    assert requests_made <= 1.01 * optimum
