"""A pseudo-terminal that stands for a serial port: its path is opened as /dev/ttyUSB0 would be."""

import asyncio
import os
import select
import termios
import tty
from collections.abc import Callable
from pathlib import Path

_CHUNK = 4096
_TERMINALS = "/dev/pts/"
_LOOK_S = 0.02  # how often to see whether somebody has opened a port that was closed


class PtyPort:
    """One port. `heard` gets what its user writes; `left` is called when the user closes it."""

    def __init__(self, *, link: Path | None = None) -> None:
        """`link`: where a symbolic link to the port is kept while it is open, for a path that is known."""
        self.heard: Callable[[bytes], None] = lambda data: None
        self.left: Callable[[], None] = lambda: None
        self.path = ""
        self._terminal = ""  # what a link leads to
        self._link = link
        self._master = -1
        self._unsent = b""
        self._watch: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises OSError."""
        self._master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        self.path = self._terminal = os.ttyname(slave)
        os.close(slave)  # from now on a user who closes it can be told from one who is silent
        os.set_blocking(self._master, False)
        if self._link is not None:
            try:
                self._put_link(self._link)
            except OSError:
                await self.close()
                raise
            self.path = str(self._link)
        self._watch = asyncio.get_running_loop().create_task(self._wait_for_user(), name=f"pty {self.path}")

    def send(self, data: bytes) -> None:
        """Bytes for the user. What is sent while there is none is lost, as on a line."""
        if self._master < 0 or self._is_deserted():
            return
        if not self._unsent:
            asyncio.get_running_loop().add_writer(self._master, self._write)
        self._unsent += data

    async def close(self) -> None:
        """Safe to call twice."""
        if self._master < 0:
            return
        master, self._master = self._master, -1
        loop = asyncio.get_running_loop()
        loop.remove_reader(master)
        loop.remove_writer(master)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._link is not None and _leads_to(self._link) == self._terminal:
            self._link.unlink()
        os.close(master)
        self._unsent = b""

    def _put_link(self, link: Path) -> None:
        """Raises OSError. What is no link, or the way to a real port, is not ours to replace."""
        if _leads_to(link).startswith(_TERMINALS):
            link.unlink()  # of a simulator that was killed
        link.symlink_to(self._terminal)

    async def _wait_for_user(self) -> None:
        while self._is_deserted():  # noqa: ASYNC110  # the system does not tell when it is opened
            await asyncio.sleep(_LOOK_S)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _is_deserted(self) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _read(self) -> None:
        if self._master < 0:  # closed while this was on its way
            return
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has it open any more
            data = b""
        if data:
            self.heard(data)
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        self.left()
        self._watch = loop.create_task(self._wait_for_user(), name=f"pty {self.path}")

    def _write(self) -> None:
        try:
            sent = os.write(self._master, self._unsent)
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._master)


def _leads_to(link: Path) -> str:
    """Where a symbolic link leads; "" for what is none."""
    return str(link.readlink()) if link.is_symlink() else ""
