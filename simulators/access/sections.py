"""What a scenario says of doors: controllers, lines of readers, and what goes wrong with them."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from models.document import Mistake
from models.document_hints import suggest
from simulators.access.codes import Make
from simulators.access.messages import Form
from simulators.faults import Fault, FaultMistake
from simulators.fields import DurationMs, Section, Timed

MOST_CLOCK_S = 2_000_000_000  # 63 years: enough for a clock that was never set

DeliveryFault = Literal["lost", "duplicate", "swapped", "late", "garbage", "cut"]
StateFault = Literal["refused", "reboot", "clock", "reset"]


class DoorFault(Timed):
    """One way for a controller to misbehave.

    lost       an event is neither pushed nor streamed; the log has it
    duplicate  it is sent twice
    swapped    it is sent after the next one
    late       it is sent `delay` later
    garbage    something that is no message is sent in its place
    cut        all connections break in its place
    refused    every request is answered with 401, as by a controller that has locked somebody out
    reboot     all connections break, and there are none for `lasts`
    clock      its clock shows `seconds` more
    reset      it is as new from the factory: its log is empty and its numbers begin at 1
    """

    kind: DeliveryFault | StateFault
    probability: float = Field(default=1.0, gt=0, le=1, description="for each event; 1: every one")
    delay_ms: DurationMs | None = Field(default=None, description="of a late event, as 3s")
    lasts_ms: DurationMs | None = Field(default=None, description="of a reboot, as 60s")
    seconds: int | None = Field(
        default=None,
        ge=-MOST_CLOCK_S,
        le=MOST_CLOCK_S,
        description="of a wrong clock; -3600 is an hour behind",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for name, kind in (("delay_ms", "late"), ("lasts_ms", "reboot"), ("seconds", "clock")):
            if (getattr(self, name) is None) == (self.kind == kind):
                raise ValueError(f"`{kind}` needs `{name.removesuffix('_ms')}`, and no other kind has one")
        return self


def parse_door_fault(text: str) -> DoorFault:
    """`lost=0.1`, `late=0.1:3s`, `reboot=1:60s`, `clock=1:-3600`: kind=probability[:argument]."""
    kinds = (*get_args(DeliveryFault), *get_args(StateFault))
    kind, _, rest = text.partition("=")
    if kind not in kinds:
        raise FaultMistake(f"--fault {text}: there is no fault '{kind}' ({suggest(kind, kinds)})")
    probability, _, argument = rest.partition(":")
    fields: dict[str, object] = {"kind": kind}
    try:
        fields["probability"] = float(probability) if probability else 1.0
        if argument:
            name = {"late": "delay", "clock": "seconds"}.get(kind, "lasts")
            fields[name] = int(argument) if kind == "clock" else argument
        return DoorFault.model_validate(fields)
    except ValidationError as err:
        what = err.errors(include_url=False, include_context=False)[0]["msg"].removeprefix("Value error, ")
    except ValueError:
        what = f"'{rest}' is not probability[:argument]"
    raise FaultMistake(f"--fault {text}: {what}; write it like lost=0.1, late=0.1:3s or clock=1:-3600")


class DoorControllerSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    make: Make = Field(default="isapi", description="whose codes it has")
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="0: a free one")
    username: str = "gateway"
    password: str = "Seite-An-Seite-7"  # noqa: S105  # of a simulated device
    doors: int = Field(default=2, ge=1, le=8)
    people: int = Field(default=20, ge=0, le=500, description="who work there")
    log_size: int = Field(default=100_000, ge=1, le=1_000_000, description="events that its log holds")
    page_size: int = Field(default=30, ge=1, le=1000, description="the most that one page of it holds")
    streams: bool = Field(default=True, description="whether it offers alertStream")
    push_url: str | None = Field(default=None, pattern=r"^http://", description="where it pushes to")
    form: Form = "json"
    pictures: bool = Field(default=False, description="whether it pushes pictures of people")
    lengths: bool = Field(default=True, description="whether the parts of its stream say how long they are")
    replays: int = Field(default=0, ge=0, description="old events that a new stream begins with")
    heartbeat_ms: DurationMs = 10_000
    nonces_once: bool = Field(default=False, description="whether each nonce counts for one request only")
    utc_offset_h: float = Field(default=8.0, ge=-12, le=14, multiple_of=0.25)
    faults: tuple[DoorFault, ...] = ()


Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class ReaderSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    address: int = Field(ge=0, le=126)
    key: Key | Literal["default", "none"] = Field(
        default="none", description="its own in hex; default: that of the standard; none: it speaks in clear"
    )
    outputs: int = Field(default=1, ge=0, le=8)


class OsdpLineSection(Section):
    readers: tuple[ReaderSection, ...] = Field(min_length=1)
    people: int = Field(default=0, ge=0, le=500, description="who hold cards to them by themselves")
    every_ms: DurationMs = Field(default=5_000, ge=100, description="between two cards, as 5s")
    faults: tuple[Fault, ...] = Field(
        default=(), description="of the whole line; what has no meaning on it is as lost"
    )


def find_mistakes(section: DoorControllerSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself."""
    if not section.streams and section.push_url is None and section.heartbeat_ms != 10_000:
        yield Mistake(("heartbeat",), "is sent on a stream, and there is none", "streams: true")


def find_line_mistakes(section: OsdpLineSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself."""
    ids: set[str] = set()
    addresses: set[int] = set()
    for index, reader in enumerate(section.readers):
        if reader.id in ids:
            yield Mistake(("readers", index, "id"), f"a reader '{reader.id}' stands above already")
        if reader.address in addresses:
            yield Mistake(("readers", index, "address"), f"address {reader.address} stands above already")
        ids.add(reader.id)
        addresses.add(reader.address)
