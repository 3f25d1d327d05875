"""Sets the clock of a meter, as far as the standard lets a broadcast do that.

A broadcast reaches all meters of the line, and each takes the time only within limits, which the profile
gives: not too far from its own, not around midnight, where a tariff or a day could be counted twice, and
not twice a day. So nothing is sent that this meter would not take, and its clock is read again after it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from drivers import bcd
from drivers.asking import Cycle
from drivers.contract import CommandRefused, DeviceUnreachable
from drivers.dlt645 import frames
from drivers.dlt645.answers import Said, Unsaid
from models.profile.dlt645 import ClockSection, Dlt645Profile
from models.times import Clock

GOOD_S = 2.0  # how near is set: the meter shows whole seconds, and a frame at 1200 baud takes a third of one
_DAY_S = 86_400
_ACTION = "set_time"


class Meter(Protocol):
    """What this module needs of a driver."""

    device_id: str
    profile: Dlt645Profile
    time_set_s: float | None  # when a broadcast has set the clock, by `Clock.monotonic_s`

    def start_cycle(self) -> Cycle: ...

    async def ask(self, di: int, cycle: Cycle) -> Said | Unsaid: ...

    async def tell_all(self, control: int, data: bytes) -> None: ...


async def set_time(meter: Meter, arguments: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """Let the meter have the gateway's time; how far it was off, and is now, in seconds.

    Raises CommandRefused when the meter would not take it, or has not, and RetryLater when it is silent.
    """
    limits = meter.profile.dlt645.clock
    if limits is None:
        _refuse(meter, f"{meter.profile.profile} does not say where its clock is")
    if arguments:
        _refuse(meter, f"it takes no arguments, and there is '{next(iter(arguments))}'")
    was_off_s = await _off_s(meter, limits, clock)
    if abs(was_off_s) <= GOOD_S:
        return {"was_off_s": was_off_s, "is_off_s": was_off_s, "was_set": False}
    _check(meter, limits, was_off_s, clock)
    await meter.tell_all(frames.SET_TIME, _now(meter, clock))
    meter.time_set_s = clock.monotonic_s()
    is_off_s = await _off_s(meter, limits, clock)
    if abs(is_off_s) > GOOD_S:
        _refuse(
            meter, f"the meter kept its own time, which is {is_off_s:+.0f} s off; it takes one time a day"
        )
    return {"was_off_s": was_off_s, "is_off_s": is_off_s, "was_set": True}


def _check(meter: Meter, limits: ClockSection, off_s: float, clock: Clock) -> None:
    if abs(off_s) > limits.max_off_s:
        what = f"its clock is {off_s:+.0f} s off, and a broadcast sets {limits.max_off_s:.0f} s at most"
        _refuse(meter, f"{what}; set it at the meter")
    into_day_s = _local_s(meter, clock) % _DAY_S
    for time_s in (into_day_s, (into_day_s + off_s) % _DAY_S):
        if min(time_s, _DAY_S - time_s) < limits.midnight_s:
            _refuse(meter, f"it is within {limits.midnight_s:.0f} s of midnight; try again after it")
    if meter.time_set_s is not None:
        left_h = limits.once_in_h - (clock.monotonic_s() - meter.time_set_s) / 3600
        if left_h > 0:
            _refuse(meter, f"it was set already and takes a time once in {limits.once_in_h:g} h; "
                    f"try again in {left_h:.1f} h")  # fmt: skip


async def _off_s(meter: Meter, limits: ClockSection, clock: Clock) -> float:
    """How far the meter's clock is ahead of the gateway's."""
    cycle = meter.start_cycle()
    day = _day(await _read(meter, limits.date, cycle))
    said = await _read(meter, limits.time, cycle)
    fields = bcd.pairs(said.data)
    second_of_day = bcd.seconds_of_day(*reversed(fields)) if fields and len(fields) == 3 else None
    if day is None or second_of_day is None:
        _refuse(meter, "its clock shows no date or no time; look at the meter")
    own_s = day * _DAY_S + second_of_day
    return own_s - (said.measured_ms / 1000 + 3600 * meter.profile.dlt645.utc_offset_h)


async def _read(meter: Meter, di: int, cycle: Cycle) -> Said:
    said = await meter.ask(di, cycle)
    if isinstance(said, Said):
        return said
    if said.errors:
        _refuse(meter, f"it does not tell its time: {', '.join(said.errors)}")
    raise DeviceUnreachable(meter.device_id, "no answer when its clock was read")


def _day(said: Said) -> int | None:
    fields = bcd.pairs(said.data[-3:])
    if fields is None or len(fields) < 3:
        return None
    day, month, year = fields
    return bcd.day_number(2000 + year, month, day)


def _now(meter: Meter, clock: Clock) -> bytes:
    """ss mm hh DD MM YY on the meter's calendar."""
    now = datetime.fromtimestamp(_local_s(meter, clock), UTC)
    fields = (now.second, now.minute, now.hour, now.day, now.month, now.year % 100)
    return b"".join(bcd.packed(field, 1) for field in fields)


def _local_s(meter: Meter, clock: Clock) -> float:
    return clock.now_ms() / 1000 + 3600 * meter.profile.dlt645.utc_offset_h


def _refuse(meter: Meter, detail: str) -> NoReturn:
    raise CommandRefused(meter.device_id, _ACTION, detail)
