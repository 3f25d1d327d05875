"""A CJ/T 188 meter: a profile on a load, with a valve and a battery that can be in trouble."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.errors import BadInput
from models.profile.cjt188 import UNITS, Cjt188Point, Cjt188Profile, UnitCode
from simulators.building import Building
from simulators.cjt188.points import MeterPoint
from simulators.metered import Metered
from simulators.noise import key_of
from simulators.quantities import Gauge, Quantity, quantity_of


class UnitMistake(BadInput):
    """A unit that the profile has no code for."""


class Content(NamedTuple):
    """What a meter says under one identifier."""

    data: bytes
    names: tuple[str, ...]
    values: list[float | None]


class Cjt188Meter(Metered):
    """One meter with its own address."""

    def __init__(
        self,
        meter_id: str,
        *,
        address: str,
        profile: Cjt188Profile,
        building: Building,
        kw: float,
        origin_ms: int,
        now_ms: Callable[[], int],
        night_share: float | None = None,
        parameters: Mapping[str, float] | None = None,
        counts_in: Mapping[str, str] | None = None,
        states: Mapping[str, int] | None = None,
        wake_bytes: int = 2,
    ) -> None:
        """`counts_in`: the meter's own unit of a point, where it is not the profile's: {"energy_kwh": "MWh"}.

        `states`: what its bits show, where that is not 0: {"battery_low": 1}. Raises UnitMistake.
        """
        super().__init__(
            meter_id,
            profile=profile,
            building=building,
            kw=kw,
            origin_ms=origin_ms,
            now_ms=now_ms,
            night_share=night_share,
            parameters=parameters,
        )
        self.address, self.profile, self.wake_bytes = address.upper(), profile, wake_bytes
        self.reply_timeout_s = profile.cjt188.reply_timeout_s
        self.states = dict(states or {})
        seed_key = key_of(building.seed, "meter", meter_id)
        points = []
        for point in profile.points:
            quantity = quantity_of(point, self._consumer, self.parameters, seed_key=seed_key)
            if point.type == "bits":
                quantity = self._state_of(point.name)
            unit = self._unit(point, (counts_in or {}).get(point.name, point.unit))
            points.append(MeterPoint(point, profile.cjt188, self.parameters, quantity, unit))
        self._points = self._all_points = points

    def content(self, di: int, at_ms: int) -> Content | None:
        """What stands under an identifier at a moment; None when the meter has none."""
        lengths = [read.length for read in self.profile.cjt188.reads if read.di == di]
        if not lengths:
            return None
        sample, shift = self._state(at_ms)
        points = [point for point in self._all_points if point.point.di == di]
        data = bytearray(lengths[0])
        for point in points:
            for at, byte in enumerate(point.content(sample, shift), point.point.at):
                data[at] |= byte
            if point.unit is not None and point.point.unit_at is not None:
                data[point.point.unit_at] = point.unit.code
        names = tuple(point.name for point in points)
        return Content(bytes(data), names, [point.value(sample, shift) for point in points])

    def display(self, at_ms: int) -> dict[str, float | None]:
        """Every point's value as a person reads it off the meter; None: the meter says, not available."""
        sample, shift = self._state(at_ms)
        return {point.name: point.value(sample, shift) for point in self._all_points}

    def _state_of(self, name: str) -> Quantity:
        return Gauge(lambda sample: float(self.states.get(name, 0)))

    def _unit(self, point: Cjt188Point, name: str) -> UnitCode | None:
        if point.unit_at is None:
            return None
        for code in self.profile.cjt188.units:
            if code.unit == name and code.times == 1 and UNITS[name][0] == UNITS[point.unit][0]:
                return code
        raise UnitMistake(f"{self.id}: {self.profile.profile} has no code for '{name}' of {point.name}")
