"""Points get sensible values from their names and units alone."""

import math

import pytest

from models.profile.modbus import ModbusPoint
from models.times import DAY_MS
from simulators.building import Building
from simulators.electric import Consumer, Sample
from simulators.load import Load
from simulators.quantities import ClockFace, Counter, Gauge, quantity_of
from tests.support.clocks import START_MS

NOON_MS = START_MS + 2 * DAY_MS - 10 * 3_600_000  # a working day, half past eleven
BUILDING = Building(seed=7)
CONSUMER = Consumer(BUILDING, Load(BUILDING, name="m", kw=30.0, origin_ms=START_MS), name="m")
SAMPLE = CONSUMER.sample(NOON_MS)


def a_point(name: str, unit: str, kind: str = "gauge", **more: object) -> ModbusPoint:
    place: dict[str, object] = {"table": "input", "address": 0, "type": "float32"}
    return ModbusPoint.model_validate({"name": name, "unit": unit, "kind": kind, **place, **more})


def gauge(name: str, unit: str, sample: Sample = SAMPLE) -> float:
    quantity = quantity_of(a_point(name, unit), CONSUMER, {"ct": 20.0}, seed_key=1)
    assert isinstance(quantity, Gauge)
    return quantity.read(sample)


def used(name: str, unit: str, start_ms: int, end_ms: int) -> float:
    quantity = quantity_of(a_point(name, unit, "counter"), CONSUMER, {}, seed_key=1)
    assert isinstance(quantity, Counter)
    steps = quantity.steps(CONSUMER.sample(end_ms)) - quantity.steps(CONSUMER.sample(start_ms))
    return float(steps * quantity.per_step)


@pytest.mark.parametrize(
    ("name", "unit", "low", "high"),
    [
        ("voltage_l1_v", "V", 222, 236),
        ("voltage_a_v", "V", 222, 236),
        ("voltage_v", "V", 222, 236),
        ("voltage_l1_l2_v", "V", 385, 409),
        ("voltage_l12_v", "V", 385, 409),
        ("voltage_l1_l2_kv", "kV", 0.385, 0.409),
        ("current_l1_a", "A", 30, 60),
        ("current_a", "A", 30, 60),
        ("current_n_a", "A", 0.1, 20),
        ("current_l1_ma", "mA", 30_000, 60_000),
        ("power_l3_w", "W", 7_000, 14_000),
        ("power_total_kw", "kW", 25, 35),
        ("active_power_kw", "kW", 25, 35),
        ("power_demand_w", "W", 25_000, 35_000),
        ("power_demand_max_w", "W", 37_000, 38_000),
        ("reactive_power_total_kvar", "kvar", 5, 14),
        ("apparent_power_total_va", "VA", 26_000, 37_000),
        ("power_factor", "1", 0.9, 0.99),
        ("power_factor_l2", "1", 0.9, 0.99),
        ("frequency_hz", "Hz", 49.9, 50.1),
        ("voltage_l1_thd_pct", "%", 2, 3),
        ("ct_ratio", "1", 20, 20),
        ("phase_angle", "°", 10, 25),
    ],
)
def test_a_name_and_a_unit_make_a_plausible_value(name: str, unit: str, low: float, high: float) -> None:
    assert low <= gauge(name, unit) <= high


def test_what_no_rule_knows_lies_inside_its_range() -> None:
    level = a_point("oil_level_pct", "%", min=0, max=100)
    door = a_point("door_contact", "", "state")
    for point, low, high in ((level, 35, 45), (door, 0, 0)):
        quantity = quantity_of(point, CONSUMER, {}, seed_key=1)
        assert isinstance(quantity, Gauge)
        assert low <= quantity.read(SAMPLE) <= high


def test_the_phases_add_up_and_agree_with_each_other() -> None:
    watts = [gauge(f"power_l{n}_w", "W") for n in (1, 2, 3)]
    assert math.fsum(watts) == pytest.approx(gauge("power_total_w", "W"))
    for n in (1, 2, 3):
        volt_amperes = gauge(f"voltage_l{n}_v", "V") * gauge(f"current_l{n}_a", "A")
        assert volt_amperes * gauge(f"power_factor_l{n}", "1") == pytest.approx(watts[n - 1])
    assert len({round(w) for w in watts}) == 3  # a real building has no balance


@pytest.mark.parametrize(
    ("power", "power_unit", "energy", "energy_unit"),
    [
        ("power_total_kw", "kW", "energy_import_kwh", "kWh"),
        ("power_total_kw", "kW", "energy_total_wh", "Wh"),
        ("power_l2_kw", "kW", "energy_import_l2_kwh", "kWh"),
        ("reactive_power_total_kvar", "kvar", "reactive_energy_import_kvarh", "kvarh"),
        ("reactive_power_l3_kvar", "kvar", "reactive_energy_l3_kvarh", "kvarh"),
    ],
)
def test_a_counter_follows_the_power_beside_it(
    power: str, power_unit: str, energy: str, energy_unit: str
) -> None:
    hour_ms, step_ms = 3_600_000, 10_000
    summed = 0.0
    for at_ms in range(NOON_MS, NOON_MS + hour_ms, step_ms):  # by the middle of each step
        summed += gauge(power, power_unit, CONSUMER.sample(at_ms + step_ms // 2)) * step_ms / hour_ms
    size = 1000 if energy_unit == "Wh" else 1
    assert used(energy, energy_unit, NOON_MS, NOON_MS + hour_ms) / size == pytest.approx(summed, rel=1e-6)


def test_tariffs_add_up_and_nothing_is_fed_in() -> None:
    end_ms = NOON_MS + 3 * DAY_MS
    parts = [used(f"energy_{t}_kwh", "kWh", NOON_MS, end_ms) for t in ("sharp", "peak", "flat", "valley")]
    assert all(part > 0 for part in parts)
    assert math.fsum(parts) == pytest.approx(used("energy_import_kwh", "kWh", NOON_MS, end_ms))
    assert used("energy_export_kwh", "kWh", NOON_MS, end_ms) == 0


def test_water_follows_the_people_and_a_clock_is_a_clock() -> None:
    assert used("volume_m3", "m3", NOON_MS, NOON_MS + DAY_MS) == pytest.approx(
        used("energy_import_kwh", "kWh", NOON_MS, NOON_MS + DAY_MS) * 0.02
    )
    assert used("running_time_h", "h", NOON_MS, NOON_MS + DAY_MS) == 24
    assert quantity_of(a_point("clock_s", "s"), CONSUMER, {}, seed_key=1) == ClockFace()
