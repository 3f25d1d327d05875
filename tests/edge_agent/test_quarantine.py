"""What a collector refused can be looked at, and taken along."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.cli import app
from edge_agent.config import load_config
from tests.support.clocks import VirtualClock
from tests.support.items import an_event, readings

CONFIG = "gateway: {state_dir: state}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    return path


async def with_two_refused(config: Path, clock: VirtualClock) -> Path:
    """One reading and one event."""
    loaded = load_config(config)
    async with await SqliteBuffer.open(
        loaded.buffer_file, clock=clock.clock, at_rest=at_rest_of(loaded), window_s=0
    ) as buffer:
        outbox = await buffer.outbox("main")
        await buffer.append([*readings(3), an_event(7)])
        await outbox.refuse(2, "time-ahead")
        await outbox.refuse(4, "nested too deeply")
    return loaded.buffer_file


def edge_agent(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.stdout + done.stderr


async def test_refused_items_are_listed_with_their_reasons(config: Path, clock: VirtualClock) -> None:
    await with_two_refused(config, clock)
    code, said = edge_agent("quarantine", "list", "-c", config, "--json")
    assert code == 0
    assert [(one["seq"], one["reason"], one["collector"]) for one in json.loads(said)] == [
        (2, "time-ahead", "main"),
        (4, "nested too deeply", "main"),
    ]
    code, said = edge_agent("quarantine", "list", "-c", config)
    assert (code, "voltage_v = 1.0" in said, "door.opened" in said) == (0, True, True)


async def test_they_are_exported_whole_and_no_file_is_overwritten(
    config: Path, clock: VirtualClock, tmp_path: Path
) -> None:
    await with_two_refused(config, clock)
    file = tmp_path / "refused.jsonl"
    assert edge_agent("quarantine", "export", file, "-c", config)[0] == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["item"]["device_id"] for line in lines] == ["meter-01", "door-01"]
    assert file.stat().st_mode & 0o077 == 0
    code, said = edge_agent("quarantine", "export", file, "-c", config)
    assert (code, "is there already" in said) == (1, True)


async def test_a_damaged_row_hides_no_other(config: Path, clock: VirtualClock) -> None:
    path = await with_two_refused(config, clock)
    with sqlite3.connect(path) as changer:
        changer.execute("UPDATE refused SET item = zeroblob(40) WHERE seq = 2")
    changer.close()
    code, said = edge_agent("quarantine", "list", "-c", config, "--json")
    assert code == 0
    assert [one["item"] is None for one in json.loads(said)] == [True, False]


def test_without_a_buffer_nothing_was_refused(config: Path) -> None:
    assert edge_agent("quarantine", "list", "-c", config) == (0, "No item was refused.\n")
    assert not (config.parent / "state").exists()
