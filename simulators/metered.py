"""What all simulated meters have in common: a load, faults, and anomalies that begin and end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.document_hints import suggest
from models.errors import BadInput
from models.profile import Profile
from simulators.anomalies import Anomaly, Excess, Jump, Restart, Rollover, Stuck, WrongTime
from simulators.building import Building
from simulators.electric import Consumer, Sample
from simulators.faults import FaultSet
from simulators.load import Load, Surplus
from simulators.raw import NO_SHIFT, RawPoint, Shift


class AnomalyMistake(BadInput):
    """An anomaly that this meter cannot have."""


@dataclass(slots=True, eq=False)
class ActiveAnomaly:
    """An anomaly with its place in time; the handle to end it early."""

    anomaly: Anomaly
    start_ms: int
    end_ms: int | None
    surplus: Surplus | None = None
    at_start: Sample | None = None  # made when first needed, for the load until then may still change

    def covers(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms and (self.end_ms is None or at_ms < self.end_ms)


class Metered:
    """A meter on a load. What it shows depends on the time alone, not on who asked before.

    A subclass sets `_points`, whose numbers it shows by `_state`.
    """

    _points: Sequence[RawPoint]

    def __init__(
        self,
        meter_id: str,
        *,
        profile: Profile,
        building: Building,
        kw: float,
        origin_ms: int,
        now_ms: Callable[[], int],
        night_share: float | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        self.id = meter_id
        self.parameters = profile.settled_parameters(dict(parameters or {}))
        self._profile_name = profile.profile
        self._origin_ms, self._now_ms = origin_ms, now_ms
        self.load = Load(building, name=meter_id, kw=kw, origin_ms=origin_ms, night_share=night_share)
        self._consumer = Consumer(
            building, self.load, name=meter_id, ratio_pt=float(self.parameters.get("pt", 1.0))
        )
        self._active: list[ActiveAnomaly] = []
        self._was_read = False
        self.faults = FaultSet(meter_id, seed=building.seed, origin_ms=origin_ms, now_ms=now_ms)

    def begin(self, anomaly: Anomaly) -> ActiveAnomaly:
        """From its `after` on, or from now on, or from the start if nobody has read the meter yet.

        Once it was read, nothing begins in the past: what was shown was shown. Raises AnomalyMistake
        when the meter cannot have it.
        """
        now_ms = self._now_ms() if self._was_read else self._origin_ms
        start_ms, end_ms = anomaly.window(self._origin_ms, now_ms)
        active = ActiveAnomaly(anomaly, max(start_ms, now_ms), end_ms)
        self._check(anomaly)
        if isinstance(anomaly, Excess):
            active.surplus = Surplus(
                start_ms=active.start_ms,
                end_ms=end_ms,
                factor=anomaly.factor,
                extra_mw=round(anomaly.extra_kw * 1_000_000),
                hours=anomaly.hours,
            )
            self.load.add(active.surplus)
        self._active.append(active)
        return active

    def end(self, active: ActiveAnomaly) -> None:
        """End an anomaly now. What it has done to the counters stays."""
        now_ms = self._now_ms()
        if active.end_ms is not None and active.end_ms <= now_ms:
            return
        if active.surplus is not None:
            active.surplus = self.load.end(active.surplus, now_ms)
        active.end_ms = now_ms

    def _check(self, anomaly: Anomaly) -> None:
        if isinstance(anomaly, Rollover):
            if not any(point.rolls_over for point in self._points):
                raise AnomalyMistake(f"{self.id}: no counter of {self._profile_name} rolls over")
            if self._was_read:
                raise AnomalyMistake(f"{self.id}: its counters were read; a rollover must be there before")
        if isinstance(anomaly, Jump):
            known = [point.name for point in self._points]
            for name in anomaly.points:
                if name not in known:
                    raise AnomalyMistake(f"{self.id}: no point '{name}' ({suggest(name, known)})")

    def _state(self, at_ms: int) -> tuple[Sample, Shift]:
        self._was_read = True
        if not self._active:
            return self._consumer.sample(at_ms), NO_SHIFT
        frozen = [a.start_ms for a in self._active if isinstance(a.anomaly, Stuck) and a.covers(at_ms)]
        at_ms = min([at_ms, *frozen])
        restart, full_at, clock_off_s = None, None, 0.0
        added = []
        for active in sorted(self._active, key=lambda a: a.start_ms):
            anomaly = active.anomaly
            if isinstance(anomaly, Rollover):
                full_at = self._at_start(active)
            elif isinstance(anomaly, Restart) and active.start_ms <= at_ms:
                restart = (self._at_start(active), anomaly.start)
            elif isinstance(anomaly, WrongTime) and active.covers(at_ms):
                clock_off_s += anomaly.seconds
            elif isinstance(anomaly, Jump) and active.covers(at_ms):
                added.append((frozenset(anomaly.points), anomaly.by))
        return self._consumer.sample(at_ms), Shift(restart, full_at, clock_off_s, tuple(added))

    def _at_start(self, active: ActiveAnomaly) -> Sample:
        if active.at_start is None:
            active.at_start = self._consumer.sample(active.start_ms)
        return active.at_start
