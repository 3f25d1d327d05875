"""One metered load on three phases: power, voltage, current and what has been used, at any moment.

The shares of the phases and their reactive parts are constant, so that each phase's energy, too, is the
exact integral of its power.
"""

import math
from dataclasses import dataclass

from simulators.building import Building
from simulators.load import Load
from simulators.noise import key_of, swing

DEMAND_MS = 900_000  # a demand is the mean power of the last quarter of an hour
_FEED_DROP = 0.015  # of the voltage, on the way to a load that draws its typical power

Phases = tuple[float, float, float]


@dataclass(slots=True, frozen=True)
class Sample:
    """What a perfect instrument would see at one moment."""

    at_ms: int
    since_origin_ms: int
    volts: Phases
    amperes: Phases
    watts: Phases
    vars: Phases
    volt_amperes: Phases
    hertz: float
    demand_w: float
    active_uj: tuple[int, int, int, int, int]  # since the origin: in all, then by tariff
    reactive_uj: tuple[int, int, int]  # by phase


class Consumer:
    """A load with its imbalance and its reactive part. The power factor falls when the load does."""

    def __init__(self, building: Building, load: Load, *, name: str, ratio_pt: float = 1.0) -> None:
        self._building, self.load, self._ratio_pt = building, load, ratio_pt
        key = key_of(building.seed, "consumer", name)
        first, second = (333 + round(45 * swing(key, n)) for n in (1, 2))
        self.share_milli = (first, second, 1000 - first - second)
        self.tan_milli = tuple(260 + round(60 * swing(key, n)) for n in (3, 4, 5))
        self.idle_mvar = load.typical_mw // 75  # magnetising, in each phase: drawn day and night

    def sample(self, at_ms: int) -> Sample:
        building, load = self._building, self.load
        power_mw = load.power_mw(at_ms)
        a, b, c = self.share_milli
        watts = (power_mw * a / 1e6, power_mw * b / 1e6, power_mw * c / 1e6)
        idle, (d, e, f) = self.idle_mvar / 1000, self.tan_milli
        reactive = (watts[0] * d / 1000 + idle, watts[1] * e / 1000 + idle, watts[2] * f / 1000 + idle)
        apparent = (
            math.hypot(watts[0], reactive[0]),
            math.hypot(watts[1], reactive[1]),
            math.hypot(watts[2], reactive[2]),
        )
        feed = self._ratio_pt * (1 - _FEED_DROP * power_mw / max(1, load.typical_mw))
        u, v, w = building.supply(at_ms)
        volts = (u * feed, v * feed, w * feed)
        since_origin_ms = max(0, at_ms - load.origin_ms)
        active_uj = load.energy_uj(at_ms)
        used, idle_uj = active_uj[0], self.idle_mvar * since_origin_ms
        window_ms = min(DEMAND_MS, max(1, since_origin_ms))
        return Sample(
            at_ms=at_ms,
            since_origin_ms=since_origin_ms,
            volts=volts,
            amperes=(apparent[0] / volts[0], apparent[1] / volts[1], apparent[2] / volts[2]),
            watts=watts,
            vars=reactive,
            volt_amperes=apparent,
            hertz=building.grid_hz(at_ms),
            demand_w=(used - load.energy_uj(at_ms - DEMAND_MS)[0]) / window_ms / 1000,
            active_uj=active_uj,
            reactive_uj=(
                used * a * d // 1_000_000 + idle_uj,
                used * b * e // 1_000_000 + idle_uj,
                used * c * f // 1_000_000 + idle_uj,
            ),
        )
