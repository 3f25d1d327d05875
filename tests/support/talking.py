"""Hands requests to the simulated meters of a line, without the line, and keeps what they say."""

from typing import Protocol

from simulators.line.serial import Say


class Talker(Protocol):
    def hear(self, data: bytes, connection: int, say: Say) -> None: ...


class Said:
    """What was said, at once and later."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self.later: list[tuple[float, bytes]] = []

    def __call__(self, request: bytes) -> list[bytes]:
        """What is said at once in answer to a request."""
        at_once: list[bytes] = []

        def say(data: bytes, *, after_s: float = 0.0) -> None:
            if after_s:
                self.later.append((after_s, data))
            else:
                at_once.append(data)

        self._talker.hear(request, 1, say)
        return at_once
