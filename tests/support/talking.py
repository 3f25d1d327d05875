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

        self._talker.hear(request, 1, _Saying(at_once, self.later))
        return at_once


class _Saying:
    def __init__(self, at_once: list[bytes], later: list[tuple[float, bytes]]) -> None:
        self._at_once, self._later = at_once, later

    def __call__(self, data: bytes, *, after_s: float = 0.0, who: str = "") -> None:
        if after_s:
            self._later.append((after_s, data))
        else:
            self._at_once.append(data)

    def is_speaking(self, who: str) -> bool:
        return False
