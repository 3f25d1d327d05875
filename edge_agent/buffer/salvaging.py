"""Brings files that were set aside into the store that took their place, while that one is in use."""

import asyncio
import logging
from pathlib import Path
from typing import Final

import aiosqlite

from drivers.waiting import sleep_unless
from edge_agent.buffer import recovery
from edge_agent.buffer.aside import SetAside, newest_aside, remove_oldest
from edge_agent.buffer.contract import BufferUnavailable
from edge_agent.buffer.core import Core
from edge_agent.buffer.database import SCHEMA
from edge_agent.buffer.findings import Job, Piece
from edge_agent.buffer.recovery import Recovery

_RETRY_S: Final = 5.0  # after which a disk that refused is asked again

_log = logging.getLogger(__name__)


class Salvaging:
    """One file after the other, each in pieces between which readings are stored."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._begun: Recovery | None = None

    async def begin(self, aside: SetAside, *, last_given: int) -> None:
        """Go on where the file was, as far as it can be read. For the writer's task, with an empty store."""
        taken = Recovery(aside.path, SCHEMA, self._core.at_rest)
        try:
            await asyncio.to_thread(taken.look, last_given=last_given)
        except OSError as err:
            _log.warning("%s: cannot be read, nothing of it is salvaged: %s", aside.path, err)

        async def work(connection: aiosqlite.Connection) -> None:
            await taken.begin(connection)
            await self._core.load()
            found = taken.found
            facts = {
                "file": aside.path.name,
                "reason": aside.reason,
                "last_seq": found.last_seq,
                "collectors_kept": len(found.collectors),
                "marks_kept": len(found.marks),
            }
            await self._core.tell(connection, "buffer.set-aside", facts)

        try:
            await self._core.changing(work)
        except BaseException:
            taken.close()
            raise
        if self._begun is not None:
            self._begun.close()
        self._begun = taken
        self._start()

    async def resume(self) -> None:
        """Go on with what an earlier run did not finish. For the writer's task."""
        if await recovery.jobs(self._core.connection):
            self._start()

    async def wait(self) -> None:
        """Return when nothing is left to be brought in, or the store is closed."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Return when nothing runs any more. What is left is done after the next start."""
        self._stop.set()
        await self.wait()
        if self._begun is not None:
            self._begun.close()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="buffer salvage")

    async def _run(self) -> None:
        while not self._stop.is_set():
            try:
                jobs = await self._core.read(recovery.jobs)
                if not jobs:
                    await self._remove_oldest()
                    return
                await self._bring(jobs[0])
            except BufferUnavailable:
                await sleep_unless(self._stop, _RETRY_S, self._core.clock)

    async def _bring(self, job: Job) -> None:
        path = self._core.path.with_name(job.file)
        begun, self._begun = self._begun, None
        if begun is None or begun.aside != path:
            begun = Recovery(path, SCHEMA, self._core.at_rest)
            try:
                await asyncio.to_thread(begun.look, job=job)
            except OSError as err:
                _log.warning("%s: cannot be read any more, what was in it is missing: %s", path, err)
        try:
            while (piece := await asyncio.to_thread(begun.next)) is not None:
                await self._change(begun, piece)
                if self._stop.is_set():  # not before: who starts again and again gets on too
                    return
            await self._finish(begun)
        finally:
            begun.close()

    async def _change(self, begun: Recovery, piece: Piece) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            await begun.bring(connection, piece, self._core.states())

        size = sum(len(batch[-1]) for batch in piece.batches) + recovery.PIECE_BYTES
        await self._core.run(lambda: self._core.changing(work, bytes_written=size))

    async def _finish(self, begun: Recovery) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            facts, losses = await begun.finish(connection, self._core.states())
            for lost in losses:
                await self._core.tell(connection, "buffer.gap", lost.facts())
            await self._core.tell(connection, "buffer.salvaged", facts)

        await self._core.run(lambda: self._core.changing(work))

    async def _remove_oldest(self) -> None:
        try:
            removed = await asyncio.to_thread(remove_oldest, self._core.path)
        except OSError as err:
            _log.warning("files that were set aside before cannot be removed: %s", err)
            return
        for name in removed:
            _log.info("%s is removed: newer files were set aside", name)


def unfinished_aside(path: Path) -> SetAside | None:
    """A file that was set aside by a run that ended before it could begin anything with it."""
    newest = newest_aside(path)
    return None if newest is None else SetAside(newest, "the agent was stopped when it had just set it aside")
