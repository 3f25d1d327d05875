"""The judge of soak sees what does not add up, and forgives only what nobody had acknowledged."""

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from simulators.lab.disk import NO_TROUBLE, Trouble
from soak.books import Page
from soak.memory import Memory


def page(**states: int) -> Page:
    """As an agent's metrics tell it."""
    registry = CollectorRegistry()
    items = Gauge("gatehouse_buffer_items", "", ["state"], registry=registry)
    for state, count in states.items():
        items.labels(state).set(count)
    Gauge("gatehouse_held_items", "", registry=registry).set(7)
    Gauge("gatehouse_lost_items", "", registry=registry).set(0)
    return Page.of(generate_latest(registry).decode())


@pytest.mark.parametrize(
    ("delivered", "conserved"), [(90, True), (89, False), (91, False)], ids=["all", "lost", "doubled"]
)
def test_books_that_do_not_add_up_are_seen(delivered: int, conserved: bool) -> None:
    shown = page(produced=100, delivered=delivered, pending=6, quarantined=1, dropped=3)
    assert shown.conserved is conserved
    assert (shown.pending, shown.held) == (6, 7)


class Time:
    """Real time as the tests want it."""

    def __init__(self) -> None:
        self.ms = 1000

    def __call__(self) -> int:
        return self.ms


@pytest.mark.parametrize(("calm_ms", "forgiven"), [(0, [(1000, 4000)]), (1000, [(1000, 4000)]), (3000, [])])
def test_only_what_a_refusing_disk_left_in_memory_is_forgiven(
    calm_ms: int, forgiven: list[tuple[int, int]]
) -> None:
    """`calm_ms`: how long before the kill the disk worked again."""
    time = Time()
    memory = Memory(time, back_within_ms=2000)
    memory.disk_is(Trouble(full="everything"))
    time.ms = 4000 - calm_ms
    if calm_ms:
        memory.disk_is(NO_TROUBLE)
    time.ms = 4000
    memory.agent_ended()
    assert memory.never_on_disk == forgiven


def test_a_disk_that_is_only_slow_forgives_nothing() -> None:
    memory = Memory(Time())
    memory.disk_is(Trouble(sync_ms=(5, 20)))
    memory.agent_ended()
    assert memory.never_on_disk == []
