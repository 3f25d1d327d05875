"""What a meter shows, in its own resolution, and what its anomalies do to that."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.profile import load_profile
from models.times import DAY_MS
from simulators.anomalies import Excess, Jump, Restart, Rollover, Stuck, WrongTime
from simulators.metered import AnomalyMistake
from simulators.modbus.frames import ILLEGAL_ADDRESS, Read
from simulators.modbus.image import Shape
from simulators.modbus.meter import ModbusMeter
from tests.support.clocks import START_MS, VirtualClock

HOUR_MS = 3_600_000
HOUR_S = 3600
ENERGIES = (
    ("energy_import_kwh", 0.01),
    ("energy_total_kwh", 0.01),
    ("energy_import_wh", 1.0),
    ("energy_sharp_kwh", 0.01),
    ("energy_valley_kwh", 0.01),
)
Making = Callable[..., ModbusMeter]


def shown(meter: ModbusMeter, name: str, at_ms: int) -> float:
    value = meter.display(at_ms)[name]
    assert value is not None
    return value


def content(meter: ModbusMeter, read: Read, at_ms: int = START_MS) -> tuple[bytes, list[float | None]]:
    shape = meter.shape(read)
    assert isinstance(shape, Shape)
    return meter.content(read, shape, at_ms)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    one=st.integers(START_MS, START_MS + 9 * DAY_MS),
    other=st.integers(START_MS, START_MS + 9 * DAY_MS),
    seed_name=st.sampled_from(["m-01", "m-02", "m-03"]),
)
def test_a_counter_shows_the_used_energy_to_within_its_resolution(
    a_meter: Making, one: int, other: int, seed_name: str
) -> None:
    meter = a_meter(seed_name)
    start_ms, end_ms = sorted((one, other))
    used_kwh = (meter.load.energy_uj(end_ms)[0] - meter.load.energy_uj(start_ms)[0]) / 3.6e12
    for name, resolution in ENERGIES[:3]:
        size = 1000 if name.endswith("_wh") else 1
        difference = shown(meter, name, end_ms) - shown(meter, name, start_ms)
        step = max(resolution, 0.0079) if name == "energy_import_kwh" else resolution  # a float32 near 65 000
        assert abs(difference - used_kwh * size) <= 2 * step + 1e-6


def test_a_counter_never_falls_and_a_gauge_lives(a_meter: Making) -> None:
    meter = a_meter()
    moments = range(START_MS, START_MS + 2 * DAY_MS, 977_000)
    for name, _ in ENERGIES:
        values = [shown(meter, name, at_ms) for at_ms in moments]
        assert values == sorted(values)
    assert len({shown(meter, "voltage_l1_v", at_ms) for at_ms in moments}) > 50


def test_it_does_not_matter_who_read_it_before(a_meter: Making) -> None:
    busy, quiet = a_meter(), a_meter()
    for at_ms in range(START_MS, START_MS + DAY_MS, 1_234_567):
        busy.display(at_ms)
    assert busy.display(START_MS + DAY_MS) == quiet.display(START_MS + DAY_MS)


def test_registers_hold_what_a_person_reads_off(a_meter: Making) -> None:
    meter = a_meter()
    display = meter.display(START_MS)
    held, values = content(meter, Read("holding", 0, 17))
    assert int.from_bytes(held[0:4], "big") == round((display["energy_total_kwh"] or 0) * 100)
    low_first = held[22:24] + held[20:22]  # the word of the high digits comes second
    assert int(low_first.hex()) == round((display["energy_small_kwh"] or 0) * 100)
    assert int.from_bytes(held[24:32], "big") == display["energy_import_wh"]
    assert int.from_bytes(held[32:34], "little") == round((display["voltage_av_v"] or 0) * 10)
    assert values == [
        display[name]
        for name in (
            "energy_total_kwh",
            "energy_sharp_kwh",
            "energy_peak_kwh",
            "energy_flat_kwh",
            "energy_valley_kwh",
            "energy_small_kwh",
            "energy_import_wh",
            "voltage_av_v",
        )
    ]


def test_a_read_that_cuts_a_value_carries_its_half_but_shows_no_value(a_meter: Making) -> None:
    meter = a_meter()
    whole, _ = content(meter, Read("input", 0, 4))
    part, values = content(meter, Read("input", 1, 3))
    assert part == whole[2:]
    assert values == [meter.display(START_MS)["voltage_l2_v"]]


@pytest.mark.parametrize(
    ("read", "gaps", "allowed"),
    [
        pytest.param(Read("input", 0, 8), "as_profile", True, id="mapped"),
        pytest.param(Read("input", 0, 14), "as_profile", True, id="over a gap that the profile bridges"),
        pytest.param(Read("input", 0, 14), "refused", False, id="over a gap, on a strict meter"),
        pytest.param(Read("holding", 20, 11), "as_profile", False, id="over a gap too wide to bridge"),
        pytest.param(Read("holding", 20, 11), "zero", True, id="over a wide gap that reads as zero"),
        pytest.param(Read("input", 16, 6), "zero", False, id="over forbidden registers"),
        pytest.param(Read("input", 0x17, 2), "as_profile", False, id="beyond the last"),
        pytest.param(Read("coil", 5, 1), "as_profile", True, id="a coil"),
        pytest.param(Read("discrete", 5, 1), "as_profile", False, id="the same number in another table"),
    ],
)
def test_what_is_not_mapped_cannot_be_read(a_meter: Making, read: Read, gaps: str, allowed: bool) -> None:
    shape = a_meter(gaps=gaps).shape(read)
    assert isinstance(shape, Shape) if allowed else shape == ILLEGAL_ADDRESS


def test_a_bridged_gap_reads_as_zero(a_meter: Making) -> None:
    held, values = content(a_meter(), Read("input", 8, 4))
    assert (held, values) == (bytes(8), [])


def test_transformer_ratios_divide_what_the_registers_hold(a_meter: Making) -> None:
    plain, behind_transformers = a_meter(), a_meter(parameters={"ct": 20})
    at_ms = START_MS + DAY_MS
    raw = int.from_bytes(content(behind_transformers, Read("holding", 0, 2), at_ms)[0], "big")
    value = shown(behind_transformers, "energy_total_kwh", at_ms)
    assert value == pytest.approx(raw * 0.01 * 20)
    assert value == pytest.approx(shown(plain, "energy_total_kwh", at_ms), abs=0.2)  # one secondary count
    assert shown(behind_transformers, "ct_ratio", at_ms) == 20


def test_a_counter_begins_again_at_its_modulus(a_meter: Making) -> None:
    meter = a_meter()
    small = [shown(meter, "energy_small_kwh", START_MS + n * HOUR_MS) for n in range(48)]
    large = [shown(meter, "energy_total_kwh", START_MS + n * HOUR_MS) for n in range(48)]
    assert all(value < 1000 for value in small)
    assert any(after < before for before, after in pairwise(small))
    for small_value, large_value in zip(small, large, strict=True):
        assert small_value == pytest.approx(large_value % 1000)


def test_excess_raises_the_power_and_what_is_used_from_its_start_on(a_meter: Making) -> None:
    usual, raised = a_meter(), a_meter()
    raised.begin(Excess(kind="excess", after_ms=DAY_MS, for_ms=DAY_MS, factor=2.0))
    for at_ms, factor in (
        (START_MS + HOUR_MS, 1),
        (START_MS + DAY_MS + HOUR_MS, 2),
        (START_MS + 3 * DAY_MS, 1),
    ):
        assert shown(raised, "power_total_kw", at_ms) == pytest.approx(
            factor * shown(usual, "power_total_kw", at_ms), rel=1e-3
        )
    used = [
        shown(meter, "energy_total_kwh", START_MS + 3 * DAY_MS) - shown(meter, "energy_total_kwh", START_MS)
        for meter in (raised, usual)
    ]
    day = shown(usual, "energy_total_kwh", START_MS + 2 * DAY_MS) - shown(
        usual, "energy_total_kwh", START_MS + DAY_MS
    )
    assert used[0] - used[1] == pytest.approx(day, rel=0.01)


def test_a_stuck_meter_repeats_itself_and_then_tells_what_it_missed(a_meter: Making) -> None:
    usual, stuck = a_meter(), a_meter()
    stuck.begin(Stuck(kind="stuck", after_ms=DAY_MS, for_ms=DAY_MS))
    start = stuck.display(START_MS + DAY_MS)
    assert start == usual.display(START_MS + DAY_MS)
    assert stuck.display(START_MS + 2 * DAY_MS - 1) == start
    assert stuck.display(START_MS + 2 * DAY_MS) == usual.display(START_MS + 2 * DAY_MS)


@pytest.mark.parametrize("kind", ["reset", "replaced"])
def test_counters_begin_again_where_they_are_told(a_meter: Making, kind: str) -> None:
    meter = a_meter()
    meter.begin(Restart.model_validate({"kind": kind, "after_ms": DAY_MS, "start": 120.5}))
    before, at, later = (
        shown(meter, "energy_total_kwh", START_MS + n) for n in (DAY_MS - 1, DAY_MS, 2 * DAY_MS)
    )
    assert before > 1000
    assert at == 120.5
    used_kwh = (
        meter.load.energy_uj(START_MS + 2 * DAY_MS)[0] - meter.load.energy_uj(START_MS + DAY_MS)[0]
    ) / 3.6e12
    assert later == pytest.approx(120.5 + used_kwh, abs=0.02)


def test_a_restart_knows_of_a_load_that_came_after_it_was_planned(a_meter: Making) -> None:
    meter = a_meter()
    meter.begin(Restart(kind="reset", after_ms=DAY_MS))
    meter.begin(Excess(kind="excess", after_ms=0, extra_kw=100.0))
    assert shown(meter, "energy_total_kwh", START_MS + DAY_MS) == 0


def test_a_rollover_happens_on_time_and_without_a_jump_before(a_meter: Making) -> None:
    meter = a_meter()
    meter.begin(Rollover(kind="rollover", after_ms=DAY_MS))
    meter.begin(Excess(kind="excess", after_ms=HOUR_MS, extra_kw=3.0))
    at_ms = START_MS + DAY_MS
    minute_kwh = 0.3  # at most: the load and the excess
    for name, modulus in (("energy_total_kwh", 42_949_672.96), ("energy_small_kwh", 1000.0)):
        assert modulus - minute_kwh < shown(meter, name, at_ms - 60_000) < modulus
        assert shown(meter, name, at_ms) == 0
    used_kwh = meter.load.energy_uj(at_ms)[0] / 3.6e12
    assert shown(meter, "energy_total_kwh", START_MS) == pytest.approx(42_949_672.96 - used_kwh, abs=0.02)


async def test_a_meter_that_was_read_takes_no_rollover_back_in_time(
    a_meter: Making, virtual_clock: VirtualClock
) -> None:
    meter = a_meter()
    await virtual_clock.advance(HOUR_S)
    meter.begin(Rollover(kind="rollover", after_ms=DAY_MS))  # nobody has looked yet
    meter.display(virtual_clock.now_ms())
    with pytest.raises(AnomalyMistake, match="were read"):
        meter.begin(Rollover(kind="rollover", after_ms=DAY_MS))


def test_a_profile_without_such_a_counter_cannot_roll_over(a_meter: Making) -> None:
    text = """
profile: plain
version: "1"
title: Only a float
family: modbus
verified: true
source: made for this test
modbus: {}
points:
  - {name: energy_import_kwh, unit: kWh, kind: counter, table: input, address: 0, type: float32}
"""
    with pytest.raises(AnomalyMistake, match="rolls over"):
        a_meter(profile=load_profile(text, "plain")).begin(Rollover(kind="rollover", after_ms=DAY_MS))


def test_a_wrong_clock_is_off_and_nothing_else_is(a_meter: Making) -> None:
    usual, off = a_meter(), a_meter()
    off.begin(WrongTime(kind="wrong_time", after_ms=0, for_ms=DAY_MS, seconds=-300))
    at_ms = START_MS + HOUR_MS
    assert shown(usual, "clock_s", at_ms) == at_ms // 1000
    assert off.display(at_ms) == {**usual.display(at_ms), "clock_s": at_ms // 1000 - 300}


def test_a_jump_lifts_the_named_points_while_it_lasts(a_meter: Making) -> None:
    usual, jumping = a_meter(), a_meter()
    names = ("energy_total_kwh", "voltage_l1_v")
    jumping.begin(Jump(kind="jump", after_ms=HOUR_MS, for_ms=HOUR_MS, points=names, by=50.0))
    for hours, by in ((0, 0.0), (1, 50.0), (2, 0.0)):
        at_ms = START_MS + hours * HOUR_MS
        expected = usual.display(at_ms)
        for name in names:
            expected[name] = (expected[name] or 0) + by
        assert jumping.display(at_ms) == pytest.approx(expected)
    with pytest.raises(AnomalyMistake, match="did you mean 'voltage_l1_v'"):
        jumping.begin(Jump(kind="jump", points=("voltage_l1",), by=1.0))


async def test_what_begins_while_it_is_read_changes_nothing_that_was_shown(
    a_meter: Making, virtual_clock: VirtualClock
) -> None:
    usual, meter = a_meter(), a_meter()
    await virtual_clock.advance(24 * HOUR_S)
    seen = meter.display(virtual_clock.now_ms())
    active = meter.begin(Excess(kind="excess", after_ms=0, extra_kw=10.0))
    assert meter.display(virtual_clock.now_ms()) == seen
    await virtual_clock.advance(10 * HOUR_S)
    meter.end(active)
    meter.end(active)
    now_ms = virtual_clock.now_ms()
    more = shown(meter, "energy_total_kwh", now_ms) - shown(usual, "energy_total_kwh", now_ms)
    assert more == pytest.approx(100.0, rel=0.02)
    later_ms = now_ms + DAY_MS
    assert shown(meter, "energy_total_kwh", later_ms) - shown(
        usual, "energy_total_kwh", later_ms
    ) == pytest.approx(more, abs=1.0)


def test_a_sentinel_is_no_value(a_meter: Making) -> None:
    text = """
profile: silent
version: "1"
title: Says that it has no value
family: modbus
verified: true
source: made for this test
modbus: {}
points:
  - {name: oil_level_pct, unit: "%", kind: gauge, table: input, address: 0, type: uint16, decimals: 0,
     sentinels: [65535], min: 200000, max: 300000}
"""
    meter = a_meter(profile=load_profile(text, "silent"))
    assert meter.display(START_MS) == {"oil_level_pct": None}


def test_a_point_over_the_registers_of_another_shows_what_is_in_them(a_meter: Making) -> None:
    text = """
profile: layered
version: "1"
title: One counter, read in two ways
family: modbus
verified: true
source: made for this test
modbus: {}
points:
  - {name: energy_import_wh, unit: Wh, kind: counter, table: input, address: 0, type: uint32, decimals: 0}
  - {name: energy_low_word, unit: "1", kind: gauge, table: input, address: 1, type: uint16, decimals: 0,
     shares_registers: true}
"""
    meter = a_meter(profile=load_profile(text, "layered"))
    held, values = content(meter, Read("input", 0, 2))
    assert values == [int.from_bytes(held, "big"), int.from_bytes(held[2:], "big")]
    assert meter.display(START_MS) == dict(zip(("energy_import_wh", "energy_low_word"), values, strict=True))
