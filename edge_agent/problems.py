"""What a refusal of the collector says."""

import contextlib
from dataclasses import dataclass
from typing import Any

import msgspec

from models.protocol import PROBLEM


@dataclass(frozen=True, slots=True)
class ToldProblem:
    """What a refusal says, as far as it is one of ours (RFC 9457)."""

    code: str
    told: str
    bad_seq: int | None


def problem_of(status: int, body: bytes) -> ToldProblem:
    """What a refusal says; of one that is not ours, the status."""
    fields: Any = None
    with contextlib.suppress(msgspec.MsgspecError):
        fields = msgspec.json.decode(body)
    if not isinstance(fields, dict):
        fields = {}
    kind, bad_seq = str(fields.get("type", "")), fields.get("bad_seq")
    code = kind.removeprefix(PROBLEM) if kind.startswith(PROBLEM) else ""
    told = " ".join(str(fields[name]) for name in ("detail", "hint") if fields.get(name))
    fallback = f"answers with status {status}"
    return ToldProblem(code, told or fallback, bad_seq if isinstance(bad_seq, int) else None)
