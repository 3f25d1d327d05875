"""What a Modbus device says of itself, where it offers that (function 43, type 14).

Source: MODBUS Application Protocol V1.1b3, 6.21.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from drivers.modbus.link import Answer, Question

NAMES: Final = {0: "vendor", 1: "product", 2: "revision"}
"""Of the objects that every device has which offers any."""

_FUNCTION: Final = b"\x2b\x0e"
_BASIC: Final = 1
_MOST_ROUNDS: Final = 4  # a device that always says that more follows must not keep us

WHO_ARE_YOU: Final = Question(_FUNCTION + bytes((_BASIC, 0)), _FUNCTION + bytes((_BASIC,)), 0)
"""Touches no register, and is answered by every device, be it with a refusal."""

Ask = Callable[[Question], Awaitable[Answer | None]]


async def read_identification(ask: Ask) -> dict[str, str]:
    """By the names of `NAMES`; empty when the device does not offer it."""
    said: dict[str, str] = {}
    first = 0
    for _ in range(_MOST_ROUNDS):
        pdu = WHO_ARE_YOU.pdu[:-1] + bytes((first,))
        answer = await ask(WHO_ARE_YOU._replace(pdu=pdu))
        if answer is None or answer.refusal:
            break
        objects, following = _objects(answer.pdu)
        said |= {NAMES[number]: _text(value) for number, value in objects if number in NAMES}
        if following <= first:
            break
        first = following
    return said


def _objects(pdu: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The objects in a reply, and which one to go on with; 0 when there is none."""
    if len(pdu) < 7:
        return [], 0
    found: list[tuple[int, bytes]] = []
    at = 7
    for _ in range(pdu[6]):
        if len(pdu) < at + 2 or len(pdu) < at + 2 + pdu[at + 1]:
            return found, 0
        found.append((pdu[at], pdu[at + 2 : at + 2 + pdu[at + 1]]))
        at += 2 + pdu[at + 1]
    return found, pdu[5] if pdu[4] else 0


def _text(value: bytes) -> str:
    text = value.decode("utf-8", "replace").strip("\0 ")
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
