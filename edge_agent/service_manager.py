"""Tells systemd how the agent is: that it is ready, alive, stopping; see sd_notify(3).

Without systemd, or when its socket does not take a message, nothing happens: meters are read all the same.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG_USEC: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"
LAUNCHED: Final = "GATEHOUSE_LAUNCHED"
"""Set by `edge_agent.update.launcher` for what it starts."""


class ServiceManager:
    """One for a process. Without an address it says nothing."""

    def __init__(
        self, address: str = "", *, watchdog_s: float | None = None, is_launched: bool = False
    ) -> None:
        """`watchdog_s`: after so long a silence systemd ends the process and starts it again.

        `is_launched`: what systemd has started is the launcher of updates. When this process stops, the unit
        need not.
        """
        self._is_launched = is_launched
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "ServiceManager":
        """As systemd has told this process. A watchdog of another process is none of ours."""
        usec, pid = environment.get(WATCHDOG_USEC, ""), environment.get(WATCHDOG_PID, "")
        is_ours = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        watchdog_s = int(usec) / 1_000_000 if is_ours else None
        is_launched = LAUNCHED in environment
        return cls(environment.get(NOTIFY_SOCKET, ""), watchdog_s=watchdog_s, is_launched=is_launched)

    def ready(self, status: str) -> None:
        self._tell(f"READY=1\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        self._tell(f"STATUS={status}" if self._is_launched else f"STOPPING=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={status}")

    async def keep_alive(self, is_well: Callable[[], bool] = lambda: True) -> None:
        """Say again and again that the loop of this task runs, while `is_well`. Never ends by itself."""
        if self.watchdog_s is None:
            await asyncio.Event().wait()
            return
        while True:
            if is_well():
                self._tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 3)  # in real time; systemd advises half

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # a socket that nobody reads must not hold up a poll
            channel.sendto(message.encode(), self._address)
