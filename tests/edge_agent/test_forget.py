"""A collector that a gateway no longer has is forgotten on purpose, and never by accident."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typer.testing import CliRunner

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.cli import app
from edge_agent.config import load_config
from tests.support.clocks import VirtualClock
from tests.support.items import readings


def edge_agent(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.stdout + done.stderr


async def test_only_a_collector_that_the_configuration_does_not_name_can_be_forgotten(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("collectors: {main: {}, area: {}}\n")
    config = load_config(path)
    async with await SqliteBuffer.open(
        config.buffer_file, clock=clock.clock, at_rest=at_rest_of(config), window_s=0
    ) as buffer:
        for name in ("main", "area"):
            await buffer.outbox(name)
        await buffer.append(readings(5))
        path.write_text("collectors: {main: {}}\n")
        code, said = in_a_thread("forget", "area", "-c", path)
        assert (code, "another edge-agent is using it" in said) == (1, True)
    code, said = in_a_thread("forget", "main", "-c", path)
    assert (code, "remove it there first" in said) == (1, True)
    code, said = in_a_thread("forget", "aria", "-c", path)
    assert (code, "there is: main, area" in said) == (1, True)
    code, said = in_a_thread("forget", "area", "-c", path, "--json")
    assert (code, json.loads(said)) == (0, {"forgotten": "area", "pending": 5})
    code, said = in_a_thread("forget", "area", "-c", path)
    assert (code, "there is: main" in said) == (1, True)


def in_a_thread(*words: object) -> tuple[int, str]:
    """For a command that runs a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(edge_agent, *words).result()
