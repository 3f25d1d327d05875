"""Seven days of everything that can go wrong, on a virtual clock: a minute for a week, the same each time.

python -m soak.week --seed 7 --duration 7d
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from collector.commands.setup import Wanted, init
from collector.identity.home import Home
from collector.identity.tokens import issue_enrollment_secret
from collector.serve import Listening, run_collector
from collector.store.engine import Store
from edge_agent.commands.running import real_clock
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from models.protocol import EnrollmentToken
from simulators.durations import duration_ms
from simulators.lab.clock import RIGHT, Wrong, wrong_clock
from simulators.lab.disk import Disk
from simulators.lab.plan import Fault, Trace, plan
from simulators.lab.player import Moment, Target, play
from simulators.lab.targets import ClockTarget, DiskTarget
from simulators.lab.trace import read_trace
from simulators.lab.vfs import between
from simulators.noise import key_of
from soak.district import District, Way
from soak.gateway import Gateway
from soak.virtual import VirtualLoop, in_virtual_time

START_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
CALM_S = 7200.0  # after the last fault; the longest pause of an uplink is some minutes
TIME_MAY_BE_OFF_MS = 2000  # half of the slowest answer that a gateway takes the time from, and some


@dataclass(slots=True)
class Outcome:
    """How it went. The journal is the same for the same timetable, line by line."""

    seed: int
    taken: int = 0  # readings that the agent took
    acknowledged: int = 0  # of them: were on its disk, as it said
    stored: int = 0
    missing: int = 0  # acknowledged and not stored
    doubled: int = 0
    invented: int = 0
    at_a_wrong_time: int = 0
    died_in_memory: int = 0  # taken while the disk refused, before a kill
    pending: int = 0
    looks: int = 0
    not_conserved: int = 0
    lost_receipts: int = 0
    delivered_again: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    journal: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        wrong = self.missing + self.doubled + self.invented + self.at_a_wrong_time + self.not_conserved
        return self.stored > 0 and wrong == 0 and self.pending == 0


def prepare(folder: Path) -> Identity:
    """A collector in `folder`/collector and a gateway that is enrolled there; takes a second of real time."""
    home = Home(folder / "collector")
    wanted = Wanted(url="https://localhost:8443", host="127.0.0.1", port=0)
    init(home.folder, wanted, site="a1", site_name="Town hall")

    async def enrolling() -> Identity:
        stop = asyncio.Event()
        ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run_collector(home.folder, clock=real_clock(), stop=stop, ready=ready.set_result)
            )
            port = (await ready).port
            async with await Store.open(home.database) as store:
                secret = await issue_enrollment_secret(
                    store, site_code="a1", gateway_name="week", hours=1, now_ms=real_clock().now_ms()
                )
            ca = home.authority().certificate_der()
            url = f"https://localhost:{port}"
            token = EnrollmentToken(url=url, ca_certificate_der=ca, secret=secret)
            identity = await asyncio.to_thread(enroll, token, state_dir=folder / "gateway")
            stop.set()
            return identity

    return asyncio.run(enrolling())


class _Agents:
    """The faults `agent.…`: some kills are losses of power."""

    def __init__(self, gateway: Gateway, disk: Disk, chance: random.Random, tasks: asyncio.TaskGroup) -> None:
        self._gateway, self._disk, self._chance, self._tasks = gateway, disk, chance, tasks
        self._is_away = False

    async def begin(self, fault: Fault) -> None:
        if not self._is_away:
            self._is_away = True
            power = self._chance.random() < 0.5
            await self._gateway.end(self._disk.cut_power if power else self._disk.die)
            self._tasks.create_task(self._return(fault.how["away_s"]))

    async def end(self, fault: Fault) -> None:
        """A kill does not last."""

    async def _return(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._gateway.begin()
        self._is_away = False


class _Collectors:
    """The faults `collector.…`."""

    def __init__(
        self, district: District, disk: Disk, chance: random.Random, tasks: asyncio.TaskGroup
    ) -> None:
        self._district, self._disk, self._chance, self._tasks = district, disk, chance, tasks

    async def begin(self, fault: Fault) -> None:
        if fault.what == "hang":
            self._district.runs.clear()
        elif self._district.is_there:
            power = self._chance.random() < 0.5
            await self._district.end(self._disk.cut_power if power else self._disk.die)
            self._tasks.create_task(self._return(fault.how["away_s"]))

    async def end(self, fault: Fault) -> None:
        self._district.runs.set()

    async def _return(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._district.start()


def live_through(trace: Trace, folder: Path, identity: Identity) -> Outcome:
    """The whole week. `folder` is what `prepare` has made."""
    began_s = time.monotonic()
    outcome = in_virtual_time(lambda loop: _week(loop, trace, folder, identity))
    outcome.seconds = time.monotonic() - began_s
    return outcome


async def _week(loop: VirtualLoop, trace: Trace, folder: Path, identity: Identity) -> Outcome:
    outcome = Outcome(trace.seed)
    clock, real_ms = loop.clock(START_MS), real_clock().now_ms()
    wrong = RIGHT

    def chance(of: str) -> random.Random:
        return random.Random(key_of(trace.seed, "week", of))  # noqa: S311  # must be repeatable

    def say(what: str) -> None:
        outcome.journal.append(f"{loop.time():.3f} {what}")

    def told(moment: Moment) -> None:
        say(f"{moment.fault.kind} {moment.what}s")
        if moment.what == "begin":
            faults[moment.fault.kind] += 1

    def clock_is(now: Wrong) -> None:
        nonlocal wrong
        wrong = now

    faults: Counter[str] = Counter()
    with _disks(loop, folder, trace.seed) as (edge_disk, district_disk):
        district = District(folder / "collector", clock, lambda: real_ms)
        await district.start()
        way = Way(district, identity, chance("way"))
        gateway = Gateway(
            folder / "gateway",
            identity,
            way,
            true=clock,
            system=wrong_clock(clock, lambda: wrong),
            chance=chance("uplink"),
            told=say,
        )
        gateway.begin()
        async with asyncio.TaskGroup() as tasks:
            targets: dict[str, Target] = {
                "network": way,
                "requests": way,
                "agent": _Agents(gateway, edge_disk, chance("power"), tasks),
                "collector": _Collectors(district, district_disk, chance("district"), tasks),
                "disk": DiskTarget(lambda trouble: setattr(edge_disk, "trouble", trouble)),
                "clock": ClockTarget(clock_is, clock.now_ms),
            }
            await play(trace, targets, clock, told)
        gateway.reads = False
        await asyncio.sleep(CALM_S)
        counts = await gateway.counts()
        await gateway.end(lambda: None)
        await district.end()
    outcome.pending = counts.pending
    outcome.looks, outcome.not_conserved = gateway.looks, len(gateway.not_conserved)
    outcome.lost_receipts, outcome.delivered_again = way.lost_receipts, way.doubled + way.late
    outcome.faults = dict(sorted(faults.items()))
    _compare(outcome, gateway, folder / "collector")
    return outcome


@contextlib.contextmanager
def _disks(loop: VirtualLoop, folder: Path, seed: int) -> Iterator[tuple[Disk, Disk]]:
    """Of the gateway and of the collector."""
    edge = Disk(seed=key_of(seed, "edge disk"), loses_power=True, pause=loop.let_pass)
    district = Disk(seed=key_of(seed, "district disk"), loses_power=True, pause=loop.let_pass)
    with between(folder / "gateway", edge), between(folder / "collector", district):
        yield edge, district


def _compare(outcome: Outcome, gateway: Gateway, folder: Path) -> None:
    """What the collector's database holds, read past all of its code."""
    with contextlib.closing(sqlite3.connect(Home(folder).database)) as connection:
        rows = connection.execute("SELECT value, measured_ms FROM reading").fetchall()
    stored = Counter(value for value, _ in rows)
    outcome.taken, outcome.acknowledged = len(gateway.taken), len(gateway.safe)
    outcome.stored = len(rows)
    outcome.missing = len(gateway.safe - stored.keys())
    outcome.doubled = sum(count - 1 for count in stored.values())
    outcome.invented = len(stored.keys() - gateway.taken.keys())
    outcome.died_in_memory = len(gateway.taken.keys() - stored.keys() - gateway.safe)
    outcome.at_a_wrong_time = sum(
        abs(measured_ms - gateway.taken[value]) > TIME_MAY_BE_OFF_MS
        for value, measured_ms in rows
        if value in gateway.taken
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m soak.week", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of the faults; random if not given")
    parser.add_argument("--duration", default="7d", help="such as 7d or 12h")
    parser.add_argument("--trace", type=Path, help="live through this timetable instead of a seed's")
    parser.add_argument("--journal", type=Path, help="write down what happened when, the same each time")
    asked = parser.parse_args()
    # LD logging.disable(logging.CRITICAL)  # what is told is told in the journal
    seed = secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
    trace = read_trace(asked.trace) if asked.trace else plan(seed, duration_ms(asked.duration))
    sys.stderr.write(f"seed {trace.seed}: {len(trace.faults)} faults\n")
    with tempfile.TemporaryDirectory() as folder:
        outcome = live_through(trace, Path(folder), prepare(Path(folder)))
    if asked.journal is not None:
        asked.journal.write_text("\n".join(outcome.journal) + "\n")
    told = {**asdict(outcome), "journal": len(outcome.journal), "good": outcome.is_good}
    sys.stdout.write(json.dumps(told) + "\n")
    if not outcome.is_good:
        again = f"--trace {asked.trace}" if asked.trace else f"--seed {seed} --duration {asked.duration}"
        sys.stderr.write(f"NOT well; to repeat: python -m soak.week {again}\n")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
