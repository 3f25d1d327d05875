"""Doors, and the passes of visitors."""

import getpass
import secrets
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from edge_agent.commands.answer import Answer
from edge_agent.commands.telling import tell
from models.errors import NeedsAHuman
from models.times import HOUR_MS, utc_text

PIN_DIGITS: Final = 6


def door(path: Path, device_id: str, action: str, number: int) -> Answer:
    """`action` is open_once, lock or unlock."""
    return tell(path, device_id, action, {"door": number})


def put_pass(
    path: Path,
    device_id: str,
    pass_id: str,
    *,
    doors: list[int],
    begins: str | None,
    hours: float,
    card: bool,
) -> Answer:
    """With a card, whose number is asked for, or with a PIN that is made up here and shown this once.

    Neither stands in the command line, where other users of the machine could see it.
    """
    from_ms = time.time_ns() // 1_000_000 if begins is None else _moment_ms(begins)
    arguments: dict[str, Any] = {
        "pass": pass_id,
        "doors": doors,
        "from_ms": from_ms,
        "to_ms": from_ms + round(hours * HOUR_MS),
    }
    if card:
        return tell(path, device_id, "put_pass", arguments | {"card": _card_number()})
    pin = f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}}"
    answer = tell(path, device_id, "put_pass", arguments | {"pin": pin})
    if not answer.is_good:
        return answer
    until = utc_text(arguments["to_ms"])
    text = f"{answer.text}\nPIN {pin}, until {until}. It is not shown again and kept nowhere but at the door."
    return replace(answer, data=answer.data | {"pin": pin}, text=text)


def take_pass(path: Path, device_id: str, pass_id: str) -> Answer:
    return tell(path, device_id, "take_pass", {"pass": pass_id})


def _moment_ms(text: str) -> int:
    """In the time zone of this machine, unless it says another."""
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError):
        raise NeedsAHuman(f"--from: {text!r} is no time; write 2026-09-21T08:00") from None


def _card_number() -> str:
    number = getpass.getpass("Card number: ") if sys.stdin.isatty() else sys.stdin.readline()
    return number.strip()
