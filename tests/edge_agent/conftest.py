"""What the tests of the edge agent share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.sqlite import SqliteBuffer
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def buffer(tmp_path: Path, clock: VirtualClock) -> AsyncIterator[SqliteBuffer]:
    """A buffer that commits as soon as something is appended."""
    async with await open_buffer(tmp_path / "buffer.db", clock.clock, window_s=0) as opened:
        yield opened


@pytest.fixture
async def outbox(buffer: SqliteBuffer) -> SqliteOutbox:
    """What the one collector has of `buffer`."""
    return await buffer.outbox("main")


@pytest.fixture(scope="session")
def sealer() -> Sealer:
    return Sealer()
