"""The shipped broker: a real Mosquitto with the configuration that `collector broker` writes."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from collector.commands.broker import CONFIGURATION, broker
from collector.identity.home import Home
from simulators.parking.broker import mosquitto_path

START_LIMIT_S = 10.0


@dataclass
class ShippedBroker:
    """One Mosquitto that can be killed and started again at its port."""

    folder: Path
    port: int
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.port}"

    async def start(self) -> None:
        path = mosquitto_path()
        assert path is not None
        self._process = await asyncio.create_subprocess_exec(
            path,
            "-c",
            str(self.folder / CONFIGURATION),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(START_LIMIT_S):
            while not await self._listens():  # it rings no bell
                assert self._process.returncode is None, f"mosquitto ended; see {self.folder}"
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@contextlib.asynccontextmanager
async def shipped_broker(
    home: Home, folder: Path, *, changed: dict[str, str] | None = None
) -> AsyncIterator[ShippedBroker]:
    """A broker for the collector of that home. `changed` replaces settings of the file by name."""
    port = _free_port()
    await asyncio.to_thread(broker, home.folder, folder, ["localhost"], port, None)
    file = folder / CONFIGURATION
    lines = file.read_text().splitlines()
    for name, value in (changed or {}).items():
        [at] = [index for index, line in enumerate(lines) if line.startswith(f"{name} ")]
        lines[at] = f"{name} {value}"
    if os.geteuid() == 0:
        lines.append("user root")  # else it goes on as a user who cannot read here
    file.write_text("\n".join(lines) + "\n")
    shipped = ShippedBroker(folder, port)
    try:
        await shipped.start()
        yield shipped
    finally:
        await shipped.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
