"""Buffers for tests, encrypted with a key that every test knows."""

from pathlib import Path
from typing import Any, Final

from edge_agent.buffer.sqlite import SqliteBuffer
from models.at_rest import AtRest
from models.times import Clock

AT_REST: Final = AtRest(bytes(range(32)), purpose="buffer")


async def open_buffer(path: Path, clock: Clock, **more: Any) -> SqliteBuffer:
    """Open or make it, as `SqliteBuffer.open` does."""
    return await SqliteBuffer.open(path, clock=clock, at_rest=AT_REST, **more)
