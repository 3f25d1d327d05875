"""What docs/performance.md says: a section for each thing measured, and whether the goals are reached."""

import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import (
    appends,
    backlog,
    doors,
    edge,
    entrance,
    families,
    intake,
    lines,
    restart,
    sealing,
    size,
    sweeps,
)

GOALS = {
    "cpu": 4.0,
    "memory_mb": 90.0,
    "appends": 1.0,
    "backlog_per_s": 2000.0,
    "restart_s": 2.0,
    "bytes": 2.5,
    "intake": 0.35,
    "sweep_s": 0.25,
    "lengthening": 0.10,
    "dead_share": 0.05,
    "event_ms": 50.0,
}
MINUTE_S = 60  # the data that the goal for bytes is about, in whatever batches it is sent


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured."""

    agent: edge.Result
    sizes: list[size.Result]
    taken: intake.Result
    appended: appends.Result
    drained: backlog.Result
    restarted: restart.Result
    costs: list[families.Cost]
    sweeps: list[sweeps.Sweep]
    line: lines.Result
    events: doors.Result
    sealings: list[sealing.Cost]


def reached(figures: Figures) -> bool:
    """Whether the worst row of each kind reaches its goal."""
    dying = figures.line.survival
    return (
        figures.agent.worst <= GOALS["cpu"]
        and _worst_bytes(figures.sizes) <= GOALS["bytes"]
        and figures.agent.usual.memory_mb < GOALS["memory_mb"]
        and figures.appended.ratio >= GOALS["appends"]
        and figures.restarted.stored_s <= GOALS["restart_s"]
        and figures.drained.per_s >= GOALS["backlog_per_s"]
        and figures.taken.ratio >= GOALS["intake"]
        and all(sweep.requests == sweep.planned for sweep in figures.sweeps)
        and figures.line.sweep_s <= GOALS["sweep_s"]
        and dying.lengthening <= GOALS["lengthening"]
        and dying.share <= GOALS["dead_share"]
        and figures.line.is_back_in_time
        and figures.events.p99 < GOALS["event_ms"]
    )


def report(figures: Figures) -> str:
    """The page as Markdown."""
    sections = (
        _agent(figures.agent),
        _appends(figures.appended),
        _outage(figures.drained, figures.restarted),
        _sizes(figures.sizes),
        _sealings(figures.sealings),
        _intake(figures.taken),
        _families(figures.costs),
        _events(figures.events),
        _line(figures.line),
        _requests(figures.sweeps),
    )
    return "\n".join((_beginning(), *sections))


def _beginning() -> str:
    return f"""\
# Performance

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}. The machine is shared and noisy: compare the ratios,
which come from one run, and not the absolute times.

{_machine()}
"""


def _agent(agent: edge.Result) -> str:
    rows = "\n".join(
        f"| {name} | {run.us:.1f} µs | {agent.times_bare(run):.2f} | {run.per_s:,.0f} |"
        for name, run in (
            ("bare pymodbus loop, without a pause", agent.bare),
            ("agent, 100 meters every second", agent.steady),
            ("agent, 1,000 meters every second", agent.full),
        )
    )
    return f"""\
## The agent, from the wire to the receipt

Meters of 20 registers (one request, 20 readings) in a process of their own, the agent alone on one core. A
reading counts when the collector has committed it. The bare loop is pymodbus reading the same registers, and
nothing else.

| | processor time per reading | times the bare loop | readings per second |
|---|---:|---:|---:|
{rows}

At the worse of the two rates the agent takes **{agent.worst:.2f} times** the processor time of the bare loop
(aim: at most {GOALS["cpu"]:g}), for polling, decoding, two durable writes, sealing and sending. In each row
the least of {edge.ROUNDS} rounds counts. With 1,000 meters the agent holds {agent.full.memory_mb:.0f} MB;
where their rate is below 20,000, the machine had no more to give in that run. With as many points as
50 devices of 40 have, every 10 seconds, it holds **{agent.usual.memory_mb:.0f} MB**
(aim: under {GOALS["memory_mb"]:g}).
"""


def _appends(appended: appends.Result) -> str:
    return f"""\
## Durable appends

Sweeps of {appends.SWEEP} readings, each committed before the next, encrypted, in blocks; beside bare sqlite3
inserting a row for each reading, one transaction a sweep, both with WAL and `synchronous=FULL`. Median of
{appends.ROUNDS} rounds.

| | readings per second |
|---|---:|
| the buffer | {appended.buffer_per_s:,.0f} |
| bare sqlite3 | {appended.bare_per_s:,.0f} |

The buffer takes **{appended.ratio:.2f} times** as many (aim: at least {GOALS["appends"]:g}).
"""


def _outage(drained: backlog.Result, restarted: restart.Result) -> str:
    return f"""\
## After an outage

{backlog.SWEEPS * backlog.POINTS:,} readings that waited in the buffer, in batches of {backlog.MAX_ITEMS:,},
are sealed, sent by HTTPS and committed by a collector on a core of its own:
**{drained.per_s:,.0f} a second** (aim: at least {GOALS["backlog_per_s"]:,.0f}).
What is live goes before them every `live_every_s`.

A gateway that starts with {restart.PENDING:,} readings waiting ({restarted.bytes_mb:.0f} MB) has
its buffer open after {restarted.opened_s:.2f} s, and the next reading on disk after
**{restarted.stored_s:.2f} s** (aim: at most {GOALS["restart_s"]:g}).
"""


def _sizes(sizes: Sequence[size.Result]) -> str:
    rows = "\n".join(
        f"| read every {r.period_s} s, sent every {r.batch_s} s | {r.readings:,} "
        f"| {r.bytes_per_reading:.2f} |"
        for r in sizes
    )
    return f"""\
## Sealed bytes per reading

The 20 meters and 600 points of the sample office, read over the wire by the shipped profiles at work time;
header, key id, signature and digest chain included. The worst row of 1-minute data takes
**{_worst_bytes(sizes):.2f}** (aim: at most {GOALS["bytes"]:g}).

| | readings | bytes per reading |
|---|---:|---:|
{rows}
"""


def _sealings(costs: Sequence[sealing.Cost]) -> str:
    rows = "\n".join(f"| {c.name} | {c.seal_us:,.0f} µs | {c.open_us:,.0f} µs |" for c in costs)
    return f"""\
## Sealing and opening

Processor time for a batch of {sealing.READINGS:,} readings, and for one row of the buffer; the least of
{sealing.ROUNDS} rounds.

| | sealing | opening |
|---|---:|---:|
{rows}
"""


def _intake(taken: intake.Result) -> str:
    return f"""\
## Intake of the collector

Batches of 3 000 readings: verify, open, store, mark hours, commit, receipt; beside bare sqlite3 inserting the
same rows into the same table, one transaction a batch, both with WAL and `synchronous=FULL`. Median of
{intake.ROUNDS} rounds.

| | readings per second |
|---|---:|
| intake on SQLite | {taken.intake_per_s:,.0f} |
| bare sqlite3 | {taken.bare_per_s:,.0f} |

The intake runs at **{taken.ratio:.2f}** of bare SQLite (aim: at least {GOALS["intake"]:g}).
"""


def _families(costs: Sequence[families.Cost]) -> str:
    rows = "\n".join(
        f"| {cost.family} | {cost.counted} | {cost.us:.1f} µs | "
        + (f"{cost.bare_us:.1f} µs | {cost.us / cost.bare_us:.2f} |" if cost.bare_us else "– | – |")
        for cost in costs
    )
    return f"""\
## A reading in each family

Processor time of the reading process alone, from the bytes to readings with quality and times (for doors: to
normalised events), before anything is stored or sent. Devices that are asked are simulated in another
process; lines are pseudo-terminals on which bytes take no time. What devices say by themselves the simulators
have made before, and the path behind D-Bus, HTTP and MQTT is measured, without these. The least of
{families.ROUNDS} rounds counts. Beside it, bare pymodbus reading the same registers on the same wire.

| family | what is read | each reading | bare pymodbus | times |
|---|---|---:|---:|---:|
{rows}
"""


def _events(events: doors.Result) -> str:
    rows = "\n".join(
        f"| {what} | {latency.p50:.1f} ms | {latency.p99:.1f} ms | {latency.worst:.1f} ms |"
        for what, latency in (
            ("by push, with pictures", events.pushed),
            ("by alertStream, parts without lengths", events.streamed),
            ("the buffer alone: one event appended", events.alone),
        )
    )
    return f"""\
## From a door to the disk

Two simulated controllers in a process of their own, {entrance.EVENTS} events of each at about
{1 / entrance.EVERY_S:.0f} a second, and one listening process with the buffer of the agent, which also reads
their logs every {doors.LOG_EVERY_S} s meanwhile. From the moment when something happens at the controller,
before it writes to its socket, until the event is committed to disk. Beside it, at the same time and as
often, events appended to a buffer in a file of its own. In each row the least p99 of {doors.ROUNDS} rounds
counts. The p99 of the slower way is **{events.p99:.1f} ms** (aim: under {GOALS["event_ms"]:g} ms).

| | half within | 99 % within | worst |
|---|---:|---:|---:|
{rows}
"""


def _line(line: lines.Result) -> str:
    dying = line.survival
    return f"""\
## A line at {lines.BAUD} baud

A pseudo-terminal on which each byte takes the time of 11 bits, and each meter {lines.TURNAROUND_MS} ms
before it answers. The sweep is one of 40 float32 points in 80 registers; its bytes and the meter alone take
{line.wire_s:.3f} s of it. Then {lines.METERS} meters of 20 registers are read every {lines.PERIOD_S:g} s,
with a reply timeout of {lines.REPLY_TIMEOUT_S:g} s. One in their middle dies. After {lines.PROBES} polls in
vain it comes back, at the beginning of a back-off of up to {dying.backoff_s:.1f} s.

| | measured | aim |
|---|---:|---:|
| sweep of 40 float32 points, median of {lines.SWEEPS} | {line.sweep_s:.3f} s \
| {GOALS["sweep_s"]:g} s or less |
| longest period of the 19 others, from the death of the one to its return | {dying.lengthening:+.1%} \
| at most +{GOALS["lengthening"]:.0%} |
| the same while all live | {dying.calm:+.1%} | |
| share of the bus that the dead one takes | {dying.share:.1%} | at most {GOALS["dead_share"]:.0%} |
| back after its return | {dying.back_s:.1f} s | one back-off, and a reading |
"""


def _requests(found: Sequence[sweeps.Sweep]) -> str:
    rows = "\n".join(
        f"| {sweep.profile} | {sweep.family} | {sweep.points} | {sweep.requests} |" for sweep in found
    )
    return f"""\
## Requests of a sweep

Each shipped profile of devices that are asked on a wire, read once; the requests are those that the simulated
device counted. For Modbus they must be as many as the planner says, or this run has failed.

| profile | family | points | requests |
|---|---|---:|---:|
{rows}
"""


def _worst_bytes(sizes: Sequence[size.Result]) -> float:
    return max(result.bytes_per_reading for result in sizes if result.period_s == MINUTE_S)


def _machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )  # fmt: skip
    names = ("pymodbus", "aiosqlite", "cryptography", "msgspec", "zstandard", "sqlalchemy", "uvicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    kernel = platform.release().partition("-")[0]
    return (
        f"Python {platform.python_version()} on {platform.system()} {kernel}, {model}, "
        f"SQLite {sqlite3.sqlite_version}, {versions}."
    )
