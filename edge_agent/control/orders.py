"""One thing that a device is to do, whoever wants it, and what is remembered of it over a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from models.actions import shown_arguments
from models.command import Outcome
from models.times import DAY_MS

Origin = Literal["collector", "on-site"]
State = Literal["done", "refused", "failed"]

PREFIX: Final = "command/"
"""Of the marks, which go on with the command's id."""

REMEMBERED_MS: Final = 7 * DAY_MS
"""How long after its end a command is known: longer than a clock that jumps back could bring it to life."""

UNKNOWN_OUTCOME: Final = "unknown-outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to do, in clear: its arguments may be secret and show in no `repr`."""

    id: str
    device_id: str
    action: str
    arguments: Mapping[str, Any] = field(repr=False)
    by: str
    origin: Origin
    expires_ms: int

    def outcome(self, *, result: dict[str, Any] | None = None, code: str = "", detail: str = "") -> Outcome:
        """What is told of it, without secrets."""
        return Outcome(
            id=self.id,
            action=self.action,
            arguments=shown_arguments(self.action, self.arguments),
            by=self.by,
            origin=self.origin,
            result=result or {},
            code=code,
            detail=detail,
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How it came out. Refused: nothing was done. Failed: it was tried, and may have been done or not."""

    state: State
    outcome: Outcome


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a command. With `begun`, nobody knows yet whether it was done."""

    until_ms: int  # forget it then
    expires_ms: int = 0
    device_id: str = ""
    begun: Outcome | None = None  # as it would be told, without result

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


def mark_of(order: Order, *, begun: bool) -> Mark:
    """Its mark, right before it is done or after all is told."""
    until_ms = order.expires_ms + REMEMBERED_MS
    if not begun:
        return Mark(until_ms)
    return Mark(until_ms, order.expires_ms, order.device_id, order.outcome())


def decoded_mark(text: str) -> Mark | None:
    """None for what is none: it then counts as damaged, and the command as known and ended."""
    try:
        return msgspec.json.decode(text, type=Mark)
    except msgspec.MsgspecError:
        return None
