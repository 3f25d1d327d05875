"""Lists in pages: nothing is left out or repeated, whatever is stored between two pages."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.store.schema import event
from models.times import utc_text
from tests.support.collector_world import World

FIRST_MS = 1_789_000_000_000
SPAN = {"from": str(FIRST_MS - 1), "to": str(FIRST_MS + 1000)}

moments = st.integers(FIRST_MS, FIRST_MS + 999)
histories = st.tuples(
    st.lists(moments, unique=True, max_size=30),  # there when the reader begins
    st.lists(st.lists(moments, unique=True, max_size=8), max_size=20),  # stored after each page
    st.integers(1, 7),  # items a page
)
# One database serves all examples; each has a site of its own in it.
over_one_database = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


async def walk(
    reader: httpx.AsyncClient, path: str, params: dict[str, str], between: Callable[[int], Awaitable[None]]
) -> list[dict[str, object]]:
    """Every item of every page; `between` runs after each page."""
    items: list[dict[str, object]] = []
    cursor: str | None = None
    for number in range(1000):
        asked = params | ({} if cursor is None else {"cursor": cursor})
        answer = await reader.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["items"]) <= int(params["limit"])
        items += page["items"]
        await between(number)
        cursor = page["next_cursor"]
        if cursor is None:
            return items
    raise AssertionError("the pages do not end")


@over_one_database
@given(histories)
async def test_readings_come_in_order_once_each(
    reader: httpx.AsyncClient, world: World, history: tuple[list[int], list[list[int]], int]
) -> None:
    initial, later, limit = history
    code = f"s{world.numbers.get(('site', 0), 0)}"
    site = await world.site(code, code)
    gateway = f"gw-{code}"
    epoch = await world.gateway(site, gateway, code, last_seen_ms=None)
    point = await world.point(site, await world.device(site, gateway, "m", "m"), "x", "V")
    stored = set(initial)
    await world.readings(site, point, [(ms, 1.0) for ms in initial], epoch_id=epoch)

    async def store_more(page: int) -> None:
        new = set(later[page]) - stored if page < len(later) else set()
        await world.readings(site, point, [(ms, 1.0) for ms in new], epoch_id=epoch)
        stored.update(new)

    path = f"/api/v1/points/{code}/{point}/readings"
    items = await walk(reader, path, SPAN | {"limit": str(limit)}, store_more)
    seen = [str(item["measured_at"]) for item in items]
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen))
    assert {utc_text(ms) for ms in initial} <= set(seen) <= {utc_text(ms) for ms in stored}


@over_one_database
@given(histories)
async def test_events_of_one_moment_and_two_gateways_come_once_each(
    reader: httpx.AsyncClient, world: World, history: tuple[list[int], list[list[int]], int]
) -> None:
    initial, later, limit = history
    code = f"e{world.numbers.get(('site', 0), 0)}"
    site = await world.site(code, code)
    epochs = [await world.gateway(site, f"gw-{code}-{n}", code, last_seen_ms=None) for n in range(2)]

    async def happen(moments: list[int]) -> set[tuple[str, int]]:
        """At each moment, coarsened so that many coincide, something at both gateways."""
        rows = [
            {
                "site_id": site,
                "epoch_id": epoch,
                "seq": world.number("seq", site),
                "gateway_id": f"gw-{code}-{index}",
                "device_id": "door",
                "kind": "door.opened",
                "data": {},
                "measured_ms": ms - ms % 50,
                "received_ms": ms,
            }
            for ms in moments
            for index, epoch in enumerate(epochs)
        ]
        await world.add_all(event, rows)
        return {(str(row["gateway_id"]), int(str(row["seq"]))) for row in rows}

    there = await happen(initial)
    all_of_them = set(there)

    async def happen_later(page: int) -> None:
        all_of_them.update(await happen(later[page] if page < len(later) else []))

    items = await walk(reader, "/api/v1/events", SPAN | {"limit": str(limit), "site": code}, happen_later)
    seen = [(item["gateway_id"], item["seq"]) for item in items]
    assert len(seen) == len(set(seen))
    assert there <= set(seen) <= all_of_them
    times = [str(item["measured_at"]) for item in items]
    assert times == sorted(times)


@over_one_database
@given(histories)
async def test_alerts_come_newest_first_once_each(
    reader: httpx.AsyncClient, world: World, history: tuple[list[int], list[list[int]], int]
) -> None:
    initial, later, limit = history
    code = f"a{world.numbers.get(('site', 0), 0)}"
    site = await world.site(code, code)

    async def open_alerts(moments: list[int]) -> set[int]:
        async with world.at_once():
            return {
                await world.alert(site, f"x:{world.number('x', site)}", {}, opened_ms=ms - ms % 50)
                for ms in moments
            }

    there = await open_alerts(initial)

    async def open_later(page: int) -> None:
        await open_alerts(later[page] if page < len(later) else [])

    items = await walk(reader, "/api/v1/alerts", {"limit": str(limit), "site": code}, open_later)
    seen = [item["id"] for item in items]
    assert len(seen) == len(set(seen))
    assert there <= set(seen)
    opened = [str(item["opened_at"]) for item in items]
    assert opened == sorted(opened, reverse=True)


@pytest.mark.parametrize("path", ["sites", "gateways", "devices", "points", "readings/latest"])
async def test_every_list_can_be_walked_one_by_one(
    reader: httpx.AsyncClient, world: World, path: str
) -> None:
    for code in ("a", "b", "c"):
        site = await world.site(code, code)
        await world.gateway(site, f"gw-{code}", code, last_seen_ms=None)
        device = await world.device(site, f"gw-{code}", code, code)
        await world.latest(site, await world.point(site, device, code, "V"), 1.0)

    async def nothing(_: int) -> None:
        return None

    whole = (await reader.get(f"/api/v1/{path}")).json()
    assert whole["next_cursor"] is None
    assert len(whole["items"]) == 3
    assert await walk(reader, f"/api/v1/{path}", {"limit": "1"}, nothing) == whole["items"]
