"""However the process ends, at whatever moment and on whatever disk: what was acknowledged is there."""

import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulators.lab.disk import Trouble, set_trouble
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, drain, values

ROOT = Path(__file__).parents[2]
SLOW_DISK = Trouble(sync_ms=(5, 20))
A_LIFE = 1_000_000  # values that one life may use
BURST = 20_000
GONE_WITHIN_S = 5.0


def metering(folder: Path, first: int, *, burst: int = 0, seed: int = 0) -> "subprocess.Popen[bytes]":
    """The process, on the disk of the lab."""
    disk = ["--folder", folder, "--disk", folder / "disk.json", "--seed", seed]
    program = ["-m", "tests.support.metering", folder / "buffer.db", first, burst]
    command = [sys.executable, "-m", "simulators.lab.run", *disk, "--", *program]
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE)


def promises(lines: bytes) -> list[range]:
    """What was kept. The last line may be cut in the middle."""
    words = [line.split() for line in lines.splitlines(keepends=True) if line.endswith(b"\n")]
    return [range(int(word[1]), int(word[2]) + 1) for word in words if word[0] == b"kept"]


def killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> bytes:
    """All that it said until so long after it had begun."""
    assert process.stdout is not None
    with process:
        said: bytes = process.stdout.readline()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([process.stdout], [], [], left)[0]:
            said += process.stdout.read1()  # type: ignore[attr-defined]  # of a buffered reader
        process.send_signal(signal.SIGKILL)
        return said + process.stdout.read()


@pytest.mark.parametrize("trouble", [Trouble(), SLOW_DISK], ids=["disk", "slow disk"])
@pytest.mark.parametrize(
    "kills", [pytest.param(4, id="4"), pytest.param(200, id="200", marks=pytest.mark.soak)]
)
async def test_no_acknowledged_reading_is_lost_by_kills_at_random_moments(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer, lab_seed: int, trouble: Trouble, kills: int
) -> None:
    chance = random.Random(lab_seed)
    set_trouble(tmp_path / "disk.json", trouble)
    kept: list[range] = []
    found: list[float | None] = []
    for life in range(kills):
        process = metering(tmp_path, life * A_LIFE, seed=lab_seed + life)
        kept += promises(killed_after(process, chance.uniform(0.0, 0.8)))
        async with await open_buffer(tmp_path / "buffer.db", clock.clock) as buffer:
            outbox = await buffer.outbox("main")
            counts = await outbox.counts()
            assert (counts.conserved, counts.dropped) == (True, 0)
            found += values(await drain(outbox, sealer))
    there = set(found)
    assert len(there) == len(found), "doubled"
    assert [values for values in kept if not there.issuperset(map(float, values))] == [], "lost"
    assert kept


@pytest.mark.parametrize("trouble", [Trouble(), SLOW_DISK], ids=["disk", "slow disk"])
async def test_nothing_of_a_burst_is_lost_when_the_agent_is_told_to_stop_in_it(
    tmp_path: Path, clock: VirtualClock, sealer: Sealer, trouble: Trouble
) -> None:
    set_trouble(tmp_path / "disk.json", trouble)
    with metering(tmp_path, 0, burst=BURST) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=GONE_WITHIN_S)
    assert process.returncode == 0
    taken = int(said.split()[-1])
    assert taken >= BURST
    async with await open_buffer(tmp_path / "buffer.db", clock.clock) as buffer:
        outbox = await buffer.outbox("main")
        found = values(await drain(outbox, sealer))
    assert sorted(found, key=lambda value: value or 0) == list(map(float, range(taken)))
