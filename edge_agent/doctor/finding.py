"""What a check says: how it is, what was seen, and what to do next."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

State = Literal["ok", "warning", "problem", "skipped"]


_NONE: Mapping[str, Any] = {}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    check: str  # such as collector.tls
    subject: str = ""  # which one, where there may be several
    state: State
    seen: str  # of a skipped one, why
    next: str = ""  # what to do; "" where nothing needs doing
    facts: dict[str, Any] = {}  # the figures, for programs


def ok(check: str, seen: str, *, subject: str = "", facts: Mapping[str, Any] = _NONE) -> Finding:
    """As it should be."""
    return Finding(check=check, subject=subject, state="ok", seen=seen, facts=dict(facts))


def warning(
    check: str, seen: str, next_: str, *, subject: str = "", facts: Mapping[str, Any] = _NONE
) -> Finding:
    """It works, and somebody should look after it."""
    return Finding(check=check, subject=subject, state="warning", seen=seen, next=next_, facts=dict(facts))


def problem(
    check: str, seen: str, next_: str, *, subject: str = "", facts: Mapping[str, Any] = _NONE
) -> Finding:
    """Something does not work, or soon will not."""
    return Finding(check=check, subject=subject, state="problem", seen=seen, next=next_, facts=dict(facts))


def skipped(check: str, why: str, *, subject: str = "") -> Finding:
    """It could not be looked at, or there is no such thing here."""
    return Finding(check=check, subject=subject, state="skipped", seen=why)
