"""Reads one zone controller on a shared line: one request for the states of all its bays."""

from collections.abc import Mapping

from drivers.asking import Asker, Cycle
from drivers.contract import Exchange
from drivers.line import Line
from drivers.parking.frames import Codec
from drivers.scaling import Scale
from models.profile.parking_controller import ParkingControllerProfile
from models.reading import Reading, Reason
from models.times import Clock


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
        self._request, self._look = self._codec.request(unit), self._codec.look_for(unit)
        self._line, self._clock = line, clock
        self._asker = Asker(
            line,
            who=f"controller {unit}",
            timeout_s=self._section.reply_timeout_s,
            retries=self._section.retries,
        )

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
        # The protocol does not number its questions: all of them are the same.
        cycle = Cycle([], trace)
        reply = await self._asker.ask(lambda: (self._request, self._look), cycle, same=self._request)
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
