"""A program that the lab starts, holds up, kills and starts again."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from models.errors import NeedsAHuman

_STOP_LIMIT_S = 15.0


class CannotStart(NeedsAHuman):
    """There is no such program."""


class Child:
    """One process; commands of this environment are found by their bare names."""

    def __init__(self, command: Sequence[str]) -> None:
        program, *self._arguments = command
        ours = Path(sys.executable).with_name(program)
        self._program = str(ours) if ours.exists() else program
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, or start it again. Raise CannotStart."""
        try:
            self._process = await asyncio.create_subprocess_exec(self._program, *self._arguments)
        except OSError as err:
            raise CannotStart(f"{self._program}: {err.strerror}; is it installed?") from err

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for who does not listen to it."""
        self.go_on()
        try:
            async with asyncio.timeout(_STOP_LIMIT_S):
                await self._end(signal.SIGTERM)
        except TimeoutError:
            await self._end(signal.SIGKILL)

    def hold(self) -> None:
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    async def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        if self._process is not None:
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
