"""What the readers of an OSDP line say, and what is said to them, without libosdp's dictionaries. Pure."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader on the line. With a key, nothing is taken from it that its key does not protect."""

    address: int
    key: bytes | None = field(default=None, repr=False)


class Security(enum.Enum):
    """How the line to a reader is protected."""

    OWN_KEY = "own_key"
    NONE = "none"  # it was given no key, and speaks in clear
    DEFAULT_KEY = "default_key"  # anybody who knows the standard can read and speak along
    WRONG_KEY = "wrong_key"  # it is there, and does not know the key that was given for it


@dataclass(frozen=True, slots=True)
class Seen:
    """A card; the bits are never shown."""

    reader: int
    bits: int
    data: bytes = field(repr=False)
    is_text: bool
    is_backwards: bool


@dataclass(frozen=True, slots=True)
class Typed:
    """Keys were pressed; which ones, nobody is told."""

    reader: int
    begins: bool  # with a digit
    ends: bool  # with # or *


@dataclass(frozen=True, slots=True)
class Status:
    """What the reader says of itself."""

    is_tampered: bool
    power_failed: bool


@dataclass(frozen=True, slots=True)
class Online:
    is_online: bool


@dataclass(frozen=True, slots=True)
class Found:
    """How the line to the reader is protected, when that is known or changes."""

    security: Security


Happening = Seen | Typed | Status | Online | Found
Heard = Callable[[int, Happening], object]


class Outcome(enum.Enum):
    """What became of a command."""

    DONE = "done"
    FAILED = "it did not confirm"
    OFFLINE = "it does not answer"
    NO_OUTPUT = "it has no such output"


Done = Callable[[Outcome], None]
