"""The clock as a parameter: who needs time is handed a `Clock`, so that tests and demos own it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Clock:
    """Three views of one time, so that a simulated clock changes all of them together.

    `now_ms` is the wall clock in milliseconds since 1970 (UTC) and may jump; `monotonic_s` never does;
    `sleep` waits for that many seconds of `monotonic_s`.
    """

    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


def utc_text(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 with zone, as the API and the command line show it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hour_of(ms: int) -> int:
    """The start of the UTC hour that `ms` lies in."""
    return ms - ms % HOUR_MS
