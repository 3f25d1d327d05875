"""Starts the parts as processes of their own, waits for them, and kills them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

_BIN = Path(sys.executable).parent
_STOP_LIMIT_S = 15.0


class PartFailed(Exception):
    """A part ended that should run, or a command failed. What it printed last is in the message."""


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """What starts a module of ours as a process."""
    return (sys.executable, "-m", name, *arguments)


def program(name: str, *arguments: str) -> tuple[str, ...]:
    """What starts one of the project's commands."""
    return (str(_BIN / name), *arguments)


class Part:
    """One process. Its output goes to a file; `first_line` gives the first thing it said."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment` is added to that of this process."""
        self.name, self._arguments, self._log = name, arguments, log
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        """Start it, or start it again."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments, stdout=asyncio.subprocess.PIPE, stderr=log, env=self._environment
            )
        return self

    async def first_line(self) -> Any:
        """The first line that it prints, as JSON."""
        process = self._running()
        assert process.stdout is not None  # noqa: S101  # asked for above
        line = await process.stdout.readline()
        if not line:
            await process.wait()
            raise PartFailed(f"the {self.name} ended at its start:\n{self.last_words}")
        return json.loads(line)

    def check(self) -> None:
        """Raise PartFailed when it has ended by itself."""
        if self._running().returncode is not None:
            raise PartFailed(f"the {self.name} ended:\n{self.last_words}")

    async def kill(self) -> None:
        """SIGKILL: no chance to finish anything. It may have ended by itself."""
        process = self._running()
        if process.returncode is None:
            process.kill()
        await process.communicate()

    def hold(self) -> None:
        """SIGSTOP: it is there and does nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        process = self._running()
        if process.returncode is None:
            process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and its exit code. Does nothing when it has ended already, or was never started."""
        if self._process is None:
            return 0
        process = self._process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_LIMIT_S):
                    await process.communicate()
            except TimeoutError:
                process.kill()
                await process.communicate()
        return process.returncode if process.returncode is not None else -1

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def has_ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self._process is not None and self._process.returncode is not None

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise PartFailed(f"the {self.name} was never started")
        return self._process

    @property
    def last_words(self) -> str:
        """The end of what it has told its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


async def command(name: str, *arguments: str) -> Any:
    """Run one of the project's commands with --json, as a person would, and return what it says."""
    process = await asyncio.create_subprocess_exec(
        *program(name, *arguments, "--json"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        said = (out + err).decode(errors="replace").strip()[:2000]
        raise PartFailed(f"`{name} {arguments[0]}` failed with exit code {process.returncode}:\n{said}")
    return json.loads(out)
