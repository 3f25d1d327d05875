"""After any outage, of the wire or of the gateway itself, each event of the log is there once."""

import asyncio
import random
import signal
import socket
import sys
from pathlib import Path

import aiosqlite
import msgspec

from models.reading import Event
from simulators.access.sections import DoorFault
from tests.drivers.access.test_controller import busy
from tests.support.appending import CLOCK
from tests.support.buffers import AT_REST, open_buffer
from tests.support.clocks import VirtualClock
from tests.support.doors import SECRET_PATH, a_controller, a_section, agrees, known_of

ROOT = Path(__file__).parents[3]
EVENTS = 2000
KILLS = 5


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def test_no_event_is_missing_or_doubled_after_cuts_and_kills_at_any_moment(tmp_path: Path) -> None:
    path, port, rng = tmp_path / "buffer.db", free_port(), random.Random(11)
    async with a_controller(a_section(pictures=True, people=40), CLOCK) as controller:
        controller.delivery.push_url = f"http://127.0.0.1:{port}{SECRET_PATH}"
        for kind in ("lost", "duplicate", "swapped", "garbage"):
            controller.add(DoorFault(kind=kind, probability=0.05))
        busy(controller, 700, rng)
        for life in range(KILLS + 1):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.door_listener", str(path), controller.url, str(port),
                cwd=ROOT, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            until = rng.randint(3, 12) if life < KILLS else None
            try:
                async with asyncio.timeout(20):
                    puts = 0
                    while until is None or puts < until:
                        left = EVENTS - controller.state.log.last
                        busy(controller, min(left, rng.randint(0, 40)), rng)
                        if rng.random() < 0.1:
                            await controller.cut()
                        await process.stdout.readline()
                        puts += 1
                        if until is None and not left and await stored(path) >= EVENTS:
                            break
            finally:
                process.send_signal(signal.SIGKILL)
                await process.communicate()
        known = known_of(controller)
    assert controller.state.log.last == EVENTS
    events = await events_in(path)
    told = [event for event in events if "serial" in event.data]
    serials = [event.data["serial"] for event in told]
    assert sorted(serials) == list(range(1, EVENTS + 1))
    by_serial = {event.data["serial"]: event for event in told}
    assert all(agrees(by_serial[data["serial"]], kind, data) for kind, data in known)
    assert {event.kind for event in events} & {"door.log_gap", "door.log_restarted"} == set()


async def stored(path: Path) -> int:
    """How many events are in the buffer of a process that is running."""
    async with aiosqlite.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        rows = [
            *await connection.execute_fetchall("SELECT value FROM mark WHERE name = 'access/door/serial'")
        ]
    if not rows:
        return 0
    mark = AT_REST.open(rows[0][0], table="mark", name=b"access/door/serial")
    return int(msgspec.json.decode(mark)["upto"])


async def events_in(path: Path) -> list[Event]:
    async with await open_buffer(path, VirtualClock().clock, window_s=0) as buffer:
        outbox = await buffer.outbox("main")
        counts = await outbox.counts()
        assert counts.conserved
        cut = await outbox.cut(counts.produced)
        assert cut is not None
        return [item for item in cut.items if isinstance(item, Event)]
