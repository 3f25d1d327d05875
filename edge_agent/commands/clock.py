"""`edge-agent confirm-time`: the time of a gateway that has neither a time service nor a network."""

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path

from edge_agent.app import Machine
from edge_agent.commands.alone import opened_alone
from edge_agent.commands.answer import Answer
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, load_config
from edge_agent.control import on_site
from edge_agent.control.client import AgentSaysNo, ask_agent, myself
from edge_agent.identity.folder import IdentityDamaged, NotEnrolled, load_identity
from models.errors import NeedsAHuman
from models.times import utc_text


def confirm_time(path: Path, machine: Machine | None = None) -> Answer:
    """The clock of this machine is right, says who calls this. Refused where that cannot be."""
    config = load_config(path)
    now_ms = real_clock().now_ms()
    for collector in config.collectors:
        with contextlib.suppress(NotEnrolled, IdentityDamaged):
            identity = load_identity(config.state_dir, collector.name)
            enrolled = identity.certificate.not_valid_before_utc
            if now_ms < enrolled.timestamp() * 1000:
                raise NeedsAHuman(
                    f"the clock shows {utc_text(now_ms)}, and this gateway was enrolled later, at "
                    f"{enrolled:%Y-%m-%dT%H:%M:%SZ}; set it by a watch first: date --set"
                )
    answer = ask_agent(config.state_dir, on_site.Question(do="confirm-time"))
    if answer is None:
        asyncio.run(_confirm_alone(config, machine))
    elif answer.error:
        raise AgentSaysNo(answer.code, answer.error)
    here = datetime.fromtimestamp(now_ms / 1000).astimezone()
    text = f"From now on {utc_text(now_ms)} counts as right ({here:%Y-%m-%d %H:%M:%S %Z} on this machine)."
    return Answer({"now_ms": now_ms}, text)


async def _confirm_alone(config: Config, machine: Machine | None) -> None:
    async with opened_alone(config, machine) as (buffer, timekeeper):
        if events := await timekeeper.confirmed(myself().name):
            await buffer.append(events)
