"""The data of the charts: a gap is a gap, an estimate is marked, a day is the site's day."""

from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from collector.store.schema import reading
from collector.web.charts import _line
from collector.web.overview import midnight
from models.times import DAY_MS, HOUR_MS, hour_of
from tests.support.collector import StandingClock
from tests.support.collector_town import Town
from tests.support.collector_world import World


async def test_every_hour_has_its_bar_or_its_gap(person: httpx.AsyncClient, town: Town, world: World) -> None:
    data = (await person.get(f"/charts/consumption/hall/{town.energy}?hours=24")).json()
    assert len(data["times"]) == len(data["values"]) == len(data["states"]) == 24
    assert [b - a for a, b in zip(data["times"], data["times"][1:], strict=False)] == [3600] * 23
    for value, coverage, state in zip(data["values"], data["coverage"], data["states"], strict=True):
        assert (value is None) == (state in ("missing", "pending", ""))
        assert state != "partial" or coverage < 0.995
    assert {"measured", "partial", "estimated", "suspect", "missing", ""} == set(data["states"])
    assert data["states"][-1] == ""  # this hour is not over
    assert data["zone"] == "Asia/Shanghai"
    assert data["words"]["estimated"] == "估算"


async def test_an_hour_that_was_never_computed_is_no_zero(person: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    point = await world.point(
        site, await world.device(site, "gw-1", "m", "m"), "e_kwh", "kWh", kind="counter"
    )
    first_ms = hour_of(world.now_ms) - 3 * HOUR_MS
    await world.hours(site, point, first_ms, [(2.0, 1.0, "measured"), None, (3.0, 1.0, "measured")])
    data = (await person.get(f"/charts/consumption/hq/{point}?hours=4")).json()
    assert data["values"] == [2.0, None, 3.0, None]
    assert data["states"] == ["measured", "pending", "measured", ""]


async def test_the_day_s_chart_sums_main_meters_and_keeps_what_is_missing_visible(
    person: httpx.AsyncClient, world: World
) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    start_ms = midnight(world.now_ms, "Asia/Shanghai")
    meters: list[list[tuple[float | None, float, str] | None]] = [
        [(10.0, 1.0, "measured"), (10.0, 1.0, "measured"), (None, 0.0, "missing")],
        [(5.0, 1.0, "measured"), (None, 0.0, "missing"), (None, 0.0, "missing")],
        [(2.0, 1.0, "estimated"), (1.0, 1.0, "measured"), (0.5, 0.5, "suspect")],
    ]
    for number, bars in enumerate(meters):
        device = await world.device(site, "gw-1", f"m{number}", f"m{number}")
        point = await world.point(site, device, "e_kwh", "kWh", kind="counter", item_code="01000")
        await world.hours(site, point, start_ms, bars)
    part = await world.point(site, 1, "light_kwh", "kWh", kind="counter", item_code="01A00")
    await world.hours(site, part, start_ms, [(99.0, 1.0, "measured")])

    data = (await person.get("/charts/today/hq")).json()
    assert len(data["times"]) == 24
    assert data["values"][:3] == [17.0, 11.0, 0.5]
    assert data["states"][:3] == ["estimated", "partial", "suspect"]
    assert data["coverage"][1] == pytest.approx(2 / 3, abs=1e-4)


async def test_a_line_breaks_where_nothing_was_measured(person: httpx.AsyncClient, town: Town) -> None:
    data = (await person.get(f"/charts/readings/hall/{town.power}?hours=24")).json()
    breaks = [
        (before, after)
        for before, value, after in zip(data["times"], data["values"][1:], data["times"][2:], strict=False)
        if value is None
    ]
    lengths = [round((after - before) / 60) for before, after in breaks]
    assert max(lengths) >= 119  # two hours without any reading
    bad = [value for value in data["values"] if value is None]
    assert len(bad) >= 25  # half an hour of readings without a value


def test_dense_readings_become_their_lowest_and_highest() -> None:
    class Bin:
        def __init__(self, first_ms: int, last_ms: int, lowest: float | None, highest: float | None) -> None:
            self.first_ms, self.last_ms, self.lowest, self.highest = first_ms, last_ms, lowest, highest
            self.suspect = 0

    line = _line([Bin(0, 900, 1.0, 9.0), Bin(1000, 1000, 4.0, 4.0), Bin(9000, 9000, 5.0, 5.0)], gap_ms=3000)
    assert line.times_ms == [0, 900, 1000, 1001, 9000]
    assert line.values == [1.0, 9.0, 4.0, None, 5.0]


async def test_suspect_readings_are_marked(person: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    point = await world.point(site, await world.device(site, "gw-1", "m", "m"), "power_kw", "kW")
    row = {"site_id": site, "point_id": point, "received_ms": 0, "epoch_id": 1, "reason": 0}
    at_ms = world.now_ms - HOUR_MS
    await world.add(reading, **row, measured_ms=at_ms, value=1.0, quality=0, seq=1)
    await world.add(reading, **row, measured_ms=at_ms + 60_000, value=900.0, quality=1, seq=2)
    data = (await person.get(f"/charts/readings/hq/{point}?hours=6")).json()
    assert data["values"] == [1.0, 900.0]
    assert data["suspect"] == [None, 900.0]


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        pytest.param("Asia/Shanghai", "2026-09-21T21:13:20+08:00", id="shanghai"),
        pytest.param("Europe/Berlin", "2026-03-29T12:00:00+02:00", id="day-of-23-hours"),
        pytest.param("America/Sao_Paulo", "2026-09-21T00:00:01-03:00", id="west"),
    ],
)
def test_a_day_begins_at_the_site_s_midnight(zone: str, moment: str) -> None:
    now = datetime.fromisoformat(moment)
    start = datetime.fromtimestamp(midnight(round(now.timestamp() * 1000), zone) / 1000, ZoneInfo(zone))
    assert (start.date(), start.hour, start.minute) == (now.astimezone(ZoneInfo(zone)).date(), 0, 0)
    assert round(now.timestamp() * 1000) - round(start.timestamp() * 1000) < DAY_MS


async def test_a_day_of_23_hours_has_23_bars(
    person: httpx.AsyncClient, world: World, standing: StandingClock
) -> None:
    await world.site("de", "DE", "Europe/Berlin")
    noon = datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    standing.now_ms = round(noon.timestamp() * 1000)
    assert len((await person.get("/charts/today/de")).json()["times"]) == 23


async def test_a_chart_of_a_point_that_is_not_there_is_a_problem(
    person: httpx.AsyncClient, town: Town
) -> None:
    for path in ("/charts/consumption/hall/999", "/charts/readings/hall/999"):
        answer = await person.get(path, headers={"accept": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
