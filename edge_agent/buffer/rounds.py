"""Looks at all blocks by and by, so that damage shows while only a little is damaged.

A large file is not checked when it is opened, and what waits for a collector may lie for weeks.
"""

from itertools import pairwise
from typing import Final

import aiosqlite

from edge_agent.buffer.blocks import BlockDamaged
from edge_agent.buffer.core import Core
from edge_agent.buffer.database import RowsBroken
from edge_agent.buffer.losses import Lost, drop_damaged
from edge_agent.buffer.rows import StoredBlock, find_blocks

EVERY_S: Final = 30.0
BLOCKS_A_PIECE: Final = 100
"""So that a piece takes some milliseconds, and a week of blocks, one each 10 s, five hours."""

_SPANS: Final = (
    "SELECT first_seq, count, holes, thinned FROM block INDEXED BY block_span "
    "WHERE first_seq > ? AND first_seq <= ? ORDER BY first_seq"
)


class Rounds:
    """Where the next piece begins. All of it runs in the writer's task."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._after = 0

    async def piece(self) -> bool:
        """Check some blocks more; whether there are more behind them.

        What is told of damage is an error of SQLite, which is for `Core.guarded`.
        """
        blocks = await self._core.guarded(lambda: self._next(self._core.connection))
        damaged = [block for block in blocks if not _is_sound(block, self._core)]
        for block in damaged:
            await self._drop(block)
        self._after = blocks[-1].first_seq if blocks else 0
        return bool(blocks)

    async def _next(self, connection: aiosqlite.Connection) -> list[StoredBlock]:
        where = f"first_seq > ? ORDER BY first_seq LIMIT {BLOCKS_A_PIECE}"
        blocks = await find_blocks(connection, where, (self._after,))
        last = blocks[-1].first_seq if len(blocks) == BLOCKS_A_PIECE else 1 << 62
        noted = [tuple(row) for row in await connection.execute_fetchall(_SPANS, (self._after, last))]
        if noted != [(block.first_seq, block.count, block.holes, block.thinned) for block in blocks]:
            raise RowsBroken("the blocks are not those that their index names")
        if any(block.first_seq <= before.last_seq for before, block in pairwise(blocks)):
            raise RowsBroken("two of its blocks hold the same number")
        return blocks

    async def _drop(self, block: StoredBlock) -> None:
        async def work(connection: aiosqlite.Connection) -> None:
            lost = Lost("damaged")
            await drop_damaged(connection, block, self._core.states(), lost)
            await self._core.tell(connection, "buffer.gap", lost.facts())

        await self._core.changing(work)


def _is_sound(block: StoredBlock, core: Core) -> bool:
    try:
        block.items(core.at_rest)
    except BlockDamaged:
        return False
    return True
