"""Reads one Modbus device: runs the plan, and finds out which registers it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, cast

from pymodbus.constants import ExcCodes

from drivers.contract import DeviceUnreachable, Exchange
from drivers.line import ConnectionBroke, ReplyTimeout, UnusableReply
from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.link import Answer, Link, Question
from drivers.modbus.plan import Request, could_be_its_own_reply, other_reads, places_to_cut, plan
from drivers.modbus.write import Writer
from drivers.parameters import check_parameters
from models.profile.modbus import ModbusProfile
from models.reading import Quality, Reading, Reason
from models.times import Clock

SPLIT_LASTS_S = 3600.0  # then the joined request gets another chance: firmware changes, and so do wirings
SILENT_IN_A_ROW = 2  # requests without any reply, before the rest of a cycle is not asked for

# Exceptions that say nothing about the registers that were asked for. The last two come from a gateway.
NOT_YET = (ExcCodes.ACKNOWLEDGE, ExcCodes.DEVICE_BUSY)
NO_PATH, NO_TARGET = ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE


@dataclass(slots=True)
class _Part:
    """A request with all that sending it and reading its reply takes."""

    request: Request
    question: Question
    decoder: ReplyDecoder
    may_split: bool = True


@dataclass(slots=True)
class _Block:
    """A planned request, and the parts it is asked in since the device refused some of it."""

    whole: _Part
    parts: list[_Part]
    until_s: float = 0.0


@dataclass(slots=True)
class _Cycle:
    """What one call of `read` knows so far."""

    readings: list[Reading | None]
    trace: list[Exchange] | None
    unanswered: int = 0  # requests in a row
    has_answered: bool = False
    given_up: Reason = Reason.NONE
    leaves: list[tuple[_Part, bool | None]] = field(default_factory=list)  # good, refused or unknown


def make_driver(
    *,
    device_id: str,
    profile: ModbusProfile,
    unit: int,
    link: Link,
    parameters: Mapping[str, float],
    clock: Clock,
) -> "ModbusDriver":
    """The driver of one device. Raises ProfileMismatch when the profile lacks one of the parameters."""
    check_parameters(device_id, profile, parameters)
    return ModbusDriver(device_id, profile, unit, link, parameters, clock)


class ModbusDriver:
    """A `TracedDriver` and `ActingDriver` for one unit behind a link, which it shares with other drivers."""

    def __init__(
        self,
        device_id: str,
        profile: ModbusProfile,
        unit: int,
        link: Link,
        parameters: Mapping[str, float],
        clock: Clock,
    ) -> None:
        self.device_id = device_id
        self._points = profile.points
        self._section = profile.modbus
        self._parameters = profile.settled_parameters(dict(parameters))
        self._unit = unit
        self._link = link
        self._clock = clock
        self._wholes = plan(profile.points, profile.modbus)
        self._blocks = [_Block(whole, [whole]) for whole in map(self._part, self._wholes)]
        self._writer = Writer(device_id, profile, self._parameters, unit, link)
        self._was_silent = False  # in all of the last cycle

    async def open(self) -> None:
        """See `Driver`."""
        await self._link.attach(self)

    async def close(self) -> None:
        """See `Driver`."""
        await self._link.detach(self)

    async def read(self) -> list[Reading]:
        """See `Driver`. Costs one retry for a timeout, and no wait at all for a dead connection.

        A device that was silent in its last cycle is asked one question, once, before all the others.
        """
        return await self._read(None)

    async def read_traced(self) -> tuple[list[Reading], list[Exchange]]:
        """See `TracedDriver`."""
        trace: list[Exchange] = []
        return await self._read(trace), trace

    async def act(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `ActingDriver`. The one action is `write`, see `Writer.write`."""
        return await self._writer.act(action, arguments)

    async def _read(self, trace: list[Exchange] | None) -> list[Reading]:
        cycle = _Cycle([None] * len(self._points), trace)
        if self._was_silent:
            cycle.unanswered = SILENT_IN_A_ROW - 1
        for block in self._blocks:
            if block.until_s and self._clock.monotonic_s() >= block.until_s:
                block.parts, block.until_s = [block.whole], 0.0
            cycle.leaves.clear()
            for part in block.parts:
                await self._read_part(part, cycle)
            if len(cycle.leaves) > len(block.parts):
                self._remember(block, cycle.leaves)
        self._was_silent = not cycle.has_answered
        return cast(list[Reading], cycle.readings)  # each point is in one block, and each part filled its own

    async def _read_part(self, part: _Part, cycle: _Cycle) -> None:
        pieces = self._pieces(part)
        reply = None if pieces and not cycle.given_up else await self._ask(part, cycle)
        if reply is None:
            await self._read_pieces(part, pieces or self._pieces(part), cycle)
            return
        if isinstance(reply, Reason) and not cycle.given_up and self._may_be_hidden(part):
            for half in self._halves(part):
                await self._read_part(half, cycle)
            return
        if isinstance(reply, Reason):
            now_ms = self._clock.now_ms()
            self._fail(part, reply, now_ms, now_ms, cycle)
            cycle.leaves.append((part, None))
            return
        pdu, sent_ms, received_ms = reply
        middle_ms = (sent_ms + received_ms) // 2
        if not pdu[0] & 0x80:
            part.decoder.decode(pdu[2:], middle_ms, received_ms, cycle.readings)
            part.may_split = True
            cycle.leaves.append((part, True))
            return
        halves = self._halves(part) if reply.refusal not in NOT_YET else []
        if not halves:
            self._fail(part, Reason.REFUSED, middle_ms, received_ms, cycle)
            cycle.leaves.append((part, False))
        for half in halves:
            await self._read_part(half, cycle)

    async def _read_pieces(self, part: _Part, pieces: list[_Part], cycle: _Cycle) -> None:
        """Read a part in pieces, without a memory of that unless one of them is refused."""
        before = len(cycle.leaves)
        for piece in pieces:
            await self._read_part(piece, cycle)
        outcomes = {good for _, good in cycle.leaves[before:]}
        if False not in outcomes:
            cycle.leaves[before:] = [(part, None not in outcomes or None)]

    async def _ask(self, part: _Part, cycle: _Cycle) -> Answer | Reason | None:
        """The reply, or why there is none; None when the next attempt is better made in pieces.

        A device that was silent just now gets no second attempt.
        """
        if cycle.given_up:
            return cycle.given_up
        attempts = 1 + (self._section.retries if cycle.unanswered == 0 else 0)
        reason = Reason.NO_REPLY
        broke = False
        while attempts > 0:
            if cycle.unanswered == 0 and reason is not Reason.UNREACHABLE and self._pieces(part):
                cycle.unanswered += 1
                return None
            attempts -= 1
            try:
                reply = await self._link.request(
                    self._unit,
                    part.question,
                    self._section.reply_timeout_s,
                    cycle.trace,
                    others=other_reads(part.request, self._wholes, self._points, self._section),
                )
            except ReplyTimeout:
                reason = Reason.NO_REPLY
            except UnusableReply:
                reason = Reason.BAD_REPLY
            except ConnectionBroke:
                # Devices close connections that were idle, and that shows only now: not an attempt, once.
                reason = Reason.UNREACHABLE
                attempts += not broke
                broke = True
            except DeviceUnreachable:
                reason = Reason.UNREACHABLE
                break
            else:
                refusal = reply.refusal
                if refusal == NO_PATH:
                    reason = Reason.UNREACHABLE
                    break
                if refusal == NO_TARGET:
                    reason = Reason.NO_REPLY
                    continue
                cycle.unanswered = 0
                cycle.has_answered = True
                if refusal not in NOT_YET or not attempts:
                    return reply
        cycle.unanswered += 1
        if reason is Reason.UNREACHABLE or cycle.unanswered >= SILENT_IN_A_ROW:
            cycle.given_up = reason
        return reason

    def _fail(self, part: _Part, reason: Reason, measured_ms: int, received_ms: int, cycle: _Cycle) -> None:
        for index in part.request.points:
            cycle.readings[index] = Reading(
                device_id=self.device_id,
                point=self._points[index].name,
                value=None,
                quality=Quality.BAD,
                reason=reason,
                measured_ms=measured_ms,
                received_ms=received_ms,
            )

    def _part(self, request: Request, *, may_split: bool = True) -> _Part:
        decoder = ReplyDecoder(request, self._points, self._section, self._parameters, self.device_id)
        return _Part(request, request.question, decoder, may_split)

    def _may_be_hidden(self, part: _Part) -> bool:
        """Whether the reply may have come and been taken for an echo, which that to a part of it cannot."""
        request = part.request
        return could_be_its_own_reply(request.table, request.first, request.count) and bool(
            self._halves(part)
        )

    def _pieces(self, part: _Part) -> list[_Part]:
        """What to ask instead where an earlier question is unanswered whose late reply would look the same.

        Pieces look different, since they are shorter. Nothing when that is not so, or cannot be helped.
        """
        if self._link.is_certain(self._unit, part.question):
            return []
        found: list[Request] = []
        for cut in places_to_cut(self._points, part.request.points):
            requests = self._divided(part, cut)
            if all(self._link.is_certain(self._unit, request.question) for request in requests):
                found = found or requests
                if len({request.question.begins for request in requests}) == len(requests):
                    found = requests
                    break
        return [self._part(request, may_split=part.may_split) for request in found]

    def _halves(self, part: _Part) -> list[_Part]:
        """What to ask instead of a refused request; nothing when there is nothing to divide."""
        cuts = places_to_cut(self._points, part.request.points)
        if not part.may_split or not cuts:
            return []
        return [self._part(request) for request in self._divided(part, cuts[0])]

    def _divided(self, part: _Part, cut: int) -> list[Request]:
        indexes = part.request.points
        return [
            request
            for half in (indexes[:cut], indexes[cut:])
            for request in plan(self._points, self._section, half)
        ]

    def _remember(self, block: _Block, leaves: list[tuple[_Part, bool | None]]) -> None:
        """Ask in these parts from now on, so that what is refused costs one request and not a search.

        Refused neighbours are asked together and not searched again. Good neighbours are joined as well,
        though not over a gap, which may be what was refused. That is tried once only: when the joined part
        is refused in its turn, the device does not like its length, and the leaves stay as they are.
        """
        if any(good is None for _, good in leaves):
            return  # not all of it is known
        is_first = block.parts == [block.whole]
        block.until_s = self._clock.monotonic_s() + SPLIT_LASTS_S
        block.parts = [part for part, _ in leaves]
        if not is_first or all(good for _, good in leaves):
            return
        tight = self._section.model_copy(update={"max_gap": 0})
        block.parts = []
        for good, run in groupby(leaves, key=lambda leaf: leaf[1]):
            indexes = [index for part, _ in run for index in part.request.points]
            section = tight if good else self._section
            block.parts += [
                self._part(request, may_split=bool(good)) for request in plan(self._points, section, indexes)
            ]
