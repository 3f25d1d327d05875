"""What the points of a profile show, found from their names and units.

A name is words joined by `_` with the unit at its end: `voltage_l1_v`, `power_total_kw`,
`energy_import_peak_kwh`. What no rule knows gets a plausible default:

- a word that is a parameter of the profile (`ct_ratio`): that parameter's value
- `settled`: what the counter of that unit showed at the start
- a counter starts anywhere and grows by 1 of its unit an hour; one in `1` counts once a minute
- a gauge wanders by 1 % around 40 % of the way from its `min` to its `max`, or around 1
- a state is 0
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from models.profile import Point
from simulators.electric import Consumer, Sample
from simulators.noise import chance, drift, key_of

_SIZES = {"": 1.0, "k": 1e3, "M": 1e6, "m": 1e-3}
_POWERS = {"W": "watts", "var": "vars", "VA": "volt_amperes"}
_KWH_UJ = 3_600_000_000_000
_ENERGY_UJ = {
    **{prefix + unit: _KWH_UJ * size // 1000
       for prefix, size in (("", 1), ("k", 1000), ("M", 1_000_000)) for unit in ("Wh", "varh", "VAh")},
    "kJ": 10**9, "MJ": 10**12, "GJ": 10**15,
}  # fmt: skip
_APPARENT_PER_ACTIVE = Fraction(105, 100)  # VAh per Wh, at a power factor of 0.95
_LITRES = {"L": 1, "m3": 1000}
_LITRES_PER_KWH = 20  # a building's water follows its people, and so does its electricity
_STEP_MS = {"s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "1": 60_000}

_EXPORT = {"export", "exported", "reverse", "returned"}
_HIGHEST = {"max", "maximum", "highest"}
_TARIFFS = {
    **{"sharp": 0, "spike": 0, "peak": 1, "flat": 2, "valley": 3},
    **{f"t{name}": number for names in ("1234", "abcd") for number, name in enumerate(names)},
}
_RATE = re.compile(r"(?<=_)rate_([a-d1-4])(?=_)")  # `rate_a`: no phase, but a tariff
_TARIFF_PARTS = (Fraction(15, 100), Fraction(30, 100), Fraction(35, 100), Fraction(20, 100))
_PHASES = {"a": 0, "b": 1, "c": 2, "l1": 0, "l2": 1, "l3": 2}
_PAIRS = {"ab": (0, 1), "bc": (1, 2), "ca": (2, 0), "l12": (0, 1), "l23": (1, 2), "l31": (2, 0)}


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value that comes and goes, in the unit of its point."""

    read: Callable[[Sample], float]


@dataclass(frozen=True, slots=True)
class Counter:
    """A value that adds up: `start` and `per_step` for each whole step since the origin, in its unit."""

    steps: Callable[[Sample], int]
    per_step: Fraction
    start: Fraction


@dataclass(frozen=True, slots=True)
class ClockFace:
    """Seconds since 1970 on the meter's own clock."""


Quantity = Gauge | Counter | ClockFace


def quantity_of(
    point: Point, consumer: Consumer, parameters: Mapping[str, float], *, seed_key: int
) -> Quantity:
    """What a point shows. See the top of the module for what it shows when its name tells nothing."""
    words = _RATE.sub(r"t\1", point.name).split("_")
    if len(words) > 1 and words[-1] == point.unit.lower():
        del words[-1]  # the "a" at the end of `current_l1_a` is no phase
    if point.kind == "counter":
        return _counter(point, set(words), consumer, seed_key)
    if point.unit == "s" and {"clock", "time", "timestamp"} & set(words):
        return ClockFace()
    if point.kind == "state":
        return Gauge(lambda sample: 0.0)
    if "settled" in words:
        settled = float(_counter(point, set(words), consumer, seed_key).start)
        return Gauge(lambda sample: settled)
    read = _electrical(point.unit, words, consumer)
    if read is not None:
        return Gauge(read)
    shown = next((value for name, value in parameters.items() if name in words), None)
    if shown is not None:
        return Gauge(lambda sample: shown)
    if "thd" in words:
        return _wandering(2.4 if "voltage" in words else 9.0, 0.1, point, seed_key)
    return _wandering(_middle(point), 0.01, point, seed_key)


def _electrical(unit: str, words: list[str], consumer: Consumer) -> Callable[[Sample], float] | None:
    """A reading of the sample in the unit; None when no rule fits."""
    prefix, base = "", unit
    if unit[:1] in _SIZES and unit[1:] in ("V", "A", "Hz", *_POWERS):
        prefix, base = unit[0], unit[1:]
    read = _in_base_unit(base, words, consumer)
    if read is None or not prefix:
        return read
    size = _SIZES[prefix]
    return lambda sample: read(sample) / size


def _in_base_unit(base: str, words: list[str], consumer: Consumer) -> Callable[[Sample], float] | None:
    known = set(words)
    phases = [_PHASES[word] for word in words if word in _PHASES]
    phase = phases[0] if phases else None
    if base == "V":
        return _voltage(known, phases)
    if base == "A":
        if known & {"n", "neutral"}:
            return _neutral_current
        return _of_phases("amperes", phase, math.fsum if known & {"total", "sum"} else _mean)
    if base == "W" and "demand" in known:
        highest_w = consumer.load.typical_mw * 1.25 / 1000
        return (lambda sample: highest_w) if known & _HIGHEST else lambda sample: sample.demand_w
    if base in _POWERS:
        return _of_phases(_POWERS[base], phase, math.fsum)
    if base == "Hz":
        return lambda sample: sample.hertz
    if known & {"pf", "cosphi"} or {"power", "factor"} <= known:
        return _power_factor(phase)
    if base in ("°", "deg") and "angle" in known:
        return lambda sample: math.degrees(math.atan2(math.fsum(sample.vars), math.fsum(sample.watts)))
    return None


def _of_phases(
    what: str, phase: int | None, combine: Callable[[tuple[float, ...]], float]
) -> Callable[[Sample], float]:
    if phase is None:
        return lambda sample: combine(getattr(sample, what))
    return lambda sample: float(getattr(sample, what)[phase])


def _mean(values: tuple[float, ...]) -> float:
    return math.fsum(values) / len(values)


def _voltage(known: set[str], phases: list[int]) -> Callable[[Sample], float]:
    """Between a phase and neutral, between two phases (named as `l1_l2`, `l12` or `ab`), or the mean."""
    pair = next((_PAIRS[word] for word in known if word in _PAIRS), None)
    if len(phases) == 2:
        pair = (phases[0], phases[1])
    if pair is not None:
        first, second = pair
        return lambda sample: _between(sample.volts[first], sample.volts[second])
    if known & {"ll", "line"}:
        return lambda sample: math.sqrt(3) * _mean(sample.volts)
    return _of_phases("volts", phases[0] if phases else None, _mean)


def _between(a: float, b: float) -> float:
    """The voltage between two phases 120 degrees apart."""
    return math.sqrt(a * a + b * b + a * b)


def _neutral_current(sample: Sample) -> float:
    a, b, c = sample.amperes
    return math.sqrt(max(0.0, a * a + b * b + c * c - a * b - b * c - c * a))


def _power_factor(phase: int | None) -> Callable[[Sample], float]:
    if phase is None:
        return lambda sample: math.fsum(sample.watts) / (math.fsum(sample.volt_amperes) or 1.0)
    return lambda sample: sample.watts[phase] / (sample.volt_amperes[phase] or 1.0)


def _counter(point: Point, known: set[str], consumer: Consumer, seed_key: int) -> Counter:
    age_kwh = Fraction(round(20_000 + 580_000 * chance(seed_key, 7)), 10)  # one age for all its registers
    if point.unit in _ENERGY_UJ:
        return _energy(point.unit, known, consumer, age_kwh)
    if point.unit in _LITRES:
        per_uj = Fraction(_LITRES_PER_KWH, _KWH_UJ * _LITRES[point.unit])
        return Counter(lambda sample: sample.active_uj[0], per_uj, age_kwh / _LITRES[point.unit])
    start = Fraction(round(1000 * chance(key_of(seed_key, point.name), 8)))
    step_ms = _STEP_MS.get(point.unit, 3_600_000)
    return Counter(lambda sample: sample.since_origin_ms, Fraction(1, step_ms), start)


def _energy(unit: str, known: set[str], consumer: Consumer, age_kwh: Fraction) -> Counter:
    per_uj = Fraction(1, _ENERGY_UJ[unit])
    age = age_kwh * _KWH_UJ * per_uj
    phase = next((_PHASES[word] for word in sorted(known) if word in _PHASES), None)
    if known & _EXPORT:  # nobody feeds in
        return Counter(lambda sample: 0, per_uj, Fraction(0))
    if unit.endswith("varh"):
        if phase is None:
            return Counter(lambda sample: sum(sample.reactive_uj), per_uj, age * Fraction(3, 10))
        return Counter(lambda sample: sample.reactive_uj[phase], per_uj, age * Fraction(1, 10))
    if unit.endswith("VAh"):
        per_uj, age = per_uj * _APPARENT_PER_ACTIVE, age * _APPARENT_PER_ACTIVE
    tariff = next((_TARIFFS[word] for word in sorted(known) if word in _TARIFFS), None)
    if tariff is not None:
        return Counter(lambda sample: sample.active_uj[1 + tariff], per_uj, age * _TARIFF_PARTS[tariff])
    if phase is not None:
        share = Fraction(consumer.share_milli[phase], 1000)
        return Counter(lambda sample: sample.active_uj[0], per_uj * share, age * share)
    return Counter(lambda sample: sample.active_uj[0], per_uj, age)


def _middle(point: Point) -> float:
    low, high = point.min, point.max
    if low is not None and high is not None:
        return low + 0.4 * (high - low)
    return low if low is not None else high if high is not None else 1.0


def _wandering(around: float, part: float, point: Point, seed_key: int) -> Gauge:
    key = key_of(seed_key, point.name)
    return Gauge(lambda sample: around * (1.0 + part * drift(key, sample.at_ms, 60_000)))
