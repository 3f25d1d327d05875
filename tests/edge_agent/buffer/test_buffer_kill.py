"""What was acknowledged is there after the process was killed, at whatever moment."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from models.reading import Event, Reading
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock

ROOT = Path(__file__).parents[3]
KILLS = 24
KILLS_OF_SOURCES = 12


def run_and_kill(
    path: Path, seed: int, *, after_lines: int, module: str = "tests.support.appending"
) -> list[list[str]]:
    """The promises that a process made before it was killed."""
    with subprocess.Popen(
        [sys.executable, "-m", module, path, str(seed)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after_lines)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    # The last line may be cut in the middle, for a promise is written in one call or not at all.
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


async def test_no_acknowledged_append_is_lost_and_no_number_is_missing_after_any_kill(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "buffer.db"
    rng = random.Random(20)
    promised: list[tuple[int, int, int]] = []
    delivered = 0
    epochs = set()
    for seed in range(KILLS):
        for kind, *numbers in run_and_kill(path, seed, after_lines=rng.randint(1, 120)):
            if kind == "append":
                first, last, value = map(int, numbers)
                promised.append((first, last, value))
            elif kind == "deliver":
                delivered = int(numbers[0])
            else:
                epochs.add(numbers[0])
        async with await open_buffer(path, clock.clock, window_s=0) as buffer:
            outbox = await buffer.outbox("main")
            assert {outbox.epoch.hex()} == epochs
            counts = await outbox.counts()
            assert counts.conserved
            assert counts.dropped == 0
            assert counts.produced >= max(last for _, last, _ in promised)
            assert counts.batches_kept >= delivered
            cut = await outbox.cut(counts.produced)
            if cut is not None:
                assert len(cut.items) == counts.unsealed == counts.produced - cut.first_seq + 1
                for first, _last, value in promised:
                    if first >= cut.first_seq:
                        item = cut.items[first - cut.first_seq]
                        assert isinstance(item, Reading)
                        assert item.value == value
    given = [seq for first, last, _ in promised for seq in range(first, last + 1)]
    assert len(given) == len(set(given)), "a sequence number was given twice"


async def test_a_source_that_goes_on_from_its_mark_loses_and_doubles_nothing_after_any_kill(
    tmp_path: Path, clock: VirtualClock
) -> None:
    path = tmp_path / "buffer.db"
    rng = random.Random(21)
    for seed in range(KILLS_OF_SOURCES):
        promised = run_and_kill(
            path, seed, after_lines=rng.randint(1, 80), module="tests.support.pushed_sources"
        )
        async with await open_buffer(path, clock.clock, window_s=0) as buffer:
            outbox = await buffer.outbox("main")
            marks = {name: int(value) for name, value in (await buffer.marks("source-")).items()}
            cut = await outbox.cut(1 << 20)
        assert cut is not None
        assert all(marks[name] >= int(number) for name, number in promised)
        for name, read_to in marks.items():
            events = [item for item in cut.items if isinstance(item, Event) and item.device_id == name]
            assert [event.data["n"] for event in events] == list(range(1, read_to + 1))
    assert min(marks.values()) > KILLS_OF_SOURCES
