"""Showing a gateway live in a terminal: buses, devices, buffer and collectors."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.commands.answer import Answer
from edge_agent.commands.status import DEVICE_TITLES, device_row, summary
from edge_agent.config import load_config
from edge_agent.observed import find_status
from edge_agent.status import DeviceStatus, Status
from models.errors import NeedsAHuman
from models.times import utc_text

EVERY_S: Final = 1.0
LEAST_DEVICES: Final = 6  # lines, with the titles; with fewer the buses make room
WIDE: Final = 76  # columns, for all of a row
_ORDER: Final = {"lost": 0, "new": 1, "ok": 2}  # what needs somebody comes first
_STYLES: Final = {"lost": "bold red", "new": "dim", "ok": ""}
_NEEDED: Final = (0, 2, 3)  # of the columns, where there is no room for all
_TITLE_LINES: Final = 2  # of a table, and one below it


def watch(path: Path) -> Answer:
    """Until Ctrl-C. The terminal is then as it was before."""
    config = load_config(path)
    console = Console(highlight=False, markup=False)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    shown = Screen(find_status(config))
                except NeedsAHuman as err:  # it may be starting, or its buffer be in other hands
                    live.update(Text(str(err)), refresh=True)
                else:
                    live.update(shown, refresh=True)
                time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return Answer({}, "")


class Screen:
    """A status as high and wide as the terminal is at the moment."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        status = self._status
        head = Text(f"{utc_text(status.now_ms)}  Ctrl-C ends this", style="dim")
        parts: list[RenderableType] = [head, Text(summary(status))]
        room = options.size.height - 1
        room -= sum(len(console.render_lines(part, options, pad=False)) for part in parts)
        yield from parts
        if not status.devices:
            return
        of_buses = buses(status.devices)
        taken = len(console.render_lines(of_buses, options, pad=False))
        if room - taken >= LEAST_DEVICES:
            yield of_buses
            room -= taken
        yield _devices(status, room, options.max_width)


def buses(devices: list[DeviceStatus]) -> Table:
    """How many devices of each bus are how."""
    drawn = Table("bus", "answer", "lost", "not read yet", "missed", box=box.SIMPLE_HEAD, pad_edge=False)
    for bus in dict.fromkeys(device.bus for device in devices):
        mine = [device for device in devices if device.bus == bus]
        states = Counter(device.state for device in mine)
        missed = sum(device.missed_polls for device in mine)
        counts = [str(states[state]) for state in ("ok", "lost", "new")]
        drawn.add_row(bus, *counts, str(missed), style=_STYLES["lost"] if states["lost"] else "")
    return drawn


def _devices(status: Status, height: int, width: int) -> RenderableType:
    """As many as there is room for, those that need somebody first."""
    shown = range(len(DEVICE_TITLES)) if width >= WIDE else _NEEDED
    first = sorted(status.devices, key=lambda device: _ORDER[device.state])
    room = max(2, height - _TITLE_LINES - 1)
    fits = len(first) <= room
    drawn = Table(*(DEVICE_TITLES[at] for at in shown), box=box.SIMPLE_HEAD, pad_edge=False)
    for column in drawn.columns:
        column.no_wrap = True
    for device in first if fits else first[: room - 1]:
        row = device_row(device, status.now_ms)
        drawn.add_row(*(row[at] for at in shown), style=_STYLES[device.state])
    if not fits:
        drawn.add_row(f"and {len(first) - room + 1} more", style="dim")
    return drawn
