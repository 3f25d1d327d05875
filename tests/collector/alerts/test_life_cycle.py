"""An alert is opened once, taken on by somebody and closed, and each step is on record."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from collector.alerts import service
from collector.alerts.service import AlertIsResolved, AlertUnknown, Opening
from collector.store.engine import Store
from collector.store.schema import alert, alert_change, outbox
from tests.support.collector import NOW_MS


async def rows_of(store: Store, table: Any) -> list[Any]:
    async with store.read() as connection:
        return list((await connection.execute(select(table))).all())


async def opened(store: Store, opening: Opening, *receivers: str) -> int | None:
    async with store.write() as connection:
        return await service.open_alert(connection, opening, receivers, now_ms=NOW_MS)


async def test_a_new_alert_fires_since_the_condition_holds_and_its_receivers_are_told(
    store: Store, opening: Opening
) -> None:
    assert await opened(store, opening, "duty", "platform") == 1
    [row] = await rows_of(store, alert)
    assert (row.state, row.opened_ms, row.data) == ("firing", opening.opened_ms, opening.data)
    [change] = await rows_of(store, alert_change)
    assert (change.alert_id, change.state, change.by, change.at_ms) == (1, "firing", "collector", NOW_MS)
    messages = await rows_of(store, outbox)
    assert [(m.receiver, m.state, m.message["state"]) for m in messages] == [
        ("duty", "waiting", "firing"),
        ("platform", "waiting", "firing"),
    ]
    assert len({m.idempotency_key for m in messages}) == 2


async def test_sixty_four_evaluators_that_see_the_same_make_one_alert(store: Store, opening: Opening) -> None:
    results = await asyncio.gather(*(opened(store, opening, "duty") for _ in range(64 * 8)))
    assert sorted(r for r in results if r is not None) == [1]
    assert len(await rows_of(store, alert)) == len(await rows_of(store, outbox)) == 1


async def test_evaluators_in_several_processes_make_one_alert(
    store: Store, opening: Opening, tmp_path: Path
) -> None:
    async with await Store.open(tmp_path / "collector.db") as other:
        results = await asyncio.gather(*(opened(s, opening) for s in (store, other) * 20))
    assert sorted(r for r in results if r is not None) == [1]


async def test_the_condition_that_comes_back_after_it_was_closed_is_a_new_alert(
    store: Store, opening: Opening
) -> None:
    await opened(store, opening)
    async with store.write() as connection:
        await service.resolve(connection, opening.site_id, 1, by="recovered", now_ms=NOW_MS)
    assert await opened(store, opening) == 2


async def test_alerts_are_numbered_for_each_site_by_itself(store: Store, opening: Opening) -> None:
    assert await opened(store, opening) == 1
    assert await opened(store, replace(opening, condition="silent:gateway:gw-1")) == 2
    assert await opened(store, replace(opening, site_id=opening.site_id + 1)) == 1


async def test_who_takes_an_alert_on_first_has_it(store: Store, opening: Opening) -> None:
    await opened(store, opening, "duty")
    async with store.write() as connection:
        await service.acknowledge(connection, opening.site_id, 1, by="li", now_ms=NOW_MS + 1)
        await service.acknowledge(connection, opening.site_id, 1, by="wang", now_ms=NOW_MS + 2)
    [row] = await rows_of(store, alert)
    assert (row.state, row.acknowledged_by, row.acknowledged_ms) == ("acknowledged", "li", NOW_MS + 1)
    changes = await rows_of(store, alert_change)
    assert [(c.state, c.by) for c in changes] == [("firing", "collector"), ("acknowledged", "li")]
    assert len(await rows_of(store, outbox)) == 1
    assert await opened(store, opening) is None


async def test_whoever_was_told_that_it_fires_is_told_that_it_is_over(store: Store, opening: Opening) -> None:
    await opened(store, opening, "duty")
    async with store.write() as connection:
        await service.resolve(
            connection, opening.site_id, 1, by="recovered", now_ms=NOW_MS, resolved_ms=NOW_MS - 60_000
        )
    [row] = await rows_of(store, alert)
    assert (row.state, row.resolved_by, row.resolved_ms) == ("resolved", "recovered", NOW_MS - 60_000)
    told = await rows_of(store, outbox)
    assert [(m.receiver, m.message["state"]) for m in told] == [("duty", "firing"), ("duty", "resolved")]


async def test_a_closed_alert_does_not_change_any_more(store: Store, opening: Opening) -> None:
    await opened(store, opening)
    async with store.write() as connection:
        await service.resolve(connection, opening.site_id, 1, by="li", now_ms=NOW_MS)
    for act in (service.acknowledge, service.resolve):
        with pytest.raises(AlertIsResolved) as refused:
            async with store.write() as connection:
                await act(connection, opening.site_id, 1, by="wang", now_ms=NOW_MS)
        assert refused.value.resolved_by == "li"


async def test_an_alert_that_is_not_there_is_said_to_be_unknown(store: Store, site_id: int) -> None:
    with pytest.raises(AlertUnknown):
        async with store.write() as connection:
            await service.acknowledge(connection, site_id, 9, by="li", now_ms=NOW_MS)


async def test_an_alert_its_history_and_its_messages_are_committed_together_or_not_at_all(
    store: Store, opening: Opening
) -> None:
    async def cut_short() -> None:
        async with store.write() as connection:
            await service.open_alert(connection, opening, ["duty"], now_ms=NOW_MS)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        await cut_short()
    for table in (alert, alert_change, outbox):
        assert await rows_of(store, table) == []


async def test_an_open_alert_tells_more_as_it_goes_on(store: Store, opening: Opening) -> None:
    await opened(store, opening)
    async with store.write() as connection:
        await service.refresh(connection, opening.site_id, 1, {**opening.data, "excess": 4})
        found = await service.find_open(connection, opening.site_id, opening.condition)
        last = await service.find_last(connection, opening.site_id, opening.condition)
    assert found is not None
    assert found.data["excess"] == 4
    assert found == last
    assert len(await rows_of(store, alert_change)) == 1
