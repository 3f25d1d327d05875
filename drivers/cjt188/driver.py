"""Reads one CJ/T 188 meter."""

from collections.abc import Mapping
from typing import cast

from drivers.asking import Asker, Cycle
from drivers.cjt188 import frames
from drivers.cjt188.decode import DataDecoder
from drivers.contract import Exchange, ProfileMismatch
from drivers.framed import WAKE
from drivers.line import Line, Look
from drivers.parameters import check_parameters
from models.profile.cjt188 import Cjt188Profile
from models.reading import Reading, Reason
from models.times import Clock


def make_driver(
    *,
    device_id: str,
    profile: Cjt188Profile,
    address: str,
    line: Line,
    parameters: Mapping[str, float],
    clock: Clock,
) -> "Cjt188Driver":
    """The driver of one meter; 14 times A as `address` is the only meter of a line.

    Raises ProfileMismatch when the profile lacks one of the parameters, or the address is none.
    """
    check_parameters(device_id, profile, parameters)
    try:
        wire_address = frames.address_bytes(address)
    except ValueError as err:
        raise ProfileMismatch(device_id, profile.profile, str(err)) from err
    return Cjt188Driver(device_id, profile, wire_address, line, parameters, clock)


class Cjt188Driver:
    """A `TracedDriver` for one meter on a line, which it shares with other drivers."""

    def __init__(
        self,
        device_id: str,
        profile: Cjt188Profile,
        address: bytes,
        line: Line,
        parameters: Mapping[str, float],
        clock: Clock,
    ) -> None:
        self.device_id = device_id
        self._section = profile.cjt188
        self._count = len(profile.points)
        self._asked_address = self._address = address
        self._line = line
        self._clock = clock
        self._serial = 0  # of the next question
        self._asker = Asker(
            line,
            who=frames.address_text(address),
            timeout_s=self._section.reply_timeout_s,
            retries=self._section.retries,
        )
        settled = profile.settled_parameters(dict(parameters))
        self._parts = [
            (
                read.di.to_bytes(2, "little" if self._section.di_order == "low_first" else "big"),
                DataDecoder(profile.points, read.di, self._section, settled, device_id),
            )
            for read in self._section.reads
        ]

    async def open(self) -> None:
        """See `Driver`."""
        await self._line.attach(self)

    async def close(self) -> None:
        """See `Driver`."""
        await self._line.detach(self)

    async def read(self) -> list[Reading]:
        """See `Driver`. Costs one retry for a timeout, and no wait at all for a dead connection."""
        return await self._read(None)

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        """See `TracedDriver`."""
        trace: list[Exchange] = []
        return await self._read(trace), trace

    async def _read(self, trace: list[Exchange] | None) -> list[Reading]:
        cycle = Cycle([None] * self._count, trace)
        self._address = self._asked_address
        for di, decoder in self._parts:
            await self._read_part(di, decoder, cycle)
        return cast(list[Reading], cycle.readings)  # each point is in one read, which filled its place

    async def _read_part(self, di: bytes, decoder: DataDecoder, cycle: Cycle) -> None:
        same = None if self._section.serial_number is None else di
        reply = await self._asker.ask(lambda: self._attempt(di), cycle, same=same)
        if isinstance(reply, Reason):
            now_ms = self._clock.now_ms()
            decoder.fail(reply, now_ms, now_ms, cycle.readings)
            return
        measured_ms = (reply.sent_ms + reply.received_ms) // 2
        frame = frames.parse(reply.frame)
        if frame is None or frame.control == frames.REFUSAL:
            decoder.fail(Reason.REFUSED, measured_ms, reply.received_ms, cycle.readings)
            return
        self._address = frame.address  # for all of a cycle, whoever answered first
        data = frame.data[len(di) + 1 :]
        decoder.decode(data, measured_ms, reply.received_ms, cycle.readings)

    def _attempt(self, di: bytes) -> tuple[bytes, Look]:
        """Each attempt has its own number, so that the late answer to one is never taken for another's."""
        serial = self._section.serial_number
        if serial is None:
            serial, self._serial = self._serial, (self._serial + 1) & 0xFF
        question = frames.Question(self._section.meter_type, self._address, di, serial)
        wake = bytes((WAKE,)) * self._section.wake_bytes
        return wake + question.frame, frames.look_for(question)
