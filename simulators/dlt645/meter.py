"""A DL/T 645 meter: a profile on a load, which answers what the standard lets a master ask."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from models.profile.dlt645 import Dlt645Profile
from simulators.building import Building
from simulators.digits import calendar, unpacked
from simulators.dlt645.points import MeterPoint
from simulators.electric import Sample
from simulators.metered import Metered
from simulators.noise import key_of
from simulators.quantities import quantity_of
from simulators.raw import Shift


class Content(NamedTuple):
    """What a meter says under one identifier."""

    data: bytes
    names: tuple[str, ...]
    values: list[float | None]


class Held(NamedTuple):
    """What a meter has begun to say in several frames."""

    di: bytes
    pieces: list[bytes]
    number: int  # of the piece that was asked for last
    at_ms: int
    shape: int | None  # in the ledger
    values: list[float | None]


class Dlt645Meter(Metered):
    """One meter with its own address."""

    def __init__(
        self,
        meter_id: str,
        *,
        address: str,
        profile: Dlt645Profile,
        building: Building,
        kw: float,
        origin_ms: int,
        now_ms: Callable[[], int],
        night_share: float | None = None,
        parameters: Mapping[str, float] | None = None,
        has_blocks: bool = True,
        wake_bytes: int = 4,
        longest: int = 200,
    ) -> None:
        """`longest`: bytes of data in one frame; what does not fit into it follows in further ones."""
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
        self.address, self.profile = address, profile
        self.wake_bytes, self.longest = wake_bytes, longest
        self.reply_timeout_s = profile.dlt645.reply_timeout_s
        self.held: Held | None = None
        seed_key = key_of(building.seed, "meter", meter_id)
        points = [
            MeterPoint(
                point,
                profile.dlt645,
                self.parameters,
                quantity_of(point, self._consumer, self.parameters, seed_key=seed_key),
            )
            for point in profile.points
        ]
        self._points = self._all_points = points
        self._clock_set_s = 0.0  # how much its clock was put forward
        self._set_last_ms: int | None = None
        self._single: dict[int, list[MeterPoint]] = {}
        for point in points:
            self._single.setdefault(point.point.di, []).append(point)
        by_name = {point.name: point for point in points}
        self._blocks = {
            block.di: [by_name[name] for name in block.points]
            for block in profile.dlt645.blocks
            if has_blocks
        }

    def content(self, di: int, at_ms: int) -> Content | None:
        """What stands under an identifier at a moment; None when the meter has none."""
        sample, shift = self._state(at_ms)
        if di in self._blocks:
            points = self._blocks[di]
            data = b"".join(point.content(sample, shift) for point in points)
            if self.profile.dlt645.edition == "1997":
                data += b"\xaa"
        elif di in self._single:
            points = self._single[di]
            parts = bytearray(max(point.point.at + point.point.length for point in points))
            for point in points:
                for at, byte in enumerate(point.content(sample, shift), point.point.at):
                    parts[at] |= byte
            data = bytes(parts)
        else:
            return None
        names = tuple(point.name for point in points)
        return Content(data, names, [point.value(sample, shift) for point in points])

    def display(self, at_ms: int) -> dict[str, float | None]:
        """Every point's value as a person reads it off the meter; None: the meter says, not available."""
        sample, shift = self._state(at_ms)
        return {point.name: point.value(sample, shift) for point in self._all_points}

    def set_time(self, told: bytes, at_ms: int) -> bool:
        """Take a broadcast time, ss mm hh DD MM YY, if the limits of its profile allow it."""
        limits = self.profile.dlt645.clock
        offset_h = self.profile.dlt645.utc_offset_h
        if limits is None or len(told) != 6 or not told.hex().isdecimal():
            return False
        second, minute, hour, day, month, year = (unpacked(bytes((byte,))) for byte in told)
        try:
            new = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return False
        sample, shift = self._state(at_ms)
        own = calendar(round(sample.at_ms / 1000 + shift.clock_off_s), offset_h)
        into_day_s = 3600 * own.hour + 60 * own.minute + own.second
        ahead_s = (new - own).total_seconds()
        since_ms = None if self._set_last_ms is None else at_ms - self._set_last_ms
        if abs(ahead_s) > limits.max_off_s or min(into_day_s, 86_400 - into_day_s) < limits.midnight_s:
            return False
        if since_ms is not None and since_ms < limits.once_in_h * 3_600_000:
            return False
        self._clock_set_s += ahead_s
        self._set_last_ms = at_ms
        return True

    def _state(self, at_ms: int) -> tuple[Sample, Shift]:
        sample, shift = super()._state(at_ms)
        if self._clock_set_s:
            shift = replace(shift, clock_off_s=shift.clock_off_s + self._clock_set_s)
        return sample, shift
