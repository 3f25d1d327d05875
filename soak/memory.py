"""Keeps account of readings that were in memory alone when the agent was killed: nobody acknowledged them."""

import time
from collections.abc import Callable

from simulators.lab.disk import Trouble

BACK_WITHIN_S = 5.0
"""So soon after the disk works again the agent must have brought to it what it held."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Memory:
    """Times in which nothing reached the disk before the agent was killed."""

    def __init__(
        self, time_ms: Callable[[], int] = now_ms, *, back_within_ms: float = BACK_WITHIN_S * 1000
    ) -> None:
        self._time_ms, self._back_within_ms = time_ms, back_within_ms
        self.never_on_disk: list[tuple[int, int]] = []
        self._since_ms: int | None = None
        self._calm_since_ms: int | None = None

    def disk_is(self, trouble: Trouble) -> None:
        """What is wrong with the disk from now on."""
        refuses = bool(trouble.full or trouble.read_only) or any(
            (trouble.write_error, trouble.sync_error, trouble.short, trouble.read_error)
        )
        if not refuses:
            self._calm_since_ms = self._time_ms()
        elif self._since_ms is None or self._is_over:
            self._since_ms, self._calm_since_ms = self._time_ms(), None
        else:
            self._calm_since_ms = None

    def agent_ended(self) -> None:
        """The agent was killed, or ended by itself: its memory is gone."""
        if self._since_ms is not None and self.is_refusing:
            self.never_on_disk.append((self._since_ms, self._time_ms()))

    @property
    def is_refusing(self) -> bool:
        """Whether something may still be in memory because the disk refused it."""
        return self._since_ms is not None and not self._is_over

    @property
    def _is_over(self) -> bool:
        calm_ms = self._calm_since_ms
        return calm_ms is not None and self._time_ms() - calm_ms > self._back_within_ms
