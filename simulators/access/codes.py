"""What happens at doors, and the codes under which two makes of controllers report it."""

from dataclasses import dataclass
from typing import Literal

Make = Literal["isapi", "shifted"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that a controller reports, and what a reader of its events should call it."""

    kind: str
    reason: str = ""
    credential: str = ""
    what: str = ""  # in words, where the kind alone does not say it


MEANINGS = {
    "card_ok": Meaning("door.granted", credential="card"),
    "face_ok": Meaning("door.granted", credential="face"),
    "no_right": Meaning("door.denied", reason="no_right", credential="card"),
    "wrong_hours": Meaning("door.denied", reason="outside_hours", credential="card"),
    "expired": Meaning("door.denied", reason="expired", credential="card"),
    "unknown_card": Meaning("door.denied", reason="unknown_credential", credential="card"),
    "face_failed": Meaning("door.denied", reason="verification_failed", credential="face"),
    "lock_open": Meaning("door.unlocked"),
    "lock_closed": Meaning("door.locked"),
    "button": Meaning("door.exit_request"),
    "opened": Meaning("door.opened"),
    "closed": Meaning("door.closed"),
    "forced": Meaning("door.forced"),
    "held_open": Meaning("door.held_open"),
    "tamper": Meaning("door.tamper", what="controller opened"),
    "tamper_over": Meaning("door.tamper_ended", what="controller closed"),
    "started": Meaning("door.other", what="controller switched on"),
    "remote_open": Meaning("door.granted", credential="remote"),
    "remote_lock": Meaning("door.locked", credential="remote"),
    "remote_unlock": Meaning("door.unlocked", credential="remote"),
    "mystery": Meaning("door.unknown"),  # a code that no manual has
}

_ISAPI = {
    "card_ok": (5, 1),
    "face_ok": (5, 75),
    "no_right": (5, 6),
    "wrong_hours": (5, 7),
    "expired": (5, 8),
    "unknown_card": (5, 9),
    "face_failed": (5, 76),
    "lock_open": (5, 21),
    "lock_closed": (5, 22),
    "button": (5, 23),
    "opened": (5, 25),
    "closed": (5, 26),
    "forced": (5, 27),
    "held_open": (5, 28),
    "tamper": (1, 1028),
    "tamper_over": (1, 1029),
    "started": (2, 1024),
    "remote_open": (3, 1024),
    "remote_lock": (3, 1025),
    "remote_unlock": (3, 1026),
    "mystery": (5, 4711),
}
_SHIFTED = {
    "card_ok": (5, 1),
    "no_right": (5, 6),
    "wrong_hours": (5, 7),
    "expired": (5, 8),
    "unknown_card": (5, 9),
    "lock_open": (5, 20),
    "lock_closed": (5, 21),
    "button": (5, 22),
    "opened": (5, 24),
    "closed": (5, 25),
    "forced": (5, 26),
    "held_open": (5, 27),
    "mystery": (5, 4711),
}
CODES: dict[Make, dict[str, tuple[int, int]]] = {"isapi": _ISAPI, "shifted": _SHIFTED}
"""Major and minor code by make. What a make has no code for, it does not report."""
