"""A process that carries out commands is killed at any moment: no door opens twice, and all is told once."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from models.reading import Event
from tests.support.appending import CLOCK
from tests.support.buffers import open_buffer
from tests.support.obedient import an_order, executor_on, moving

ROOT = Path(__file__).parents[3]
KILLED_AFTER = (2, 44, 17, 1, 26)  # lines: the first when a door has just opened


def obey_and_die(folder: Path, given_before: int, *, after_lines: int) -> list[list[str]]:
    """What was certain before the process was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.obedient", folder, str(given_before)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


async def test_no_door_opens_twice_and_every_command_is_told_of_once_after_any_kill(tmp_path: Path) -> None:
    given, promised = 0, Counter[str]()
    for lines in KILLED_AFTER:
        said = await asyncio.to_thread(obey_and_die, tmp_path, given, after_lines=lines)
        given = max([given, *(int(number) for kind, number, *_ in said if kind == "given")])
        promised.update(words[1] for words in said if words[0] == "ended")
    assert max(promised.values()) == 1
    await offered_again_until_all_is_told(tmp_path, given)

    effects = Counter((tmp_path / "effects").read_text().split())
    async with await open_buffer(tmp_path / "buffer.db", CLOCK) as buffer:
        outbox = await buffer.outbox("main")
        cut = await outbox.cut(1 << 20)
    assert cut is not None
    told = {}
    for item in cut.items:
        assert isinstance(item, Event)
        assert item.data["id"] not in told, "told twice"
        told[item.data["id"]] = item.kind
    assert set(told) == {f"c-{number}" for number in range(1, given + 1)}
    assert {f"c-{number}" for number in promised} <= set(told)
    for command_id, kind in told.items():
        opens_a_door = int(command_id.removeprefix("c-")) % 2 == 1
        if kind == "command.done":
            assert effects[command_id] == 1 if opens_a_door else effects[command_id] >= 1
        else:
            assert kind == "command.failed"
            assert opens_a_door
            assert effects[command_id] <= 1
    counts = Counter(told.values())
    assert counts["command.done"] > len(KILLED_AFTER)
    assert counts["command.failed"] > 0, "no kill has met an open door"


async def offered_again_until_all_is_told(folder: Path, given: int) -> None:
    """The next start after the last kill, in peace."""
    async with await open_buffer(folder / "buffer.db", CLOCK) as buffer:
        executor = executor_on(buffer, moving(folder / "effects"), clock=CLOCK)
        await executor.begin()
        running = asyncio.create_task(executor.run())
        for number in range(1, given + 1):
            ended = await executor.submit(an_order(number, expires_ms=CLOCK.now_ms() + 3_600_000))
            if ended is not None:
                await ended
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
