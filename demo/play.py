"""What happens on the stage: ten days of history, then an evening with faults; and what came of it."""

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from demo.align import Tally
from demo.judge import Alert, Api, EventTally, alerts, compare, compare_events
from demo.stage import Stage
from models.times import utc_text

EXPECTED = {("consumption", "m-09"), ("stuck", "m-13")}
"""Detector and device: the scenario has one meter with a true anomaly, and one that is stuck."""

_ANNEX = "A second gateway reads one of everything: serial lines, Bluetooth, doors, parking."
_ALERTS_WITHIN_S = 25.0  # real; the anomaly begins half an hour after the evening does
_CALM_S = 4.0  # real, after the last fault: time to make up for it


@dataclass(slots=True)
class Outcome:
    """How it went."""

    tally: Tally
    alerts: list[Alert]
    mails: int
    posts: int
    kills_of_collector: int = 0
    kills_of_agent: int = 0
    network_cuts: int = 0
    agent_exit: int = 0
    happened: EventTally = field(default_factory=EventTally)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def alerts_as_expected(self) -> bool:
        return sorted((alert.detector, alert.about) for alert in self.alerts) == sorted(EXPECTED)

    @property
    def is_good(self) -> bool:
        lost = self.tally.missing + self.tally.doubled + self.tally.wrong_value
        lost += self.happened.missing + self.happened.doubled
        return lost == 0 and self.tally.produced > 0 and self.alerts_as_expected and self.agent_exit == 0

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self.tally),
            "events": asdict(self.happened),
            "alerts": [asdict(alert) for alert in self.alerts],
            "alerts_as_expected": self.alerts_as_expected,
            "mails": self.mails,
            "posts": self.posts,
            "kills_of_collector": self.kills_of_collector,
            "kills_of_agent": self.kills_of_agent,
            "network_cuts": self.network_cuts,
            "seconds": round(self.seconds, 1),
            "good": self.is_good,
        }


async def play_once(stage: Stage, console: Console, history_s: float) -> Outcome:
    """The fixed scenario. Ends with the agent stopped and everything it read in the collector."""
    began = time.monotonic()
    outcome = Outcome(Tally(), [], 0, 0)
    async with Api(stage.page, stage.token) as api:
        await _history(stage, console, history_s)
        await stage.open_annex(False)
        console.print(_ANNEX)
        await _until_expected(stage, api, console)
        await _faults(stage, console, outcome)
        await asyncio.sleep(_CALM_S)
        stage.check()
        console.print("Stopping the agent, then asking the collector for every reading …")
        for house in stage.houses:  # first, with connections open: then all that was shown counts
            await house.simulated.stop()
        outcome.agent_exit = max([abs(await house.agent.stop()) for house in stage.houses])
        outcome.alerts = await _settled(api)
        ledgers = [house.ledger for house in stage.houses]
        from_ms, to_ms = stage.start_ms, stage.clock.clock().now_ms()
        outcome.tally = await compare(api, ledgers, from_ms=from_ms, to_ms=to_ms)
        outcome.happened = await compare_events(api, ledgers, from_ms=from_ms, to_ms=to_ms)
    outcome.mails, outcome.posts = len(stage.received.subjects), len(stage.received.posts)
    outcome.seconds = time.monotonic() - began
    return outcome


async def play_on(stage: Stage, console: Console, stop: asyncio.Event, history_s: float) -> None:
    """Run until `stop`, for people who look."""
    token = stage.folder / "token"
    await asyncio.to_thread(token.write_text, stage.token + "\n")
    console.print(
        f"""
[bold]The page is at {stage.page}[/bold]   token: {stage.token}
  Ten days of a building go by in the first minute; then a second is a minute. Meter m-09 (西区空调机组)
  begins to run at night and m-13 (冷却泵) sticks: two alerts come up.

[bold]To try[/bold] (in another terminal, in this folder; `. .venv/bin/activate` first):
  edge-agent status --config {stage.folder}/office/gateway.yaml
  edge-agent read m-01 --config {stage.folder}/office/gateway.yaml
  edge-agent status --config {stage.folder}/annex/gateway.yaml   # after the first minute: one of everything
  collector gateways --dir {stage.folder}/collector
  curl -s -H "Authorization: Bearer $(cat {token})" "{stage.page}/api/v1/alerts"
  pkill -9 -f demo.agent        # a power cut at the gateway; this demonstration starts it again

Ctrl-C ends it.
""",
        soft_wrap=True,
    )
    while not stop.is_set():
        if len(stage.houses) == 1 and stage.clock.elapsed_s() >= history_s:
            await stage.open_annex(True)
            console.print(_ANNEX)
        for part in (stage.collector, *(house.agent for house in stage.houses)):
            if part.has_ended:
                console.print(f"The {part.name} has ended; starting it again.")
                await part.start()
        try:
            async with asyncio.timeout(0.5):
                await stop.wait()
        except TimeoutError:
            continue


async def _history(stage: Stage, console: Console, history_s: float) -> None:
    """Let ten days go by, and show how they do."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=history_s)
        while (elapsed_s := stage.clock.elapsed_s()) < history_s:
            stage.check()
            day = utc_text(stage.clock.clock().now_ms())[:10]
            progress.update(task, completed=elapsed_s, description=f"ten days of history: {day}")
            await asyncio.sleep(0.25)
    console.print("Ten days are read. The evening: somebody leaves a machine on.")


async def _until_expected(stage: Stage, api: Api, console: Console) -> None:
    """Return when the alerts are there that the scenario calls for, or are overdue."""
    deadline = time.monotonic() + _ALERTS_WITHIN_S
    while time.monotonic() < deadline:
        if {(alert.detector, alert.about) for alert in await alerts(api)} >= EXPECTED:
            console.print("Both are found and alerted. Now the faults:")
            return
        stage.check()
        await asyncio.sleep(0.5)


async def _faults(stage: Stage, console: Console, outcome: Outcome) -> None:
    """Each while readings are on their way; seconds are real."""
    await asyncio.sleep(1)
    console.print("  the collector is killed (SIGKILL) …")
    await stage.collector.kill()
    outcome.kills_of_collector += 1
    await asyncio.sleep(1)
    await stage.collector.start()
    await stage.collector_is_ready()
    console.print("  … and is back")
    await asyncio.sleep(0.5)
    console.print("  the network is cut …")
    await stage.network.cut()
    outcome.network_cuts += 1
    await asyncio.sleep(2)
    await stage.network.restore()
    console.print("  … and mended")
    await asyncio.sleep(1)
    console.print("  both agents are killed (SIGKILL) …")
    for house in stage.houses:
        await house.agent.kill()
        await house.agent.start()
        outcome.kills_of_agent += 1
    for house in stage.houses:
        await house.agent_is_ready()
    console.print("  … and start again")


async def _settled(api: Api) -> list[Alert]:
    """The alerts, once two looks in a row find the same: the collector's jobs have done their part."""
    before = await alerts(api)
    for _ in range(10):
        await asyncio.sleep(1.2)  # a round of each job
        now = await alerts(api)
        if now == before:
            break
        before = now
    return before
