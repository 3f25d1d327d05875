"""What a device can be told to do, and what must be said with it. Both sides check by this same list.

Secret arguments (card numbers, PINs) travel sealed for the gateway (`models.sealing`) and are shown nowhere:
what is kept of a command is `shown`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from models.errors import BadInput

Group = Literal["write", "doors"]
"""What the configuration of a gateway allows the collector to have done."""

GROUPS: Final[tuple[Group, ...]] = ("write", "doors")

HIDDEN: Final = "•••"
"""What stands in place of a secret argument."""


class ArgumentsWrong(BadInput):
    """There is no such action, or it cannot be done with these arguments. Shows no argument's value."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what


Door = Annotated[int, Meta(ge=1, lt=10_000, description="number of the door at its controller")]
# Patterns end with `\Z`, for `$` lets a line end pass.
PassId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z", description="names the pass")]
Ms = Annotated[int, Meta(ge=946_684_800_000, lt=4_102_444_800_000)]  # 2000 to 2099


class _Arguments(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Plain JSON, each field once."""


class NoArguments(_Arguments, frozen=True, kw_only=True):
    pass


class WriteArguments(_Arguments, frozen=True, kw_only=True):
    point: Annotated[str, Meta(min_length=1, max_length=60, description="name of a writable point")]
    value: Annotated[float, Meta(description="in the unit of the point")]


class DoorArguments(_Arguments, frozen=True, kw_only=True):
    door: Door = 1


class PassArguments(_Arguments, frozen=True, kw_only=True):
    """A pass that a visitor opens doors with for some time: a card or a PIN."""

    pass_: PassId = msgspec.field(name="pass")
    doors: Annotated[list[Door], Meta(min_length=1, max_length=64)]
    from_ms: Ms
    to_ms: Ms
    card: Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{1,32}\Z")] | None = None
    pin: Annotated[str, Meta(pattern=r"^[0-9]{4,8}\Z")] | None = None


class PassIdArguments(_Arguments, frozen=True, kw_only=True):
    pass_: PassId = msgspec.field(name="pass")


def _no_mistake(_arguments: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done."""

    group: Group
    arguments: type[_Arguments]
    is_idempotent: bool
    """Whether doing it twice is as good as doing it once. Else it is never repeated when nobody knows
    whether it was done."""
    secret: frozenset[str] = frozenset()
    mistake: Callable[[Any], tuple[str, str] | None] = _no_mistake


def _finite(arguments: WriteArguments) -> tuple[str, str] | None:
    return None if math.isfinite(arguments.value) else ("value", "must be a number")


def _pass_mistake(arguments: PassArguments) -> tuple[str, str] | None:
    if (arguments.card is None) == (arguments.pin is None):
        return "card", "give either a card or a pin"
    if arguments.from_ms >= arguments.to_ms:
        return "to_ms", "must be after from_ms"
    return None


ACTIONS: Final[Mapping[str, Action]] = {
    "write": Action(group="write", arguments=WriteArguments, is_idempotent=True, mistake=_finite),
    "set_time": Action(group="write", arguments=NoArguments, is_idempotent=True),
    "open_once": Action(group="doors", arguments=DoorArguments, is_idempotent=False),
    "lock": Action(group="doors", arguments=DoorArguments, is_idempotent=True),
    "unlock": Action(group="doors", arguments=DoorArguments, is_idempotent=True),
    "put_pass": Action(
        group="doors",
        arguments=PassArguments,
        is_idempotent=True,
        secret=frozenset({"card", "pin"}),
        mistake=_pass_mistake,
    ),
    "take_pass": Action(group="doors", arguments=PassIdArguments, is_idempotent=True),
}
"""By name. `open_once` lets one person through; `unlock` leaves a door open until `lock`."""


def checked_arguments(action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, whole and with their defaults. Raise ArgumentsWrong."""
    known = ACTIONS.get(action)
    if known is None:
        raise ArgumentsWrong("action", f"there is no such action; there are {', '.join(ACTIONS)}")
    try:
        converted = msgspec.convert(arguments, known.arguments)
    except msgspec.ValidationError as err:
        what, _, where = str(err).partition(" - at `$")
        raise ArgumentsWrong(f"arguments{where.rstrip('`')}", _plain(what)) from None
    mistake = known.mistake(converted)
    if mistake is not None:
        raise ArgumentsWrong(f"arguments.{mistake[0]}", mistake[1])
    given = msgspec.to_builtins(converted)
    return {name: value for name, value in given.items() if value is not None}


def shown_arguments(action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What may be kept and shown of them; of an unknown action, nothing."""
    known = ACTIONS.get(action)
    if known is None:
        return {}
    fields = known.arguments.__struct_encode_fields__
    return {
        name: HIDDEN if name in known.secret else value for name, value in arguments.items() if name in fields
    }


def _plain(what: str) -> str:
    return what[:1].lower() + what[1:]
