"""A real MQTT broker for tests and demonstrations: Mosquitto, on a free port of this machine."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from models.errors import NeedsAHuman, RetryLater

START_LIMIT_S: Final = 10.0
_LOOK_S: Final = 0.02


class NoMosquitto(NeedsAHuman):
    """The program is not installed."""

    def __init__(self) -> None:
        super().__init__("there is no mosquitto; apt-get install mosquitto, or name a broker of your own")


class BrokerDidNotStart(RetryLater):
    """It ended, or did not listen in time."""


def mosquitto_path() -> str | None:
    """Where the program is; Debian has it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class LocalBroker:
    """One broker, which keeps sessions and messages over `stop` and `start`. Made by `local_broker`."""

    def __init__(self, folder: Path, port: int, options: str) -> None:
        self.host, self.port = "127.0.0.1", port
        self._process: asyncio.subprocess.Process | None = None
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {port} {self.host}",
            options,
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 100000",
            "set_tcp_nodelay true",
            "log_dest none",
            "user root" if os.geteuid() == 0 else "",  # else it goes on as a user who cannot write here
        ]
        self._config.write_text("\n".join(lines) + "\n")

    async def start(self) -> None:
        """Return when it listens. Raises NoMosquitto and BrokerDidNotStart."""
        path = mosquitto_path()
        if path is None:
            raise NoMosquitto
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            path, "-c", str(self._config), stdout=quiet, stderr=quiet
        )
        try:
            async with asyncio.timeout(START_LIMIT_S):
                while not await self._listens():  # noqa: ASYNC110  # it rings no bell
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            await self.stop()
            raise BrokerDidNotStart(f"mosquitto does not listen on port {self.port}") from None

    async def stop(self) -> None:
        """End it as a person does; it writes down what it keeps. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()

    async def _listens(self) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise BrokerDidNotStart(
                f"mosquitto ended at once ({self._process.returncode}); see {self._config}"
            )
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@asynccontextmanager
async def local_broker(*, port: int = 0, options: str = "allow_anonymous true") -> AsyncIterator[LocalBroker]:
    """A broker while the block runs. Port 0: a free one. `options`: what its configuration says besides."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-broker-") as folder:
        broker = LocalBroker(Path(folder), port or _free_port(), options)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
