"""The buffer and the time for a command, where no agent runs that has them."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from edge_agent.app import Machine
from edge_agent.at_rest_key import at_rest_of
from edge_agent.boots import PREFIX
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.commands.running import real_clock
from edge_agent.config import Config
from edge_agent.kernel_clock import boot_id, is_synchronised
from edge_agent.timekeeper import Timekeeper


@contextlib.asynccontextmanager
async def opened_alone(
    config: Config, machine: Machine | None
) -> AsyncIterator[tuple[SqliteBuffer, Timekeeper]]:
    """As the agent has them. `machine` is this one if not given. Raise NeedsAHuman while an agent runs."""
    at = machine or Machine(is_synchronised, boot_id())
    timekeeper = Timekeeper(real_clock(), is_synchronised=at.is_synchronised, boot_id=at.boot_id)
    settings = config.settings.buffer
    async with await SqliteBuffer.open(
        config.buffer_file,
        clock=timekeeper.clock,
        at_rest=at_rest_of(config),
        retention_days=settings.retention_days,
        max_mb=settings.max_mb,
    ) as buffer:

        async def keep(marks: Mapping[str, str]) -> None:
            await buffer.append([], marks)

        await timekeeper.begin(await buffer.marks(PREFIX), keep)
        yield buffer, timekeeper
