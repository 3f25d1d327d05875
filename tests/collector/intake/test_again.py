"""A store that began a new epoch sends again what it had in doubt, and nothing of it is there twice."""

from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.intake.batch import MOST_RANGES
from collector.intake.service import Intake
from models.reading import Event, Item
from models.times import DAY_MS
from tests.support.collector import NOW_MS, Sender, a_reading, an_event

Rows = Callable[..., list[Any]]
RUNS = count()


def some_items(size: int, *, run: int = 0) -> list[Item]:
    """Readings and events in turn, and one event that will be set aside."""
    made: list[Item] = []
    for number in range(size):
        at_ms = NOW_MS - 1_000_000 + 1000 * number
        made.append(
            a_reading(float(number), at_ms=at_ms) if number % 2 else an_event(at_ms=at_ms, n=number, run=run)
        )
    return [*made, an_event(at_ms=NOW_MS + DAY_MS, n=size, run=run)]


def begin_again(sender: Sender, *, at_seq: int) -> None:
    """As the store of a gateway does that goes on under a new epoch from this number on."""
    sender.begin_epoch()
    sender.next_seq = at_seq


async def test_what_came_under_an_earlier_epoch_is_left_out(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    items = some_items(9)
    await intake.accept(sender.seal(items).body, sender.gateway_id)
    before = rows("SELECT seq, data FROM event ORDER BY seq"), rows("SELECT seq FROM quarantine")
    begin_again(sender, at_seq=5)
    receipt = await intake.accept(
        sender.seal([*items[4:], an_event(n=99)], earlier=True).body, sender.gateway_id
    )
    assert receipt.missing == []
    after = (
        rows("SELECT seq, data FROM event WHERE data NOT LIKE '%99%' ORDER BY seq"),
        rows("SELECT seq FROM quarantine"),
    )
    assert after == before
    assert rows("SELECT count(*) FROM event WHERE data LIKE '%99%'") == [1]
    assert rows("SELECT count(*) FROM reading") == [4]
    assert rows("SELECT count(*) FROM reading_revision") == [0]


async def test_another_item_under_the_same_number_is_no_repetition(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    await intake.accept(sender.seal([an_event(n=1)]).body, sender.gateway_id)
    begin_again(sender, at_seq=1)
    await intake.accept(sender.seal([an_event(n=2)], earlier=True).body, sender.gateway_id)
    assert rows("SELECT count(*) FROM event") == [2]


async def test_an_event_that_happens_again_in_the_same_way_is_told_again(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    await intake.accept(sender.seal([an_event(n=1)]).body, sender.gateway_id)
    begin_again(sender, at_seq=2)
    await intake.accept(sender.seal([an_event(n=1)], earlier=True).body, sender.gateway_id)
    assert rows("SELECT seq FROM event ORDER BY seq") == [1, 2]


async def test_an_epoch_that_begins_later_misses_nothing_before_its_first_batch(
    intake: Intake, sender: Sender
) -> None:
    begin_again(sender, at_seq=101)
    first = sender.seal(some_items(3))
    sender.seal(some_items(3))  # never sent
    third = sender.seal(some_items(3))
    assert (await intake.accept(first.body, sender.gateway_id)).missing == []
    assert (await intake.accept(third.body, sender.gateway_id)).missing == [(105, 108)]


async def test_holes_are_no_items_and_nobody_asks_for_them(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    holes = sender.seal([None, a_reading(1.0), None, None, an_event(), None])
    receipt = await intake.accept(holes.body, sender.gateway_id)
    assert (receipt.high_water, receipt.missing) == (6, [])
    assert rows("SELECT seq FROM reading UNION ALL SELECT seq FROM event") == [2, 5]


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_sent_again_under_however_many_epochs_is_there_once(
    intake: Intake, sender: Sender, rows: Rows, data: st.DataObject
) -> None:
    run = next(RUNS)
    items = some_items(data.draw(st.integers(1, 12)), run=run)
    begin_again(sender, at_seq=1)
    await intake.accept(sender.seal(items[: data.draw(st.integers(1, len(items)))]).body, sender.gateway_id)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(items) - 1))
        end = data.draw(st.integers(start + 1, len(items)))
        begin_again(sender, at_seq=start + 1)
        await intake.accept(sender.seal(items[start:end], earlier=True).body, sender.gateway_id)
    begin_again(sender, at_seq=1)
    await intake.accept(sender.seal(items, earlier=True).body, sender.gateway_id)
    events = sum(isinstance(item, Event) for item in items[:-1])
    of_run = "SELECT count(*) FROM {} WHERE json_extract({}, '$.run') = ?"
    assert rows(of_run.format("event", "data"), run) == [events]
    assert rows(of_run.format("quarantine", "json_extract(item, '$.data')"), run) == [1]


async def test_what_an_epoch_says_it_will_not_send_is_not_asked_for(intake: Intake, sender: Sender) -> None:
    begin_again(sender, at_seq=1)
    sender.seal(some_items(4))  # under way when the epoch began anew: sent again, under later numbers
    ranges = [[1, 2], [4, 5], ["x"], [0, 99], None]
    began = an_event(
        "buffer.epoch-began", reason="numbers-taken", not_sent=ranges, gateway_id=sender.gateway_id
    )
    foreign = an_event("buffer.epoch-began", reason="x", gateway_id="gw-2", not_sent=[[3, 3]])
    sender.number = 5
    receipt = await intake.accept(sender.seal([began, foreign]).body, sender.gateway_id)
    assert receipt.missing == [(3, 3)]


async def test_more_ranges_than_any_gateway_names_are_not_looked_at(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    sender.next_seq, sender.number = 2 * MOST_RANGES + 5, 5
    ranges = [[2 * n + 1, 2 * n + 1] for n in range(MOST_RANGES + 1)]
    began = an_event(
        "buffer.epoch-began", reason="numbers-taken", not_sent=ranges, gateway_id=sender.gateway_id
    )
    await intake.accept(sender.seal([began]).body, sender.gateway_id)
    assert rows("SELECT count(*) FROM sequence_gap WHERE lost = 1") == [MOST_RANGES]
