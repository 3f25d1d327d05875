"""A building that lives hour by hour in the collector's database, with its jobs at work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import select

from collector.alerts.service import resolve
from collector.energy.job import EnergyJob
from collector.insight.job import InsightJob
from collector.settings import Settings
from collector.store import schema
from collector.store.engine import Store
from models.energy import Sample
from models.times import DAY_MS, HOUR_MS
from tests.support.collector import NOW_MS, StandingClock, add_site
from tests.support.meters import Point, add_device, add_gateway, add_point, add_readings

QUARTER_MS = HOUR_MS // 4
MONDAY_MS = NOW_MS - NOW_MS % DAY_MS - 8 * HOUR_MS  # 2026-09-21 00:00 in Shanghai, where the site is

Load = Callable[[int], float]  # kW at a time


def office(at_ms: int) -> float:
    """60 kW on working days from 8 to 18, else 12."""
    day, ms = divmod(at_ms - MONDAY_MS, DAY_MS)
    return 60.0 if day % 7 < 5 and 8 * HOUR_MS <= ms < 18 * HOUR_MS else 12.0


def always(at_ms: int) -> float:
    return 30.0


@dataclass
class Meter:
    """One meter: what its load is, and how its counter and its gauges come by their values."""

    device: int
    counters: list[Point]
    power: Point | None
    voltage: Point | None
    load: Load
    total: float = 1000.0
    shown: float = 1000.0
    counts: bool = True  # False: the counter is stuck and shows `shown`
    answers_anew: bool = True  # False: all of its values are old ones
    last: tuple[float, float] = (0.0, 0.0)


@dataclass
class Building:
    """A site with a gateway and meters, at a time that moves only by `live`."""

    store: Store
    standing: StandingClock
    site_id: int
    settings: Settings
    meters: list[Meter] = field(default_factory=list)
    now_ms: int = MONDAY_MS
    restarts: bool = False  # a new job for every round, as after a restart
    _random: Any = field(default_factory=lambda: np.random.default_rng(3))
    _job: InsightJob = field(init=False)

    @classmethod
    async def new(cls, store: Store, standing: StandingClock, **settings: Any) -> "Building":
        site_id = await add_site(store, "hq", "市民中心")
        await add_gateway(store, site_id, enrolled_ms=MONDAY_MS, last_seen_ms=MONDAY_MS)
        standing.now_ms = MONDAY_MS
        base = {
            "url": "https://collector.example:8443",
            "receivers": [
                {"kind": "webhook", "name": "platform", "url": "http://127.0.0.1:9/", "secret": "s" * 16}
            ],
        }
        checked = Settings.model_validate(base | settings)
        building = cls(store, standing, site_id, checked)
        building.restart()
        return building

    async def add_meter(
        self, load: Load = office, *, name: str = "1号楼总表", counters: int = 1, gauges: bool = False
    ) -> Meter:
        device = await add_device(self.store, self.site_id, name, period_s=900)
        meter = Meter(
            device=device,
            counters=[
                await add_point(self.store, self.site_id, device, f"energy_{n}_kwh", max_rate_per_h=1000.0)
                for n in range(counters)
            ],
            power=await self._gauge(device, "power_kw", "kW") if gauges else None,
            voltage=await self._gauge(device, "voltage_v", "V") if gauges else None,
            load=load,
        )
        self.meters.append(meter)
        return meter

    async def _gauge(self, device: int, name: str, unit: str) -> Point:
        return await add_point(
            self.store, self.site_id, device, name, kind="gauge", unit=unit, item_code=None
        )

    async def history(self, days: float) -> None:
        """Let days go by that nobody looked at until their end."""
        await self._read(round(days * DAY_MS))
        await self.work()

    async def live(self, hours: float) -> None:
        """Let hours go by, with the jobs at work after each."""
        for _ in range(round(hours)):
            await self._read(HOUR_MS)
            await self.work()

    async def lose(self, hours: float) -> None:
        """Let hours go by of which no reading is ever seen."""
        for meter in self.meters:
            self.readings(meter, self.now_ms, self.now_ms + round(hours * HOUR_MS))
        await self.silence(60 * hours)

    async def silence(self, minutes: float) -> None:
        """Let time go by in which nothing arrives."""
        self.now_ms += round(minutes * 60_000)
        self.standing.now_ms = self.now_ms
        await self.work()

    async def work(self) -> None:
        """One round of both jobs."""
        await EnergyJob(self.store, self.standing.clock).run_once()
        if self.restarts:
            self.restart()
        await self._job.run_once()

    async def _read(self, duration_ms: int) -> None:
        end_ms = self.now_ms + duration_ms
        for meter in self.meters:
            for point, samples in self.readings(meter, self.now_ms, end_ms).items():
                await add_readings(self.store, point, samples)
        async with self.store.write() as connection:
            await connection.execute(schema.gateway.update().values(last_seen_ms=end_ms))
        self.now_ms = end_ms
        self.standing.now_ms = end_ms + 5_000

    def readings(self, meter: Meter, start_ms: int, end_ms: int) -> dict[Point, list[Sample]]:
        """A reading every quarter of an hour, the last at `end_ms`."""
        found: dict[Point, list[Sample]] = {}
        for at_ms in range(start_ms + QUARTER_MS, end_ms + 1, QUARTER_MS):
            load = meter.load(at_ms - QUARTER_MS // 2) * (1 + 0.02 * self._random.standard_normal())
            meter.total += max(load, 0.0) / 4
            if meter.counts:
                meter.shown = meter.total
            if meter.answers_anew:
                meter.last = (load, 230 + self._random.standard_normal())
            for point in meter.counters:
                found.setdefault(point, []).append(Sample(at_ms, round(meter.shown, 2)))
            for gauge, value in ((meter.power, meter.last[0]), (meter.voltage, meter.last[1])):
                if gauge is not None:
                    found.setdefault(gauge, []).append(Sample(at_ms, round(value, 3)))
        return found

    async def rows(self, table: Any) -> list[Any]:
        async with self.store.read() as connection:
            return list((await connection.execute(select(table))).all())

    async def rows_of_alerts(self) -> list[Any]:
        return await self.rows(schema.alert)

    async def close_alert(self, alert_id: int) -> None:
        """As a person does."""
        async with self.store.write() as connection:
            await resolve(connection, self.site_id, alert_id, by="li", now_ms=self.standing.now_ms)

    def restart(self) -> None:
        """Begin anew with nothing but what is in the database."""
        self._job = InsightJob(
            self.store,
            self.standing.clock,
            self.settings,
            real_now_ms=self.standing.clock.now_ms,
        )

    async def alerts(self) -> list[tuple[str, str]]:
        """Condition and state of every alert there ever was."""
        return [(row.condition, row.state) for row in await self.rows(schema.alert)]
