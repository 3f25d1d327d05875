"""What can go wrong between a meter and its reader, chosen by seed and by the number of the request."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from models.document_hints import suggest
from models.errors import BadInput
from simulators.fields import DurationMs, Timed
from simulators.noise import chance, key_of

Kind = Literal[
    "silence", "lost", "late", "foreign_unit", "foreign_transaction", "garbled", "truncated", "echo",
    "duplicate", "exception", "busy", "reset", "refused", "reboot", "bad_checksum", "preamble",
    "noise",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)
OUTAGES = ("refused", "reboot")
"""Faults of the whole endpoint: with `after` they need no request to begin."""


class FaultMistake(BadInput):
    """A `--fault` that cannot be understood."""


class Fault(Timed):
    """One way to misbehave. What happens to a request when it strikes:

    silence              no answer, and none to any other for `lasts` (or for the whole window)
    lost                 no answer to this one
    late                 the right answer, `delay` later; it may meet the next request
    foreign_unit         the right answer under another unit id
    foreign_transaction  the right answer under another transaction id
    garbled              a header or byte count that is visibly wrong
    truncated            an answer that ends before its announced length
    echo                 the request itself comes back
    duplicate            the right answer, twice
    exception            exception `code`
    busy                 exception 06
    reset                the connection breaks in the middle of the answer
    refused              new connections are refused for `lasts`; open ones go on
    reboot               all connections break, and new ones are refused for `lasts`
    bad_checksum         the right answer with one bit turned over (serial lines; elsewhere as lost)
    preamble             the right answer behind none of the bytes that wake a line, or far too many of them
                         (DL/T 645 and CJ/T 188; elsewhere as lost)
    noise                the right answer with noise before or behind it (serial lines; elsewhere as lost)

    On a serial line a reboot is a silence of `lasts`; reset and refused are as lost.

    TCP protects the bytes of a reply, so values are never changed on the way: no reader could see it.
    `delay` is real time, as the reader's timeout is; all other times are the scenario's.
    """

    kind: Kind
    probability: float = Field(default=1.0, gt=0, le=1, description="for each request; 1: every one")
    times: int | None = Field(default=None, ge=1, description="at most so often")
    delay_ms: DurationMs | None = Field(default=None, description="of a late answer, as 3s")
    lasts_ms: DurationMs | None = Field(default=None, description="of a silence, refusal or reboot, as 60s")
    code: int | None = Field(default=None, ge=1, le=0x7F, description="of an exception, 1 to 11")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if (self.delay_ms is None) == (self.kind == "late"):
            raise ValueError("`late` needs a `delay`, such as 3s, and no other kind has one")
        if (self.code is None) == (self.kind == "exception"):
            raise ValueError("`exception` needs a `code`, 1 to 11, and no other kind has one")
        if self.lasts_ms is not None and self.kind not in ("silence", *OUTAGES):
            raise ValueError("only `silence`, `refused` and `reboot` last")
        return self

    @property
    def outage_ms(self) -> int:
        """How long an endpoint stays away; a small meter boots in ten seconds."""
        return 10_000 if self.lasts_ms is None else self.lasts_ms

    @property
    def is_after_the_deed(self) -> bool:
        """Whether a device that is told to do something has done it, though its answer goes wrong."""
        return self.kind not in ("silence", "exception", "busy", "echo", *OUTAGES)

    @property
    def is_scheduled(self) -> bool:
        """Whether it begins by itself and not with a request."""
        return self.kind in OUTAGES and self.probability == 1 and self.times is None


def parse_fault(text: str) -> Fault:
    """`lost=0.01`, `late=0.01:3s`, `exception=0.01:4`, `silence=0.001:60s`: kind=probability[:argument]."""
    kind, _, rest = text.partition("=")
    kind = kind.strip().replace("-", "_")
    if kind not in KINDS:
        raise FaultMistake(f"--fault {text}: there is no fault '{kind}' ({suggest(kind, KINDS)})")
    probability, _, argument = rest.partition(":")
    fields: dict[str, object] = {"kind": kind}
    try:
        fields["probability"] = float(probability) if probability else 1.0
        if argument:
            name = {"late": "delay", "exception": "code"}.get(kind, "lasts")
            fields[name] = int(argument) if name == "code" else argument
        return Fault.model_validate(fields)
    except ValidationError as err:
        what = err.errors(include_url=False, include_context=False)[0]["msg"].removeprefix("Value error, ")
    except ValueError:
        what = f"'{rest}' is not probability[:argument]"
    raise FaultMistake(f"--fault {text}: {what}; write it like lost=0.01, late=0.01:3s or exception=0.01:4")


@dataclass(slots=True, eq=False)
class ActiveFault:
    """A fault with its place in time; the handle to take it away again."""

    fault: Fault
    key: int
    start_ms: int
    end_ms: int | None
    struck: int = 0
    silent_until_ms: int | None = None

    def covers(self, now_ms: int) -> bool:
        return self.start_ms <= now_ms and (self.end_ms is None or now_ms < self.end_ms)

    @property
    def outage_end_ms(self) -> int | None:
        """When the endpoint takes connections again; None: when the fault is taken away."""
        if self.fault.kind == "reboot" or self.fault.lasts_ms is not None:
            return self.start_ms + self.fault.outage_ms
        return self.end_ms

    def strikes(self, request: int, now_ms: int) -> bool:
        """Whether it hits the request with this number, and if so remember it."""
        fault = self.fault
        if self.silent_until_ms is not None and now_ms < self.silent_until_ms:
            return True
        if not self.covers(now_ms) or (fault.times is not None and self.struck >= fault.times):
            return False
        if fault.probability < 1 and chance(self.key, request) >= fault.probability:
            return False
        self.struck += 1
        if fault.kind == "silence" and fault.lasts_ms is not None:
            self.silent_until_ms = now_ms + fault.lasts_ms
        return True


class FaultSet:
    """The faults of one meter or one endpoint. The first that strikes a request wins."""

    def __init__(self, name: str, *, seed: int, origin_ms: int, now_ms: Callable[[], int]) -> None:
        self._key = key_of(seed, "fault", name)
        self._origin_ms, self._now_ms = origin_ms, now_ms
        self._active: list[ActiveFault] = []
        self._added = self._requests = 0
        self.changed: Callable[[], None] = lambda: None  # the endpoint looks at its outages again

    def add(self, fault: Fault) -> ActiveFault:
        """From now on, or from its `after` on. Its `for` counts from there."""
        start_ms, end_ms = fault.window(self._origin_ms, self._now_ms())
        active = ActiveFault(fault, key_of(self._key, self._added), start_ms, end_ms)
        self._added += 1
        self._active.append(active)
        self.changed()
        return active

    def remove(self, active: ActiveFault) -> None:
        """Take one away; it may be gone already."""
        if active in self._active:
            self._active.remove(active)
            self.changed()

    def clear(self) -> None:
        self._active.clear()
        self.changed()

    def strike(self, now_ms: int) -> Fault | None:
        """The fault that the next request meets. Each call counts one request."""
        self._requests += 1
        for active in self._active:
            if not active.fault.is_scheduled and active.strikes(self._requests, now_ms):
                return active.fault
        return None

    def scheduled(self) -> Iterable[ActiveFault]:
        """The outages that begin by themselves."""
        return [active for active in self._active if active.fault.is_scheduled]
