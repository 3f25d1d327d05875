"""The gateway's time comes from who can be trusted, and nothing that is stored is stamped by anybody else."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.boots import BOOT_MS, is_provisional
from edge_agent.timekeeper import Timekeeper
from models.reading import Event
from models.times import Clock
from tests.support.clocks import VirtualClock

HOUR_MS = 3_600_000
TRUE_MS = 1_790_000_000_000


class Machine:
    """A machine that started `up_s` ago, whose system clock may show anything."""

    def __init__(
        self,
        *,
        up_s: float = 90.0,
        wrong_by_ms: int = 0,
        synchronised: bool = False,
    ) -> None:
        self.passing = VirtualClock(TRUE_MS)
        self.up_s, self.wrong_by_ms, self.synchronised = up_s, wrong_by_ms, synchronised
        self.held_up_s: list[float] = []  # after each look at the system clock
        self._held_s = 0.0
        self.kept: list[Mapping[str, str]] = []  # each time an offset was noted
        self.showed: list[int] = []  # the gateway's time as each offset was noted
        system = Clock(
            now_ms=self._system_ms,
            monotonic_s=self.monotonic_s,
            sleep=self.passing.sleep,
        )
        self.keeper = Timekeeper(system, is_synchronised=lambda: self.synchronised, boot_id="boot-a")

    def monotonic_s(self) -> float:
        return self.up_s + self.passing.monotonic_s() + self._held_s

    def true_ms(self) -> int:
        return self.passing.now_ms() + round(self._held_s * 1000)

    def _system_ms(self) -> int:
        shown_ms = self.true_ms() + self.wrong_by_ms
        self._held_s += self.held_up_s.pop(0) if self.held_up_s else 0.0
        return shown_ms

    @property
    def error_ms(self) -> int:
        return self.keeper.now_ms() - self.true_ms()

    async def collector_tells(self, *, wrong_by_ms: int = 0, round_trip_s: float = 0.02) -> list[Event]:
        asked_s = self.monotonic_s()
        await self.passing.advance(round_trip_s / 2)
        said_ms = self.passing.now_ms() + wrong_by_ms
        await self.passing.advance(round_trip_s / 2)
        return await self.keeper.told(said_ms, asked_s=asked_s)

    async def note(self, marks: Mapping[str, str]) -> None:
        if '"offset_ms":null' not in "".join(marks.values()):
            self.kept.append(marks)
            self.showed.append(self.keeper.now_ms())


async def started(*, marks: Mapping[str, str] | None = None, **machine: Any) -> Machine:
    """A machine whose agent has begun."""
    made = Machine(**machine)
    await made.keeper.begin(marks or {}, made.note)
    return made


async def test_before_the_time_is_known_times_count_from_the_start_of_the_machine() -> None:
    machine = await started(wrong_by_ms=-TRUE_MS)  # the system clock shows 1970
    assert await machine.keeper.look() == []
    assert not machine.keeper.is_set
    assert machine.keeper.now_ms() == BOOT_MS + 90_000
    assert is_provisional(machine.keeper.now_ms())
    await machine.passing.advance(5)
    assert machine.keeper.clock.now_ms() == BOOT_MS + 95_000


async def test_a_system_clock_that_a_time_service_keeps_is_followed() -> None:
    machine = await started(wrong_by_ms=HOUR_MS)
    machine.wrong_by_ms, machine.synchronised = 0, True
    [event] = await machine.keeper.look()
    assert (event.kind, event.data["source"]) == ("clock.set", "system")
    assert (machine.error_ms, len(machine.kept)) == (0, 1)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 300_000, -300_000, -TRUE_MS, 55 * 365 * 24 * HOUR_MS])
async def test_a_jump_of_a_clock_that_nobody_keeps_changes_nothing(step_ms: int) -> None:
    machine = await started(synchronised=True)
    await machine.keeper.look()
    machine.wrong_by_ms, machine.synchronised = step_ms, False  # setting a clock by hand ends the sync
    for _ in range(10):
        await machine.passing.advance(30)
        assert await machine.keeper.look() == []
        assert machine.error_ms == 0
    machine.wrong_by_ms, machine.synchronised = 0, True
    assert await machine.keeper.look() == []
    assert machine.error_ms == 0


async def test_a_jump_that_the_time_service_made_is_followed_and_told() -> None:
    machine = await started(synchronised=True, wrong_by_ms=-300_000)
    await machine.keeper.look()
    machine.wrong_by_ms = 0
    [event] = await machine.keeper.look()
    assert (event.kind, event.data["by_ms"]) == ("clock.stepped", 300_000)
    assert machine.error_ms == 0


async def test_small_corrections_are_followed_without_a_word() -> None:
    machine = await started(synchronised=True)
    await machine.keeper.look()
    for machine.wrong_by_ms in range(0, 200, 7):
        assert await machine.keeper.look() == []
        assert abs(machine.error_ms - machine.wrong_by_ms) <= 20
    assert len(machine.kept) < 15


@pytest.mark.parametrize("held_up_s", [[5.0], [0.3, 2.0, 0.1], [40.0, 3.0, 0.9, 2.0, 7.0, 1.0]])
async def test_an_agent_that_is_held_up_between_two_clocks_sees_no_jump(held_up_s: list[float]) -> None:
    machine = await started(synchronised=True)
    machine.held_up_s = held_up_s
    assert await machine.keeper.look() == []
    assert (machine.error_ms, len(machine.kept)) == (0, 1)


async def test_a_jump_is_seen_also_by_an_agent_that_is_held_up() -> None:
    machine = await started(synchronised=True, wrong_by_ms=-300_000)
    machine.wrong_by_ms, machine.held_up_s = 0, [2.0, 0.4]
    [event] = await machine.keeper.look()
    assert (event.kind, event.data["by_ms"], machine.error_ms) == ("clock.stepped", 300_000, 0)


async def test_the_collector_gives_the_time_where_no_service_keeps_it() -> None:
    machine = await started(wrong_by_ms=-TRUE_MS)
    [event] = await machine.collector_tells()
    assert (event.kind, event.data["source"]) == ("clock.set", "collector")
    assert abs(machine.error_ms) <= 10
    assert await machine.collector_tells() == []
    assert len(machine.kept) == 1


async def test_the_collector_does_not_overrule_a_time_service() -> None:
    machine = await started(synchronised=True)
    await machine.keeper.look()
    assert await machine.collector_tells(wrong_by_ms=HOUR_MS) == []
    assert machine.error_ms == 0


async def test_an_answer_that_took_long_says_nothing_about_the_time() -> None:
    machine = await started()
    assert await machine.collector_tells(round_trip_s=30) == []
    assert not machine.keeper.is_set


async def test_a_collector_that_shows_1970_says_nothing_about_the_time() -> None:
    machine = await started()
    assert await machine.collector_tells(wrong_by_ms=-TRUE_MS) == []
    assert not machine.keeper.is_set


async def test_a_process_of_the_same_boot_takes_up_what_the_last_one_knew() -> None:
    before = await started(synchronised=True)
    after = await started(marks=before.kept[-1])
    assert (after.keeper.is_set, after.keeper.source, after.error_ms) == (True, "earlier", 0)


async def test_the_offset_is_known_to_the_store_before_anything_is_stamped_with_it() -> None:
    machine = await started(synchronised=True)
    assert [is_provisional(ms) for ms in machine.showed] == [True]


@given(
    st.lists(
        st.tuples(st.floats(0.001, 1.9), st.sampled_from(["collector", "service", "hand", "lost"])),
        max_size=30,
    )
)
async def test_once_known_the_time_is_never_wrong_by_more_than_a_second(
    steps: list[tuple[float, str]],
) -> None:
    machine = await started(wrong_by_ms=-TRUE_MS)
    for seconds, what in steps:
        await machine.passing.advance(seconds)
        if what == "collector":
            await machine.collector_tells(round_trip_s=seconds)
        elif what == "service":
            machine.wrong_by_ms, machine.synchronised = 0, True
        elif what == "hand":
            machine.wrong_by_ms, machine.synchronised = round(seconds * HOUR_MS), False
        else:
            machine.synchronised = False
        await machine.keeper.look()
        assert not machine.keeper.is_set or abs(machine.error_ms) <= 1000
        assert is_provisional(machine.keeper.now_ms()) is not machine.keeper.is_set


async def test_who_stands_at_the_gateway_may_confirm_its_clock_and_is_on_record() -> None:
    machine = Machine()
    await machine.keeper.begin({}, machine.note)
    before = machine.keeper.now_ms()
    assert is_provisional(before)
    [event] = await machine.keeper.confirmed("li (uid 1000)")
    assert (event.kind, event.data) == ("clock.set", {"source": "person", "by": "li (uid 1000)"})
    assert (machine.keeper.is_set, machine.error_ms) == (True, 0)
    assert machine.keeper.boots.settled_ms(before) == machine.true_ms()
    machine.wrong_by_ms = HOUR_MS  # it was for that once
    await machine.keeper.look()
    assert machine.error_ms == 0


async def test_nobody_needs_to_confirm_a_clock_that_a_time_service_keeps() -> None:
    machine = Machine(synchronised=True)
    await machine.keeper.begin({}, machine.note)
    assert await machine.keeper.confirmed("li (uid 1000)") == []
    assert machine.keeper.source == "system"
