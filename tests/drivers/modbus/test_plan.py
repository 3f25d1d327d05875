from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus.plan import Request, plan
from models.profile.modbus import Forbidden, ModbusPoint, ModbusSection
from tests.support.profiles import a_point

WIDE = ["uint16", "uint32", "uint64"]


def spans(requests: Sequence[Request]) -> list[tuple[str, int, int]]:
    return [(request.table, request.first, request.count) for request in requests]


def registers(*addresses: int, type_: str = "uint16", table: str = "holding") -> list[ModbusPoint]:
    return [a_point(f"p_{address}", address, type_, table=table) for address in addresses]


def test_neighbours_are_read_together() -> None:
    assert spans(plan(registers(3, 0, 1, 2), ModbusSection())) == [("holding", 0, 4)]


def test_a_request_ends_where_the_protocol_does() -> None:
    points = registers(*range(0, 130, 2), type_="uint32")
    assert spans(plan(points, ModbusSection())) == [("holding", 0, 124), ("holding", 124, 6)]


def test_a_request_ends_where_the_device_does() -> None:
    points = registers(*range(100))
    assert [count for *_, count in spans(plan(points, ModbusSection(max_registers=80)))] in (
        [80, 20],
        [20, 80],
    )


def test_a_gap_is_bridged_as_far_as_the_device_allows() -> None:
    points = registers(0, 11, 23)
    assert spans(plan(points, ModbusSection(max_gap=10))) == [("holding", 0, 12), ("holding", 23, 1)]
    assert spans(plan(points, ModbusSection(max_gap=11))) == [("holding", 0, 24)]


def test_of_plans_with_as_many_requests_the_one_that_reads_least_is_taken() -> None:
    points = registers(0, 8, 9, 10)
    assert spans(plan(points, ModbusSection(max_gap=10, max_registers=10))) == [
        ("holding", 0, 1),
        ("holding", 8, 3),
    ]


def test_a_forbidden_register_is_not_read_even_in_passing() -> None:
    section = ModbusSection(max_gap=50, forbidden=(Forbidden(table="holding", first=5, last=5),))
    assert spans(plan(registers(4, 6), section)) == [("holding", 4, 1), ("holding", 6, 1)]
    assert spans(plan(registers(4, 6, table="input"), section)) == [("input", 4, 3)]


def test_tables_are_read_apart() -> None:
    points = [a_point(table, 7, table=table) for table in ("input", "coil", "holding", "discrete")]
    requests = plan(points, ModbusSection())
    assert [request.pdu.hex() for request in requests] == [
        "0100070001",
        "0200070001",
        "0300070001",
        "0400070001",
    ]
    assert [request.data_bytes for request in requests] == [1, 1, 2, 2]


def test_two_thousand_coils_fit_into_one_request() -> None:
    points = [a_point(f"c_{address}", address, table="coil") for address in range(0, 2000)]
    [request] = plan(points, ModbusSection())
    assert (request.count, request.data_bytes) == (2000, 250)


def a_map() -> st.SearchStrategy[list[ModbusPoint]]:
    """Points of one table that lie close enough together for the limits below to matter."""
    place = st.tuples(st.integers(0, 40), st.sampled_from(WIDE))
    return st.lists(place, min_size=1, max_size=7).map(
        lambda places: [
            a_point(f"p_{index}", address, type_, shares_registers=True)
            for index, (address, type_) in enumerate(places)
        ]
    )


def a_section() -> st.SearchStrategy[ModbusSection]:
    forbidden = st.lists(st.tuples(st.integers(0, 45), st.integers(0, 3)), max_size=2)
    return st.builds(
        lambda limit, gap, ranges: ModbusSection(
            max_registers=limit,
            max_gap=gap,
            forbidden=tuple(Forbidden(table="holding", first=at, last=at + more) for at, more in ranges),
        ),
        st.integers(4, 20),
        st.integers(0, 12),
        forbidden,
    )


def is_legal(points: Sequence[ModbusPoint], section: ModbusSection) -> bool:
    """Whether one request may carry all these points: checked register by register."""
    wanted = {address for point in points for address in range(point.address, point.address + point.width)}
    first, last = min(wanted), max(wanted)
    gap = longest = 0
    for address in range(first, last + 1):
        gap = 0 if address in wanted else gap + 1
        longest = max(longest, gap)
        if any(range_.first <= address <= range_.last for range_ in section.forbidden):
            return False
    return last - first < section.max_registers and longest <= section.max_gap


def cheapest(points: Sequence[ModbusPoint], section: ModbusSection) -> tuple[int, int]:
    """The fewest requests, and then the fewest registers, over all ways to divide the points."""

    def groups(members: int) -> Iterator[int]:
        lowest = members & -members
        rest = members ^ lowest
        part = rest
        while True:
            yield lowest | part
            if not part:
                return
            part = (part - 1) & rest

    def chosen(members: int) -> list[ModbusPoint]:
        return [point for index, point in enumerate(points) if members >> index & 1]

    @cache
    def cost(group: int) -> int:
        members = chosen(group)
        if not is_legal(members, section):
            return 0
        return max(p.address + p.width for p in members) - min(p.address for p in members)

    @cache
    def best(members: int) -> tuple[int, int]:
        if not members:
            return 0, 0
        options = []
        for group in groups(members):
            if read := cost(group):
                requests, others = best(members ^ group)
                options.append((requests + 1, others + read))
        return min(options)

    return best((1 << len(points)) - 1)


@settings(max_examples=1500, deadline=None)
@given(points=a_map(), section=a_section())
def test_a_plan_is_legal_and_complete_and_no_other_is_cheaper(
    points: list[ModbusPoint], section: ModbusSection
) -> None:
    points = [point for point in points if is_legal([point], section)]
    requests = plan(points, section)
    assert sorted(index for request in requests for index in request.points) == list(range(len(points)))
    for request in requests:
        carried = [points[index] for index in request.points]
        assert is_legal(carried, section)
        assert request.first == min(point.address for point in carried)
        assert request.first + request.count == max(point.address + point.width for point in carried)
    if points:
        assert (len(requests), sum(request.count for request in requests)) == cheapest(points, section)


def test_some_of_the_points_can_be_planned_alone() -> None:
    points = registers(0, 1, 2, 3)
    [request] = plan(points, ModbusSection(), only=[3, 2])
    assert (request.first, request.count, request.points) == (2, 2, (2, 3))


@pytest.mark.parametrize("count", [1, 2, 3000])
def test_a_map_of_any_size_is_planned_in_one_pass(count: int) -> None:
    points = [a_point(f"p_{index}", 3 * index, max=None) for index in range(count)]
    requests = plan(points, ModbusSection(max_gap=2))
    assert sum(len(request.points) for request in requests) == count
