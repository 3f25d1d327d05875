"""What a question to a meter comes to."""

from typing import NamedTuple

from models.reading import Reason


class Said(NamedTuple):
    """The data of an answer, without identifier and numbers."""

    data: bytes
    measured_ms: int
    received_ms: int


class Unsaid(NamedTuple):
    """Why there are no data."""

    reason: Reason
    measured_ms: int
    received_ms: int
    errors: tuple[str, ...] = ()  # what the meter said when it refused
