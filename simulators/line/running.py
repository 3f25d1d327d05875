"""A line that runs, and what a gateway must be told to read it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from models.errors import NeedsAHuman
from models.times import Clock
from simulators.ledger import LedgerWriter
from simulators.line.pty import PtyPort
from simulators.line.sections import LineSection
from simulators.line.serial import SerialLine, Sleep, Talker
from simulators.line.tcp import TcpPort

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # looked for, not bound to
_LOOP_TURNS = 3  # in which the loop sees who has closed the line from the other side


class CannotOpen(NeedsAHuman):
    """The port is taken, or the link cannot be made."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"cannot open {place}: {why}; choose another one")
        self.place = place


class RunningLine:
    """A line that is open."""

    def __init__(self, section: LineSection, port: PtyPort | TcpPort, talkers: Sequence[Talker]) -> None:
        self._section, self._port, self.talkers = section, port, tuple(talkers)

    @property
    def path(self) -> str:
        """Of the pseudo-terminal; "" for a serial server."""
        return self._port.path if isinstance(self._port, PtyPort) else ""

    @property
    def port(self) -> int:
        """Of the serial server; 0 for a pseudo-terminal."""
        return self._port.port if isinstance(self._port, TcpPort) else 0

    def bus(self, bus_id: str) -> dict[str, Any]:
        """This line as a bus of gateway.yaml."""
        if isinstance(self._port, TcpPort):
            host = "127.0.0.1" if self._port.host in _ALL_ADDRESSES else self._port.host
            return {"id": bus_id, "serial_server": {"host": host, "port": self._port.port}}
        section = self._section
        serial = {"port": self.path, "baud": section.baud or 2400, "parity": section.parity}
        return {"id": bus_id, "serial": serial}


@asynccontextmanager
async def running_line(
    section: LineSection,
    talkers: Sequence[Talker],
    *,
    clock: Clock,
    ledger: LedgerWriter | None = None,
    wire_sleep: Sleep = asyncio.sleep,
) -> AsyncIterator[RunningLine]:
    """Serve a line while the block runs; talkers of several families may share it. Raises CannotOpen."""
    port = section.make_port()
    line = SerialLine(
        port,
        talkers,
        baud=section.baud,
        turnaround_s=section.turnaround_ms / 1000,
        echoes=section.echoes,
        clock=clock,
        ledger=ledger,
        wire_sleep=wire_sleep,
    )
    try:
        await line.open()
    except OSError as err:
        place = section.link or f"{section.host}:{section.port}"
        raise CannotOpen(place, err.strerror or str(err)) from err
    try:
        yield RunningLine(section, port, talkers)
        for _ in range(_LOOP_TURNS):
            await asyncio.sleep(0)
    finally:
        await line.close()
