"""What a line is made of: an open file of the system that bytes go into and come out of, without waiting."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from typing import Protocol

CHUNK = 4096  # bytes that are read at once, so that a storm of noise leaves the loop its turns

Heard = Callable[[bytes], None]
Lost = Callable[[str], None]


class Port(Protocol):
    """One open wire. It tells what comes in, and, once, when it is lost; not after `close`."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_stuck(self) -> bool:
        """Whether something that was to be sent has not left yet."""

    def send(self, data: bytes) -> None:
        """Send as fast as the other side takes it; it may be lost meanwhile."""

    def take_in(self) -> None:
        """Tell what the system holds already, though the loop has not had its turn."""

    def close(self) -> None:
        """Safe to call twice."""


class Opened(Protocol):
    """Whatever owns an open file of the system."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class FilePort:
    """A `Port` for a file that does not block, which is closed with it."""

    def __init__(self, opened: Opened, heard: Heard, lost: Lost) -> None:
        self._opened, self._heard, self._lost = opened, heard, lost
        self._fd = opened.fileno()
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self.is_open = True
        self._loop.add_reader(self._fd, self.take_in)

    @property
    def is_stuck(self) -> bool:
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        if not self.is_open:
            return
        if self._unsent:
            self._unsent += data
            return
        self._unsent = data
        self._write()
        if self._unsent and self.is_open:
            self._loop.add_writer(self._fd, self._write)

    def take_in(self) -> None:
        if not self.is_open:
            return
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError as err:
            self._end(_told(err))
            return
        if data:
            self._heard(data)
        else:
            self._end("the other side is gone")

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError):  # of a device that was unplugged
            self._opened.close()

    def _write(self) -> None:
        try:
            sent = os.write(self._fd, self._unsent)
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except OSError as err:
            self._end(_told(err))
            return
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    def _end(self, why: str) -> None:
        self.close()
        self._lost(why)


def _told(err: OSError) -> str:
    if err.errno in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return "the port was unplugged"
    return err.strerror or str(err)
