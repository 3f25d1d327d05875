"""A town with a town hall and a school, as a collector knows it after some weeks."""

import math
from dataclasses import dataclass
from typing import Any

from collector.web.overview import midnight
from models.times import DAY_MS, HOUR_MS, hour_of
from tests.support.collector_world import World

ZONE = "Asia/Shanghai"

EXCESS: dict[str, Any] = {
    "title": {"zh": "1号楼总表夜间用电异常偏高", "en": "Building 1 main meter: unusually high use at night"},
    "text": {
        "zh": "01:00 至 05:00 用电 182.4 kWh，同一时段通常为 61.0 kWh。请检查是否有设备未关闭。",
        "en": "182.4 kWh from 01:00 to 05:00, usually 61.0 kWh at these hours. Was something left on?",
    },
    "point": "energy_import_kwh",
    "expected": 61.0,
    "seen": 182.4,
    "excess": 121.4,
    "unit": "kWh",
    "kgce": 14.92,
    "co2": 64.41,
    "factors": "kgce 0.1229 per kWh: GB/T 2589; co2 0.5306 per kWh: national average grid factor 2023",
}
STUCK: dict[str, Any] = {
    "title": {"zh": "食堂水表停走", "en": "Canteen water meter has stopped counting"},
    "text": {"zh": "读数 26 小时没有变化。", "en": "Its reading has not changed for 26 h."},
}
SILENT: dict[str, Any] = {
    "title": {"zh": "网关“实验小学”失联", "en": "Gateway “实验小学” is silent"},
    "text": {"zh": "最近一批数据在 3 小时前到达。", "en": "Its last batch came 3 h ago."},
}


@dataclass(frozen=True, slots=True)
class Town:
    hall: int
    school: int
    meter: int  # number of the main meter
    power: int  # number of its power point
    energy: int
    evil: int  # number of the device that was named to do harm


async def build_town(world: World) -> Town:
    now_ms = world.now_ms
    hall = await world.site("hall", "市民中心", ZONE)
    school = await world.site("school", "实验小学", ZONE)
    await world.gateway(hall, "gw-4f1d2c9a7b30", "配电室网关", last_seen_ms=now_ms - 4000)
    await world.gateway(
        hall, "gw-77aa01b2c3d4", "食堂网关", last_seen_ms=now_ms - 11_000, clock_skew_ms=42_000
    )
    await world.gateway(school, "gw-90ff00e1d2c3", "实验小学", last_seen_ms=now_ms - 3 * HOUR_MS)
    await world.gateway(school, "gw-0000000000aa", "体育馆网关", last_seen_ms=None)

    meter = await world.device(hall, "gw-4f1d2c9a7b30", "meter-01", "1号楼总表")
    gauge, counter = {"kind": "gauge"}, {"kind": "counter"}
    power = await world.point(hall, meter, "active_power_kw", "kW", decimals=2, **gauge)
    energy = await world.point(
        hall, meter, "energy_import_kwh", "kWh", decimals=2, item_code="01000", **counter
    )
    voltages = [
        await world.point(hall, meter, f"voltage_l{n}_v", "V", decimals=1, **gauge) for n in (1, 2, 3)
    ]
    currents = [
        await world.point(hall, meter, f"current_l{n}_a", "A", decimals=2, **gauge) for n in (1, 2, 3)
    ]
    factor = await world.point(hall, meter, "power_factor", "", decimals=3, **gauge)
    await world.latest(hall, power, 118.42)
    await world.latest(hall, energy, 48213.25)
    for point_id, value in zip(voltages, (229.8, 231.4, 230.6), strict=True):
        await world.latest(hall, point_id, value)
    await world.latest(hall, currents[0], 171.3)
    await world.latest(hall, currents[1], 912.0, quality=1, reason=7)
    await world.latest(hall, currents[2], None, quality=2, reason=1)
    await world.latest(hall, factor, 0.947)

    water = await world.device(hall, "gw-77aa01b2c3d4", "water-01", "食堂水表", period_s=300)
    volume = await world.point(hall, water, "volume_m3", "m3", decimals=3, item_code="02000", **counter)
    await world.latest(hall, volume, 1820.514)
    for number in range(2, 8):
        device = await world.device(hall, "gw-4f1d2c9a7b30", f"meter-{number:02}", f"{number}号楼照明插座")
        floor_power = await world.point(hall, device, "active_power_kw", "kW", decimals=2, **gauge)
        floor_energy = await world.point(
            hall, device, "energy_import_kwh", "kWh", decimals=2, item_code="01A00", **counter
        )
        await world.latest(hall, floor_power, 3.1 * number)
        await world.latest(hall, floor_energy, 812.4 * number)
    evil = await world.device(school, "gw-90ff00e1d2c3", "x'\"><b>", "<script>alert(1)</script>")
    evil_point = await world.point(school, evil, "<img src=x onerror=alert(2)>", "<u>", **gauge)
    await world.latest(school, evil_point, 1.0, measured_ms=now_ms - 3 * HOUR_MS)

    await _hours(world, hall, energy, volume, now_ms)
    await _power(world, hall, power, now_ms)

    excess_at_ms = midnight(now_ms, ZONE) + HOUR_MS
    await world.alert(hall, f"consumption:device:{meter}", EXCESS, severity="warning", opened_ms=excess_at_ms)
    await world.alert(school, "silent:gateway:gw-90ff00e1d2c3", SILENT, severity="critical")
    await world.alert(
        hall,
        f"stuck:device:{water}",
        STUCK,
        state="acknowledged",
        acknowledged_by="后勤值班",
        acknowledged_ms=now_ms - HOUR_MS,
        by="后勤值班",
    )
    await world.alert(
        hall,
        "silent:gateway:gw-4f1d2c9a7b30",
        {
            "title": {"zh": "网关“配电室网关”失联", "en": "Gateway “配电室网关” is silent"},
            "text": {"zh": "", "en": ""},
        },
        state="resolved",
        severity="critical",
        opened_ms=now_ms - 9 * DAY_MS,
        resolved_by="recovered",
        resolved_ms=now_ms - 9 * DAY_MS + HOUR_MS,
        by="recovered",
    )
    return Town(hall, school, meter, power, energy, evil)


async def _hours(world: World, site: int, energy: int, volume: int, now_ms: int) -> None:
    first_ms = midnight(now_ms - 6 * DAY_MS, ZONE)
    last_ms = hour_of(now_ms)
    energy_bars: list[tuple[float | None, float, str] | None] = []
    water_bars: list[tuple[float | None, float, str] | None] = []
    for hour_ms in range(first_ms, last_ms, HOUR_MS):
        hour = (hour_ms - first_ms) // HOUR_MS % 24
        use = 22 + 75 * max(0.0, math.sin((hour - 5) / 16 * math.pi)) + 6 * math.sin(hour_ms / 1e7)
        today = hour_ms >= midnight(now_ms, ZONE)
        if today and 1 <= hour < 5:
            energy_bars.append((use + 28, 1.0, "measured"))
        elif today and hour in (9, 10):
            energy_bars.append((None, 0.0, "missing"))
        elif today and hour in (11, 12, 13):
            energy_bars.append((use, 0.0, "estimated"))
        elif today and hour == 14:
            energy_bars.append((use * 0.7, 0.62, "measured"))
        elif today and hour == 16:
            energy_bars.append((use * 0.45, 0.4, "suspect"))
        else:
            energy_bars.append((use, 1.0, "measured"))
        water_bars.append((0.4 + 1.8 * max(0.0, math.sin((hour - 4) / 16 * math.pi)), 1.0, "measured"))
    await world.hours(site, energy, first_ms, energy_bars)
    await world.hours(site, volume, first_ms, water_bars)


async def _power(world: World, site: int, power: int, now_ms: int) -> None:
    values: list[tuple[int, float | None]] = []
    for measured_ms in range(now_ms - DAY_MS, now_ms, 60_000):
        age_h = (now_ms - measured_ms) / HOUR_MS
        if 10 < age_h < 12:
            continue  # a gap without any reading
        value = 70 + 45 * math.sin(measured_ms / 9e6) + 8 * math.sin(measured_ms / 6e5)
        values.append((measured_ms, None if 5 < age_h < 5.5 else value))
    await world.readings(site, power, values)
    await world.envelope(site, 1, 1, 1, len(values))
