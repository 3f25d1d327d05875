"""Reads one DL/T 645 meter: in blocks where it has them, and finds out which it has not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, cast

from drivers.asking import Asker, Cycle
from drivers.contract import CommandRefused, Exchange, ProfileMismatch
from drivers.dlt645 import frames
from drivers.dlt645.answers import Said, Unsaid
from drivers.dlt645.clock import set_time
from drivers.dlt645.decode import DataDecoder
from drivers.framed import WAKE
from drivers.line import Line, Look
from drivers.parameters import check_parameters
from models.profile.dlt645 import Dlt645Profile
from models.reading import Reading, Reason
from models.times import Clock

SPLIT_LASTS_S = 3600.0  # then a refused block gets another chance: meters are exchanged
MOST_FRAMES = 16  # of one answer; at a second each, more would hold up all others on the line


class _Way(Enum):
    """How a block is asked for."""

    WHOLE = auto()
    APART = auto()  # point by point, since the meter refused the block
    ALONE = auto()  # as a block only, since it refused every point of it as well


@dataclass(slots=True)
class _Part:
    """One identifier, and what its data hold."""

    di: bytes  # as on the wire
    decoder: DataDecoder


@dataclass(slots=True)
class _Block:
    whole: _Part
    singles: list[_Part]  # instead of it; empty for an identifier that is no block
    way: _Way = _Way.WHOLE
    until_s: float = 0.0


def make_driver(
    *,
    device_id: str,
    profile: Dlt645Profile,
    address: str,
    line: Line,
    parameters: Mapping[str, float],
    clock: Clock,
) -> "Dlt645Driver":
    """The driver of one meter; `address` as on its front, with AA for what is not known.

    Raises ProfileMismatch when the profile lacks one of the parameters, or the address is none.
    """
    check_parameters(device_id, profile, parameters)
    try:
        wire_address = frames.address_bytes(address)
    except ValueError as err:
        raise ProfileMismatch(device_id, profile.profile, str(err)) from err
    return Dlt645Driver(device_id, profile, wire_address, line, parameters, clock)


class Dlt645Driver:
    """A `TracedDriver` and `ActingDriver` for one meter on a line, which it shares with other drivers."""

    def __init__(
        self,
        device_id: str,
        profile: Dlt645Profile,
        address: bytes,
        line: Line,
        parameters: Mapping[str, float],
        clock: Clock,
    ) -> None:
        self.device_id = device_id
        self.profile = profile
        self._section = profile.dlt645
        self._settled = profile.settled_parameters(dict(parameters))
        self._asked_address = self._address = address
        self.time_set_s: float | None = None
        self._line = line
        self._clock = clock
        self._asker = Asker(
            line,
            who=frames.address_text(address),
            timeout_s=self._section.reply_timeout_s,
            retries=self._section.retries,
        )
        self._blocks = self._plan()

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

    async def act(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `ActingDriver`. The one action is `set_time`, without arguments."""
        if action != "set_time":
            raise CommandRefused(self.device_id, action, "a meter can only be told to set_time")
        return await set_time(self, arguments, self._clock)

    async def ask(self, di: int, cycle: Cycle) -> Said | Unsaid:
        """The data of one identifier, joined when they come in several frames."""
        return await self._ask(self._wire_di(di), cycle)

    async def tell_all(self, control: int, data: bytes) -> None:
        """Send something to every meter of the line. Raises DeviceUnreachable."""
        await self._line.tell(self._awake(frames.build(frames.BROADCAST, control, data)))

    def start_cycle(self, trace: list[Exchange] | None = None) -> Cycle:
        """For a meter whose address is not known in full, whoever answers first is meant until the next."""
        self._address = self._asked_address
        return Cycle([None] * len(self.profile.points), trace)

    async def _read(self, trace: list[Exchange] | None) -> list[Reading]:
        cycle = self.start_cycle(trace)
        for block in self._blocks:
            await self._read_block(block, cycle)
        return cast(list[Reading], cycle.readings)  # each point is in one block, which filled its place

    async def _read_block(self, block: _Block, cycle: Cycle) -> None:
        if block.until_s and self._clock.monotonic_s() >= block.until_s:
            block.way, block.until_s = _Way.WHOLE, 0.0
        if block.way is _Way.APART:
            for single in block.singles:
                await self._read_part(single, cycle)
            return
        said = await self._ask(block.whole.di, cycle)
        is_data = isinstance(said, Said)
        if isinstance(said, Said) and (block.whole.decoder.fits(said.data) or not block.singles):
            block.way, block.until_s = _Way.WHOLE, 0.0
        elif block.singles and block.way is _Way.WHOLE and (is_data or said[0] is Reason.REFUSED):
            outcomes = [await self._read_part(single, cycle) for single in block.singles]
            self._remember(block, outcomes)
            return
        self._fill(block.whole, said, cycle)

    async def _read_part(self, part: _Part, cycle: Cycle) -> Reason:
        """Read one identifier, and say why it has no data, if it has none."""
        said = await self._ask(part.di, cycle)
        self._fill(part, said, cycle)
        return Reason.NONE if isinstance(said, Said) else said.reason

    def _fill(self, part: _Part, said: Said | Unsaid, cycle: Cycle) -> None:
        if isinstance(said, Said):
            part.decoder.decode(said.data, said.measured_ms, said.received_ms, cycle.readings)
        else:
            part.decoder.fail(said.reason, said.measured_ms, said.received_ms, cycle.readings)

    def _remember(self, block: _Block, outcomes: list[Reason]) -> None:
        """Do not ask in vain for an hour. What was not answered at all tells nothing."""
        if not all(reason in (Reason.NONE, Reason.REFUSED) for reason in outcomes):
            return
        block.way = _Way.APART if Reason.NONE in outcomes else _Way.ALONE
        block.until_s = self._clock.monotonic_s() + SPLIT_LASTS_S

    async def _ask(self, di: bytes, cycle: Cycle) -> Said | Unsaid:
        said = await self._ask_frame(frames.READ[self._section.edition], di, 0, cycle)
        if isinstance(said, Unsaid):
            return said
        frame, measured_ms, received_ms = said
        self._address = frame.address
        data = frame.data[len(di) :]
        number = 0
        while frame.control & frames.MORE:
            number += 1
            if self._section.edition == "1997" or number >= MOST_FRAMES:
                return Unsaid(Reason.BAD_REPLY, measured_ms, received_ms)
            said = await self._ask_frame(frames.READ_MORE, di, number, cycle)
            if isinstance(said, Unsaid):
                return said
            frame, _, received_ms = said
            data += frame.data[len(di) : -1]
        return Said(data, measured_ms, received_ms)

    async def _ask_frame(
        self, function: int, di: bytes, number: int, cycle: Cycle
    ) -> tuple[frames.Frame, int, int] | Unsaid:
        """One frame of an answer, the middle of its question, and when it was complete."""

        def attempt() -> tuple[bytes, Look]:
            question = frames.Question(self._address, function, di, number)
            return self._awake(question.frame), frames.look_for(question)

        reply = await self._asker.ask(attempt, cycle, same=bytes((function, number)) + di)
        if isinstance(reply, Reason):
            now_ms = self._clock.now_ms()
            return Unsaid(reply, now_ms, now_ms)
        measured_ms = (reply.sent_ms + reply.received_ms) // 2
        frame = frames.parse(reply.frame)
        if frame is None or frame.control & frames.REFUSED:
            errors = frames.errors(frame.data[0], self._section.edition) if frame else []
            if cycle.trace:
                cycle.trace[-1] = replace(
                    cycle.trace[-1], problem=f"refused: {', '.join(errors) or 'for no reason'}"
                )
            return Unsaid(Reason.REFUSED, measured_ms, reply.received_ms, tuple(errors))
        return frame, measured_ms, reply.received_ms

    def _awake(self, frame: bytes) -> bytes:
        return bytes((WAKE,)) * self._section.wake_bytes + frame

    def _wire_di(self, di: int) -> bytes:
        return di.to_bytes(2 if self._section.edition == "1997" else 4, "little")

    def _plan(self) -> list[_Block]:
        """The identifiers to ask for, in the order in which their first points stand in the profile."""
        points = self.profile.points
        indexes = {point.name: index for index, point in enumerate(points)}
        blocks: dict[int, _Block] = {}  # by first point
        left = set(range(len(points)))
        for block in self._section.blocks:
            chosen = [indexes[name] for name in block.points]
            singles = [self._part(points[index].di, [index], is_block=False) for index in chosen]
            blocks[min(chosen)] = _Block(self._part(block.di, chosen, is_block=True), singles)
            left -= set(chosen)
        alone: dict[int, list[int]] = {}
        for index in sorted(left):
            alone.setdefault(points[index].di, []).append(index)
        for di, chosen in alone.items():
            blocks[min(chosen)] = _Block(self._part(di, chosen, is_block=False), [])
        return [blocks[first] for first in sorted(blocks)]

    def _part(self, di: int, chosen: list[int], *, is_block: bool) -> _Part:
        decoder = DataDecoder(
            self.profile.points, chosen, self._section, self._settled, self.device_id, is_block=is_block
        )
        return _Part(self._wire_di(di), decoder)
