"""Reads one zone controller on a shared line: one request for the states of all its bays."""

import asyncio
from collections.abc import Mapping
from typing import Final

from drivers.contract import DeviceUnreachable, Exchange
from drivers.line import ConnectionBroke, Line, Reply, ReplyTimeout, UnusableReply
from drivers.parking.frames import Codec
from drivers.scaling import Scale
from models.profile.parking_controller import ParkingControllerProfile
from models.reading import Reading, Reason
from models.times import Clock

LATE_S: Final = 60.0
"""So long after a question without an answer, one that comes may be its answer. In real time, as on wires."""


class ParkingControllerDriver:
    """A `TracedDriver` for one controller, which shares the line with the drivers of others."""

    def __init__(
        self,
        *,
        device_id: str,
        profile: ParkingControllerProfile,
        unit: int,
        line: Line,
        parameters: Mapping[str, float],
        clock: Clock,
    ) -> None:
        settled = profile.settled_parameters(dict(parameters))
        self._section = profile.controller
        self._points = profile.points
        self._scales = [Scale(point, settled, device_id) for point in profile.points]
        self._codec = Codec(profile.controller)
        self._unit, self._line, self._clock = unit, line, clock
        self._who = f"controller {unit}"
        self._late_until_s = 0.0

    async def open(self) -> None:
        """See `Driver`."""
        await self._line.attach(self)

    async def close(self) -> None:
        """See `Driver`."""
        await self._line.detach(self)

    async def read(self) -> list[Reading]:
        """See `Driver`."""
        return await self._read(None)

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        """See `TracedDriver`."""
        trace: list[Exchange] = []
        return await self._read(trace), trace

    async def _read(self, trace: list[Exchange] | None) -> list[Reading]:
        reply = await self._ask(trace)
        if isinstance(reply, Reason):
            now_ms = self._clock.now_ms()
            return [scale.bad(reply, now_ms, now_ms) for scale in self._scales]
        when = ((reply.sent_ms + reply.received_ms) // 2, reply.received_ms)
        data = self._codec.states(reply.frame)
        if data is None:
            return [scale.bad(Reason.REFUSED, *when) for scale in self._scales]
        readings = []
        for point, scale in zip(self._points, self._scales, strict=True):
            value = self._value(data, point.detector)
            readings.append(
                scale.bad(value, *when) if isinstance(value, Reason) else scale.reading(value, *when)
            )
        return readings

    async def _ask(self, trace: list[Exchange] | None) -> Reply | Reason:
        """The reply, or why there is none."""
        loop = asyncio.get_running_loop()
        attempts = 1 + self._section.retries
        reason, broke = Reason.NO_REPLY, False
        while attempts > 0:
            attempts -= 1
            is_patient = loop.time() < self._late_until_s
            look = self._codec.look_for(self._unit, is_patient=is_patient)
            try:
                return await self._line.ask(
                    self._codec.request(self._unit),
                    look,
                    timeout_s=self._section.reply_timeout_s,
                    who=self._who,
                    trace=trace,
                )
            except ReplyTimeout:
                reason = Reason.NO_REPLY
            except UnusableReply:
                reason = Reason.BAD_REPLY
            except ConnectionBroke:
                # Serial servers close connections that were idle, and that shows only now: once, no attempt.
                reason = Reason.UNREACHABLE
                attempts += not broke
                broke = True
            except DeviceUnreachable:
                return Reason.UNREACHABLE
            self._late_until_s = loop.time() + LATE_S
        return reason

    def _value(self, data: bytes, detector: int) -> int | Reason:
        """Whether the bay under a detector is occupied, or why nobody can tell."""
        states = self._section.states
        if states.size(detector) > len(data):
            return Reason.NOT_AVAILABLE  # the controller has no such detector
        per_byte = 8 // states.bits
        byte, slot = divmod(detector - 1, per_byte)
        shift = states.bits * (slot if states.lowest_first else per_byte - 1 - slot)
        number = data[states.offset + byte] >> shift & ((1 << states.bits) - 1)
        if number in states.free:
            return 0
        if number in states.occupied:
            return 1
        return Reason.NOT_AVAILABLE if number in states.faulty else Reason.UNDECODABLE
