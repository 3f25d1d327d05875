"""The meters of one family on a line: which of them a request is for, and what goes wrong with the answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from models.times import Clock
from simulators.faults import Fault, FaultSet
from simulators.ledger import LedgerWriter
from simulators.line import misbehave
from simulators.line.serial import Say
from simulators.noise import chance, key_of

WAKE = b"\xfe"
_MANY = 20  # bytes that wake a line, where four are usual


class OnLine(Protocol):
    """What the line must know of a meter."""

    @property
    def id(self) -> str: ...

    @property
    def faults(self) -> FaultSet: ...

    @property
    def wake_bytes(self) -> int:
        """How many bytes FE it sends before an answer."""

    @property
    def reply_timeout_s(self) -> float:
        """How long its profile lets a reader wait."""


class Answer(NamedTuple):
    """What a meter would say when nothing goes wrong."""

    frame: bytes
    at_ms: int
    shape: int | None = None  # in the ledger
    values: Sequence[float | None] | None = None  # None: this frame alone shows none
    refused: str = ""  # how, when it is an error


class Speak(Protocol):
    """`Say` of one meter."""

    def __call__(self, data: bytes, *, after_s: float = 0.0) -> None: ...


Q = TypeVar("Q")
M = TypeVar("M", bound=OnLine)


class MeterTalker(ABC, Generic[M, Q]):
    """A `Talker` whose meters answer when they are asked. `M` are the meters and `Q` the requests."""

    _busy = 1  # the error of a meter that has no time

    def __init__(
        self,
        meters: Sequence[M],
        *,
        name: str,
        seed: int,
        origin_ms: int,
        clock: Clock,
        ledger: LedgerWriter | None = None,
    ) -> None:
        self.meters = tuple(meters)
        self.faults = FaultSet(name, seed=seed, origin_ms=origin_ms, now_ms=clock.now_ms)
        self.requests = 0  # that came, whatever became of them
        self._clock, self._ledger = clock, ledger
        self._key = key_of(seed, "line", name)
        self._stream = bytearray()
        self._shapes: dict[tuple[str, int], int] = {}
        self._away_until_ms: dict[str, int] = {}

    def hear(self, data: bytes, connection: int, say: Say) -> None:
        """See `Talker`."""
        self._stream += data
        for request in self._take(self._stream):
            self.requests += 1
            at_ms = self._clock.now_ms()
            line_fault = self.faults.strike(at_ms)
            for meter in self.meters:
                if self._is_meant(request, meter):
                    fault = line_fault or meter.faults.strike(at_ms)
                    if say.is_speaking(meter.id):
                        self._overhear(meter, request, connection)
                    elif not self._is_away(meter, at_ms):
                        self._serve(meter, request, connection, partial(say, who=meter.id), fault)

    @abstractmethod
    def _take(self, stream: bytearray) -> list[Q]:
        """Remove the whole requests from the front of `stream`."""

    @abstractmethod
    def _is_meant(self, request: Q, meter: M) -> bool: ...

    @abstractmethod
    def _answer(self, meter: M, request: Q, at_ms: int, *, is_spoiled: bool) -> Answer | None:
        """None: the meter says nothing. A request that is `is_spoiled` changes nothing in the meter."""

    @abstractmethod
    def _request_frame(self, request: Q) -> bytes: ...

    @abstractmethod
    def _refusal(self, meter: M, request: Q, word: int) -> bytes: ...

    @abstractmethod
    def _from_neighbour(self, answer: bytes) -> bytes:
        """The same answer under another address."""

    @abstractmethod
    def _to_another_question(self, answer: bytes) -> bytes:
        """The same answer under another identifier."""

    def _shape(self, meter: M, table: str, di: int, names: Sequence[str]) -> int | None:
        if self._ledger is None:
            return None
        if (meter.id, di) not in self._shapes:
            self._shapes[meter.id, di] = self._ledger.shape(
                meter=meter.id, unit=0, table=table, first=di, size=len(names), points=names
            )
        return self._shapes[meter.id, di]

    def _overhear(self, meter: M, request: Q, connection: int) -> None:
        """It is still busy with an answer before, and hears no question meanwhile."""
        answer = self._answer(meter, request, self._clock.now_ms(), is_spoiled=True)
        if answer is not None:
            self._spoil(answer, connection, "lost")

    def _serve(self, meter: M, request: Q, connection: int, say: Speak, fault: Fault | None) -> None:
        is_spoiled = fault is not None and not fault.is_after_the_deed
        answer = self._answer(meter, request, self._clock.now_ms(), is_spoiled=is_spoiled)
        if answer is None:
            return
        wake = WAKE * meter.wake_bytes
        if fault is None:
            self._show(answer, connection)
            say(wake + answer.frame)
            return
        after_s = 0.0
        match fault.kind:
            case "preamble":
                wake = b"" if chance(self._key, self.requests) < 0.5 else WAKE * _MANY
            case "duplicate":
                say(wake + answer.frame)
            case "noise":
                noise = misbehave.noise(chance(self._key, self.requests))
                if chance(self._key, -self.requests) < 0.5:
                    wake = noise + wake
                else:
                    answer = answer._replace(frame=answer.frame + noise)
            case "late":
                after_s = (fault.delay_ms or 0) / 1000
            case _:
                self._spoil(answer, connection, fault.kind)
                self._misbehave(meter, request, answer.frame, fault, say)
                return
        if after_s < meter.reply_timeout_s:
            self._show(answer, connection)
        else:
            self._spoil(answer, connection, fault.kind)
        say(wake + answer.frame, after_s=after_s)

    def _misbehave(self, meter: M, request: Q, answer: bytes, fault: Fault, say: Speak) -> None:
        roll = chance(self._key, self.requests)
        match fault.kind:
            case "foreign_unit":
                say(self._from_neighbour(answer))
            case "foreign_transaction":
                say(self._to_another_question(answer))
            case "garbled":
                say(misbehave.garbled(answer, roll))
            case "bad_checksum":
                say(misbehave.bad_checksum(answer, roll))
            case "truncated":
                say(misbehave.truncated(answer))
            case "echo":
                say(self._request_frame(request))
            case "exception" | "busy":
                say(self._refusal(meter, request, fault.code or self._busy))
            case "reboot":
                self._away_until_ms[meter.id] = self._clock.now_ms() + fault.outage_ms
            case _:
                pass  # silence, lost, reset, refused

    def _show(self, answer: Answer, connection: int) -> None:
        if answer.refused:
            self._spoil(answer, connection, answer.refused)
        elif self._ledger is not None and answer.shape is not None and answer.values is not None:
            self._ledger.shown(answer.at_ms, connection, answer.shape, answer.values)

    def _spoil(self, answer: Answer, connection: int, how: str) -> None:
        if self._ledger is not None and answer.shape is not None:
            self._ledger.spoiled(answer.at_ms, connection, answer.shape, how)

    def _is_away(self, meter: M, at_ms: int) -> bool:
        """Whether the meter, or all of the line, is rebooting."""
        for active in (*self.faults.scheduled(), *meter.faults.scheduled()):
            end_ms = active.outage_end_ms
            if active.start_ms <= at_ms and (end_ms is None or at_ms < end_ms):
                return True
        return at_ms < self._away_until_ms.get(meter.id, 0)
