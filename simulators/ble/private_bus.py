"""A D-Bus of its own, so that nothing of the machine's system bus is touched."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from models.errors import NeedsAHuman

PROGRAM: Final = "dbus-daemon"
_START_LIMIT_S: Final = 10.0

_CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class NoDaemon(NeedsAHuman):
    """The program that carries the bus is missing or does not start."""


def has_daemon() -> bool:
    """Whether a private bus can be opened on this machine."""
    return shutil.which(PROGRAM) is not None


@contextlib.asynccontextmanager
async def private_bus(socket: Path | None = None) -> AsyncIterator[str]:
    """The address of a bus that lives while the block runs. Raises NoDaemon.

    Clients find it when it stands in DBUS_SYSTEM_BUS_ADDRESS. `socket` is where it listens, at most 107
    characters; without it, in a folder of its own.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise NoDaemon(f"{PROGRAM} is not installed; install Debian's package dbus-daemon")
    with tempfile.TemporaryDirectory(prefix="air-") as folder:
        config = _configured(Path(folder), socket)
        daemon = await asyncio.create_subprocess_exec(
            program,
            f"--config-file={config}",
            "--nofork",
            "--nopidfile",
            "--print-address=1",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # it warns there of its limits
        )
        try:
            yield await _address(daemon)
        finally:
            with contextlib.suppress(ProcessLookupError):
                daemon.terminate()
            await daemon.wait()


def _configured(folder: Path, socket: Path | None) -> Path:
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(socket=socket or folder / "bus"))
    return config


async def _address(daemon: asyncio.subprocess.Process) -> str:
    """What the daemon prints once it listens."""
    if daemon.stdout is None:
        raise NoDaemon(f"{PROGRAM} has no output")
    async with asyncio.timeout(_START_LIMIT_S):
        line = await daemon.stdout.readline()
    if not line:
        raise NoDaemon(f"{PROGRAM} ended at once; is something else listening at the socket?")
    return line.decode().strip()
