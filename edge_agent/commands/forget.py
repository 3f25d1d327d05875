"""`edge-agent forget`: keep nothing more for a collector that the gateway no longer has."""

import asyncio
from pathlib import Path

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.commands.answer import Answer
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, load_config
from models.errors import NeedsAHuman


def forget(path: Path, name: str) -> Answer:
    """What no other collector is to get is gone with it, so the configuration must not name it any more."""
    config = load_config(path)
    if any(collector.name == name for collector in config.collectors):
        raise NeedsAHuman(f"{path}: has the collector {name} still; remove it there first")
    if not config.buffer_file.exists():
        raise NeedsAHuman(f"{config.buffer_file}: there is no buffer yet, so nothing is kept")
    pending = asyncio.run(_forget(config, name))
    text = f"Nothing is kept for {name} any more; {pending} items were still to go there."
    return Answer({"forgotten": name, "pending": pending}, text)


async def _forget(config: Config, name: str) -> int:
    async with await SqliteBuffer.open(
        config.buffer_file, clock=real_clock(), at_rest=at_rest_of(config)
    ) as buffer:
        known = await buffer.outboxes()
        if name not in known:
            raise NeedsAHuman(f"nothing is kept for {name!r}; there is: {', '.join(known) or 'no collector'}")
        pending = (await (await buffer.outbox(name)).counts()).pending
        await buffer.forget(name)
        return pending
