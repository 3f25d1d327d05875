"""Finds out which units answer on a link, and which profiles fit them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from drivers.contract import Exchange
from drivers.line import ConnectionBroke, ReplyTimeout, UnusableReply
from drivers.modbus import rtu
from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.identification import read_identification
from drivers.modbus.link import Answer, Link, Question
from drivers.modbus.owed import FROM_BETWEEN
from drivers.modbus.plan import Request
from drivers.modbus.wire import HEADER
from models.profile.modbus import Fingerprint, Identification, ModbusProfile
from models.reading import Quality, Reading

FIRST_TIMEOUT_S: Final = 0.15
"""For the question whether a unit is there: 247 of them then take 39 s at 9600 bit/s. Meters answer within
0.1 s; the line waits longer once one took longer, and a unit that answers too late is asked again."""

LONGER_TIMEOUT_S: Final = 0.18  # 46 s for 247 units; the rest of a minute is to look at those that are there

PATIENT_TIMEOUT_S: Final = 1.0  # for units that are there
MANY: Final = 64
"""Units, when all that were asked for answer alike, are one that does not look at unit ids. An RS-485 line
carries 32 devices; with repeaters more, but not on every address."""

_ANYBODY: Final = Request("holding", 0, 1, ()).question
"""What every unit answers, be it with a refusal."""

_OTHERS: Final = tuple(
    request.question
    for request in (
        Request("input", 0, 1, ()),
        Request("holding", 0, 2, ()),
        Request("coil", 0, 1, ()),
        Request("discrete", 0, 1, ()),
    )
)
_TROUBLE: Final = (ReplyTimeout, UnusableReply, ConnectionBroke)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is."""

    done: int
    of: int
    found: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A profile that fits, how well, and why, for people."""

    profile: str
    score: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A unit that answers."""

    endpoint: str
    unit: int
    took_ms: int
    identification: dict[str, str] = field(default_factory=dict)
    """What it says of itself, where it offers that: vendor, product, revision."""

    candidates: tuple[Candidate, ...] = ()
    """Profiles that fit, best first; of equals, the one that comes first in the order that was given."""

    any_unit: bool = False
    """Whether it answers to every unit id, as some Modbus TCP devices do; `unit` is then just the first."""


async def scan_line(
    link: Link,
    units: Sequence[int],
    profiles: Sequence[ModbusProfile],
    *,
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> list[Found]:
    """The units that answer, in the order of `units`, with the profiles that fit them.

    Only reads are sent. `on_progress` is called after each unit that was asked for, and after each that was
    looked at. Raises DeviceUnreachable when the link cannot be opened.
    """
    await link.attach(scan_line)
    try:
        search = _Search(link, units, on_progress)
        there = await search.run()
        return await _looked_at(link, len(units), there, profiles, search.step)
    finally:
        await link.detach(scan_line)


class _Search:
    """Which units are there."""

    def __init__(self, link: Link, units: Sequence[int], on_progress: Callable[[Progress], object]) -> None:
        self._link, self._units, self._on_progress = link, units, on_progress
        self._timeout_s = FIRST_TIMEOUT_S
        self._late: set[int] = set()
        self._unclear: set[int] = set()
        self._answers: dict[int, Answer] = {}
        self._done, self._of = 0, len(units)

    async def run(self) -> dict[int, Answer]:
        for number, unit in enumerate(self._units, start=1):
            is_last = number == len(self._units)  # in whose time late answers of the others come as well
            await self._ask(unit, PATIENT_TIMEOUT_S if is_last else self._timeout_s)
        again = self._late | self._unclear
        for unit in self._units:
            if unit in again and unit not in self._answers:
                await self._ask(unit, PATIENT_TIMEOUT_S if unit in self._late else self._timeout_s)
        return {unit: self._answers[unit] for unit in self._units if unit in self._answers}

    def step(self) -> None:
        self._done += 1
        found = len(self._answers)
        self._of = max(self._of, self._done, len(self._units) + found)
        self._on_progress(Progress(self._done, self._of, found))

    async def _ask(self, unit: int, timeout_s: float) -> None:
        trace: list[Exchange] = []
        try:
            answer = await self._link.request(unit, _ANYBODY, timeout_s, trace, others=_OTHERS)
        except ReplyTimeout:
            pass  # nobody is there, as at most of the ids; or the answer comes late, which is seen below
        except (UnusableReply, ConnectionBroke):
            self._unclear.add(unit)  # noise, two units at once, or a loss: the answer may be in it
        else:
            if answer.refusal not in FROM_BETWEEN:
                self._answers[unit] = answer
                took_s = (answer.received_ms - answer.sent_ms) / 1000
                self._timeout_s = min(max(self._timeout_s, 3 * took_s), LONGER_TIMEOUT_S)
        for exchange in trace:
            for piece in exchange.replies:
                if piece != exchange.request:  # its echo
                    self._late |= set(_units_in(piece))
        self.step()


async def _looked_at(
    link: Link,
    asked: int,
    there: dict[int, Answer],
    profiles: Sequence[ModbusProfile],
    step: Callable[[], None],
) -> list[Found]:
    is_alike = len({answer.pdu for answer in there.values()}) == 1
    any_unit = len(there) == asked >= MANY and is_alike
    found: list[Found] = []
    for unit, answer in there.items():
        look = _Look(link, unit)
        found.append(
            Found(
                endpoint=link.endpoint,
                unit=unit,
                took_ms=answer.received_ms - answer.sent_ms,
                identification=await look.identification(),
                candidates=await look.candidates(profiles),
                any_unit=any_unit,
            )
        )
        step()
        if any_unit:
            break
    return found


class _Look:
    """What one unit is."""

    def __init__(self, link: Link, unit: int) -> None:
        self._link, self._unit = link, unit
        self._identification: dict[str, str] = {}
        self._known: dict[Question, bytes] = {}  # b"" when there is no answer

    async def identification(self) -> dict[str, str]:
        self._identification = await read_identification(self._ask)
        return self._identification

    async def candidates(self, profiles: Sequence[ModbusProfile]) -> tuple[Candidate, ...]:
        found = [candidate for profile in profiles if (candidate := await self._candidate(profile))]
        return tuple(sorted(found, key=lambda candidate: -candidate.score))

    async def _candidate(self, profile: ModbusProfile) -> Candidate | None:
        reasons: list[str] = []
        score = 0
        for wanted in profile.identifications:
            if self._says(wanted):
                score += 4
                reasons.append(f"it calls itself {' '.join(filter(None, (wanted.vendor, wanted.product)))}")
                break
        for read in profile.fingerprints:
            reason = await self._fits(profile, read)
            if not reason:
                return None
            score += 2 if read.equals else 1
            reasons.append(reason)
        return Candidate(profile.profile, score, tuple(reasons)) if score else None

    def _says(self, wanted: Identification) -> bool:
        said = self._identification
        return all(
            text.casefold() in said.get(key, "").casefold()
            for key, text in (("vendor", wanted.vendor), ("product", wanted.product))
        )

    async def _fits(self, profile: ModbusProfile, read: Fingerprint) -> str:
        """Why the read fits; "" when it does not."""
        where = f"{read.table} {read.address:#06x}"
        request = Request(read.table, read.address, read.count, ())
        data = await self._data(request.question)
        if not data:
            return ""
        if read.equals:
            return f"{where} is {read.equals}" if data == bytes.fromhex(read.equals) else ""
        reading = _decoded(profile, read, data)
        if reading.quality is not Quality.GOOD or reading.value is None:
            return ""
        unit = profile.point(read.point).unit
        return f"{read.point} at {where} is {reading.value:.10g} {unit}".rstrip()

    async def _data(self, question: Question) -> bytes:
        if question not in self._known:
            answer = await self._ask(question)
            self._known[question] = b"" if answer is None or answer.refusal else answer.pdu[2:]
        return self._known[question]

    async def _ask(self, question: Question) -> Answer | None:
        try:
            return await self._link.request(
                self._unit, question, PATIENT_TIMEOUT_S, others=(_ANYBODY, *_OTHERS)
            )
        except _TROUBLE:
            return None


def _decoded(profile: ModbusProfile, read: Fingerprint, data: bytes) -> Reading:
    [index] = [index for index, point in enumerate(profile.points) if point.name == read.point]
    request = Request(read.table, read.address, read.count, (index,))
    readings: list[Reading | None] = [None] * len(profile.points)
    parameters = profile.settled_parameters({})
    ReplyDecoder(request, profile.points, profile.modbus, parameters, "").decode(data, 0, 0, readings)
    [reading] = filter(None, readings)
    return reading


def _units_in(piece: bytes) -> Iterable[int]:
    """The unit whose frame this is, RTU or TCP; none when it is neither."""
    unit = rtu.unit_of(piece)
    if unit is not None:
        return (unit,)
    is_tcp = len(piece) > HEADER.size and int.from_bytes(piece[2:6], "big") == len(piece) - 6
    return (piece[6],) if is_tcp else ()
