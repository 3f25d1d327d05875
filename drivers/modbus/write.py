"""Sets one point of a Modbus device: inside its range, once, and seen to be done."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import WriteMultipleCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import WriteMultipleRegistersRequest, WriteSingleRegisterRequest

from drivers.contract import CommandRefused, Exchange
from drivers.line import ConnectionBroke, ReplyTimeout, UnusableReply
from drivers.modbus import encode
from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.link import Answer, Link, Question
from drivers.modbus.plan import Request, other_reads, plan
from models.errors import RetryLater
from models.profile.modbus import ModbusPoint, ModbusProfile
from models.reading import Reading

LOOKS: Final = 2  # at the point after a write, before it is taken for not done

_TRY_AGAIN: Final = (
    ExcCodes.ACKNOWLEDGE,
    ExcCodes.DEVICE_BUSY,
    ExcCodes.GATEWAY_PATH_UNAVIABLE,
    ExcCodes.GATEWAY_NO_RESPONSE,
)
_WIRE_TROUBLE: Final = (ReplyTimeout, UnusableReply, ConnectionBroke)


class WriteUnconfirmed(RetryLater):
    """A device was told to change a point, and afterwards does not show the value."""

    def __init__(self, device_id: str, point: str, detail: str) -> None:
        super().__init__(f"{device_id}: {point}: {detail}; look at the device before you write again")
        self.device_id, self.point, self.detail = device_id, point, detail


@dataclass(frozen=True, slots=True)
class _Target:
    """A point, and what its registers or its bit are to be."""

    point: ModbusPoint
    place: int  # in the profile
    request: Request  # that reads it
    data: bytes  # of the reply that shows it is set; for a bit of a register only that bit counts
    mask: int = 0  # of a bit of a register


class Writer:
    """Writes the points of one unit, on behalf of its driver."""

    def __init__(
        self, device_id: str, profile: ModbusProfile, parameters: Mapping[str, float], unit: int, link: Link
    ) -> None:
        self._device_id, self._profile, self._parameters = device_id, profile, parameters
        self._unit, self._link = unit, link

    async def act(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`write` with `point` and `value`: set the point to the value, in its unit; 0 or 1 for a bit.

        Only a point that the profile calls writable is set, and only inside its range: all that is looked
        at before anything is sent. The value is read back. Returns `point`, the values `before` and
        `after`, and as hex the `request` that was sent and the `reply`, "" when there was none.

        Raises CommandRefused when nothing was changed, WriteUnconfirmed when the device does not show the
        value afterwards, and what `Link.request` raises when that could not be seen.
        """
        if action != "write":
            raise CommandRefused(self._device_id, action, "a Modbus device can only be told to write")
        target = self._target(arguments)
        before = await self._read(target)
        if before.refusal:
            detail = f"it cannot be read (exception {before.refusal}), so nobody could see what was written"
            raise self._refused(target.point, detail)
        exchange = await self._write(target, before.pdu[2:])
        after = await self._look(target)
        return {
            "point": target.point.name,
            "before": self._value(target, before.pdu[2:]),
            "after": self._value(target, after),
            "request": exchange.request.hex(" "),
            "reply": exchange.replies[-1].hex(" ") if not exchange.problem else "",
        }

    def _target(self, arguments: Mapping[str, Any]) -> _Target:
        """What to write. Raises CommandRefused."""
        if set(arguments) != {"point", "value"}:
            raise CommandRefused(self._device_id, "write", "it takes `point` and `value`, and nothing else")
        name, value = arguments["point"], arguments["value"]
        points = self._profile.points
        place = next((index for index, point in enumerate(points) if point.name == name), None)
        if place is None:
            detail = f"profile {self._profile.profile} has no point '{name}'"
            raise CommandRefused(self._device_id, "write", detail)
        point = points[place]
        if point.writable is None:
            raise self._refused(point, "the profile does not allow to write it")
        is_number = isinstance(value, int | float) and (point.type == "bool" or not isinstance(value, bool))
        if not is_number or not math.isfinite(value):
            raise self._refused(point, "the value is no number")
        low, high = point.writable.min, point.writable.max
        if not low <= value <= high:
            raise self._refused(point, f"{value:.15g} is not within {low:.15g} to {high:.15g} {point.unit}")
        [request] = plan(points, self._profile.modbus, [place])
        if point.type == "bool":
            if value not in (0, 1):
                raise self._refused(point, "a bit is 0 or 1")
            mask = 0 if point.bit is None else 1 << point.bit
            data = bytes((int(value),)) if point.bit is None else (mask * int(value)).to_bytes(2, "big")
            return _Target(point, place, request, data, mask)
        return _Target(point, place, request, self._encoded(point, place, request, value))

    def _encoded(self, point: ModbusPoint, place: int, request: Request, value: float) -> bytes:
        """The registers that `decode` reads as exactly this value. Raises CommandRefused."""
        nearest: float | None = None
        for raw in encode.raws(point, value, self._parameters):
            data = encode.registers(point, self._profile.modbus, raw)
            shown = self._decoded(request, place, data).value
            if shown == float(value):
                return data
            nearest = shown if nearest is None else nearest
        hint = "" if nearest is None else f"; the nearest it can hold is {nearest:.15g}"
        raise self._refused(point, f"a {point.type} cannot hold {value:.15g}{hint}")

    async def _read(self, target: _Target) -> Answer:
        """What the point shows now, or a refusal. Raises as `Link.request`."""
        for attempt in range(1 + self._profile.modbus.retries):
            try:
                answer = await self._ask(target.request.question, target)
            except _WIRE_TROUBLE:
                if attempt == self._profile.modbus.retries:
                    raise
            else:
                if answer.refusal not in _TRY_AGAIN or attempt == self._profile.modbus.retries:
                    return answer
        raise AssertionError("there is at least one attempt")

    async def _write(self, target: _Target, before: bytes) -> Exchange:
        """Send the write, once. Raises CommandRefused when the device says no.

        Without an answer nobody knows whether it was done; reading it back will tell.
        """
        question = self._question(target, before)
        trace: list[Exchange] = []
        try:
            answer = await self._ask(question, target, trace)
        except _WIRE_TROUBLE:
            if not _was_sent(trace, question):
                raise
            return trace[-1]
        if answer.refusal in _TRY_AGAIN:
            detail = f"the device does not take it now (exception {answer.refusal})"
            raise WriteUnconfirmed(self._device_id, target.point.name, detail)
        if answer.refusal:
            raise self._refused(target.point, f"the device says no (exception {answer.refusal})")
        return trace[-1]

    async def _look(self, target: _Target) -> bytes:
        """The registers or the bit, when they are what was written. Raises WriteUnconfirmed."""
        data = b""
        for _ in range(LOOKS):
            answer = await self._read(target)
            if answer.refusal:
                detail = f"cannot be read any more (exception {answer.refusal})"
                raise WriteUnconfirmed(self._device_id, target.point.name, detail)
            data = answer.pdu[2:]
            if self._is_set(target, data):
                return data
        shown = self._value(target, data)
        detail = "shows no value now" if shown is None else f"shows {shown:.15g} after the write"
        raise WriteUnconfirmed(self._device_id, target.point.name, detail)

    async def _ask(self, question: Question, target: _Target, trace: list[Exchange] | None = None) -> Answer:
        section = self._profile.modbus
        others = other_reads(target.request, (), self._profile.points, section)
        return await self._link.request(self._unit, question, section.reply_timeout_s, trace, others=others)

    def _question(self, target: _Target, before: bytes) -> Question:
        """The write, by a function code that the device takes."""
        point, codes = target.point, self._profile.modbus.write_functions
        if point.is_bit_table:
            bits = [target.data != b"\0"]
            if 5 in codes:
                return _question(WriteSingleCoilRequest(address=point.address, bits=bits))
            return _question(WriteMultipleCoilsRequest(address=point.address, bits=bits))
        data = target.data
        if target.mask:
            kept = int.from_bytes(before, "big") & ~target.mask
            data = (kept | int.from_bytes(data, "big")).to_bytes(2, "big")
        words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
        if len(words) == 1 and 6 in codes:
            return _question(WriteSingleRegisterRequest(address=point.address, registers=words))
        return _question(WriteMultipleRegistersRequest(address=point.address, registers=words))

    def _is_set(self, target: _Target, data: bytes) -> bool:
        if target.mask:
            return int.from_bytes(data, "big") & target.mask == int.from_bytes(target.data, "big")
        if target.point.is_bit_table:
            return data[0] & 1 == target.data[0]
        return data == target.data

    def _value(self, target: _Target, data: bytes) -> float | None:
        return self._decoded(target.request, target.place, data).value

    def _decoded(self, request: Request, place: int, data: bytes) -> Reading:
        points = self._profile.points
        readings: list[Reading | None] = [None] * len(points)
        decoder = ReplyDecoder(request, points, self._profile.modbus, self._parameters, self._device_id)
        decoder.decode(data, 0, 0, readings)
        [reading] = filter(None, readings)
        return reading

    def _refused(self, point: ModbusPoint, detail: str) -> CommandRefused:
        return CommandRefused(self._device_id, f"write {point.name}", detail)


def _question(request: ModbusPDU) -> Question:
    """Functions 5 and 6 are answered with the request itself, 15 and 16 with its first five bytes."""
    pdu = bytes((request.function_code,)) + request.encode()
    return Question(pdu, pdu[:5], 5)


def _was_sent(trace: Sequence[Exchange], question: Question) -> bool:
    """Whether the write has left: the read that may have to go before it can fail in its place."""
    return bool(trace) and question.pdu in trace[-1].request
