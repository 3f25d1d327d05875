"""The one task that writes: commits in groups what many tasks append, and runs other work in between."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from drivers.waiting import sleep_unless
from edge_agent.buffer.blocks import BLOCK_ITEMS, Chunk
from edge_agent.buffer.contract import BufferUnavailable, SeqRange
from models.times import Clock

T = TypeVar("T")

TELEMETRY_WINDOW_S: Final = 0.1
"""How long a reading may wait for others to share its commit: one write to flash for a whole sweep."""

MAX_QUEUED_ITEMS: Final = 50_000  # about 15 MB; whoever appends more than the disk can take has to wait


@dataclass(frozen=True, slots=True)
class Append:
    """What one task wants stored, and where it waits for its sequence numbers."""

    chunks: Sequence[Chunk]
    marks: Mapping[str, str]
    count: int
    done: asyncio.Future[SeqRange]


@dataclass(frozen=True, slots=True)
class _Work:
    run: Callable[[], Awaitable[Any]]
    done: asyncio.Future[Any]


class Writer:
    """Runs `commit` and all other work in one task, so a cancelled caller can leave nothing half done.

    `tidy` runs after each commit, when those who waited for it have their answer.

    A group is committed as soon as it holds something urgent or `BLOCK_ITEMS` items, else when its first
    item has waited for `window_s`.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Append]], Awaitable[Sequence[SeqRange]]],
        tidy: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        window_s: float,
    ) -> None:
        self._commit, self._tidy, self._clock, self._window_s = commit, tidy, clock, window_s
        self._appends: deque[Append] = deque()
        self._work: deque[_Work] = deque()
        self._queued_items = 0
        self._closing = False
        self._something = asyncio.Event()
        self._at_once = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="buffer writer")

    async def append(self, chunks: Sequence[Chunk], marks: Mapping[str, str]) -> SeqRange:
        """Return after the commit. Raise what `commit` raises."""
        count = sum(chunk.count for chunk in chunks)
        # Events are, and marks without items: what they permit waits for them, such as a door.
        urgent = not chunks or count > sum(chunk.readings for chunk in chunks)
        while self._queued_items and self._queued_items + count > MAX_QUEUED_ITEMS:
            self._room.clear()
            await self._room.wait()
        self._refuse_when_closing()
        done: asyncio.Future[SeqRange] = asyncio.get_running_loop().create_future()
        self._appends.append(Append(chunks, marks, count, done))
        self._queued_items += count
        self._something.set()
        if urgent or self._queued_items >= BLOCK_ITEMS:
            self._at_once.set()
        return await done

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns, run where nothing else writes. It is finished even when the caller is not."""
        self._refuse_when_closing()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.append(_Work(work, done))
        self._something.set()
        if self._appends:  # a group that is growing would keep this work waiting
            self._at_once.set()
        return await done

    async def close(self) -> None:
        """Return when all that was handed over is written. Safe to call twice."""
        self._closing = True
        self._something.set()
        self._at_once.set()
        self._room.set()
        await asyncio.shield(self._task)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise BufferUnavailable("the buffer is closed; start the agent again")

    async def _run(self) -> None:
        while True:
            while self._work:
                await self._finish(self._work.popleft())
            if self._appends:
                await self._let_the_group_grow()
                await self._commit_group()
            elif self._closing and not self._work:
                return
            elif not self._work:
                self._something.clear()
                await self._something.wait()

    async def _let_the_group_grow(self) -> None:
        if self._window_s and not self._closing:
            await sleep_unless(self._at_once, self._window_s, self._clock)

    async def _commit_group(self) -> None:
        group = [self._appends.popleft()]
        items = group[0].count
        while self._appends and items + self._appends[0].count <= MAX_QUEUED_ITEMS:
            group.append(self._appends.popleft())
            items += group[-1].count
        self._queued_items -= items
        if not self._appends:
            self._at_once.clear()
        self._room.set()
        try:
            ranges = await self._commit(group)
        except Exception as err:  # whatever it is, it belongs to those who wait; the next group may succeed
            for append in group:
                if not append.done.done():
                    append.done.set_exception(err)
            return
        for append, numbers in zip(group, ranges, strict=True):
            if not append.done.done():
                append.done.set_result(numbers)
        with contextlib.suppress(BufferUnavailable):  # what was appended is safe; tidied next time
            await self._tidy()

    async def _finish(self, work: _Work) -> None:
        try:
            result = await work.run()
        except Exception as err:
            if not work.done.done():
                work.done.set_exception(err)
            return
        if not work.done.done():
            work.done.set_result(result)
