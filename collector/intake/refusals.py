"""Says no: with a code that a gateway acts on, and a row that tells people how often and since when."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from models.errors import BadInput, RetryLater
from models.protocol import Code
from models.times import Clock

MAX_DETAIL: Final = 500
AT_ONCE: Final = 16  # refusals of one kind, before they count as a flood
GATHERED_S: Final = 1.0
QUIET_MS: Final = 15 * 60_000
"""After so long without a refusal of its kind the next one begins another episode."""

SUSPICIOUS: Final = frozenset(
    {
        Code.MALFORMED,
        Code.REVOKED,
        Code.WRONG_SUITE,
        Code.FOREIGN_GATEWAY,
        Code.CHAIN_BROKEN,
        Code.TOO_LARGE,
        Code.BAD_SIGNATURE,
        Code.CANNOT_OPEN,
    }
)
"""What an honest gateway is not told, or once when its store was restored; people are to look at it."""

_log = logging.getLogger(__name__)


class Refused(BadInput):
    """Something that a gateway sent is not accepted. `code` is one of `models.protocol.Code`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class IntakeBusy(RetryLater):
    """As many batches as the collector holds at once are waiting already."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the collector has its hands full; send the same again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Tally:
    """Refusals of one gateway and code since the last time of quiet."""

    seen: int = 0
    waiting: int = 0  # of `seen`: not on disk yet
    since_ms: int = 0  # the first of those that wait
    last_ms: int = 0
    detail: str = ""


class RefusalCounter:
    """Counts refusals: the first of a kind at once, and a flood of them once a second.

    So who floods the collector makes it write no more than a row a second, and the count is right all the
    same. A collector that is killed forgets what it has refused within its last second.
    """

    def __init__(
        self, write: Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]], clock: Clock
    ) -> None:
        """`write` runs a job in a transaction of its own; it may raise IntakeBusy."""
        self._write, self._clock = write, clock
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._gathering: asyncio.Task[None] | None = None

    async def note(self, gateway_id: str, code: str, detail: str) -> None:
        """Never raises: that something was refused is told to its sender in any case."""
        now_ms = self._clock.now_ms()
        tally = self._tallies.get((gateway_id, code))
        if tally is None or now_ms - tally.last_ms > QUIET_MS:
            _log.warning("refused %s: %s: %s", gateway_id or "an unknown sender", code, detail)
            left = tally.waiting if tally is not None else 0
            tally = self._tallies[gateway_id, code] = _Tally(waiting=left)
        if not tally.waiting:
            tally.since_ms = now_ms
        tally.seen += 1
        tally.waiting += 1
        tally.last_ms, tally.detail = now_ms, detail
        if tally.seen <= AT_ONCE:
            await self.flush()
        elif self._gathering is None:
            self._gathering = asyncio.create_task(self._flush_soon(), name="refusals")

    async def flush(self) -> None:
        """Write what is counted and not on disk. What cannot be written now is kept for the next time."""
        taken = {key: replace(tally) for key, tally in self._tallies.items() if tally.waiting}
        for key in taken:
            self._tallies[key].waiting = 0
        try:
            await self._write(lambda connection: _record(connection, taken))
        except IntakeBusy:
            for key, tally in taken.items():
                self._tallies[key].waiting += tally.waiting
                self._tallies[key].since_ms = tally.since_ms

    async def close(self) -> None:
        """Write the rest. Nothing is noted afterwards."""
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.wait([self._gathering])
        await self.flush()

    async def _flush_soon(self) -> None:
        await self._clock.sleep(GATHERED_S)
        self._gathering = None
        await self.flush()


def _record(connection: sqlite3.Connection, tallies: Mapping[tuple[str, str], _Tally]) -> None:
    """One row for each gateway and code, so that nobody can fill the disk with refusals."""
    connection.executemany(
        "INSERT INTO refusal (gateway_id, code, detail, count, first_ms, last_ms, episode_ms, episode_count) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?4) "
        "ON CONFLICT (gateway_id, code) DO UPDATE SET "
        "detail = excluded.detail, count = count + excluded.count, last_ms = excluded.last_ms, "
        "episode_ms = iif(excluded.first_ms - last_ms > ?7, excluded.first_ms, episode_ms), "
        "episode_count = excluded.count + iif(excluded.first_ms - last_ms > ?7, 0, episode_count)",
        [
            (*key, tally.detail[:MAX_DETAIL], tally.waiting, tally.since_ms, tally.last_ms, QUIET_MS)
            for key, tally in tallies.items()
        ],
    )
