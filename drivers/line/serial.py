"""A line that is a serial port of this machine, or a pseudo-terminal."""

import asyncio
import contextlib
import errno
import os
import termios
from typing import Final, Literal

import serial

from drivers.line.line import Line
from drivers.line.port import FilePort, Heard, Lost, Port
from models.times import Clock

BITS_PER_BYTE: Final = 11
"""Start, eight of data, parity or a second stop, stop: what the silences of Modbus are counted in."""

Parity = Literal["none", "even", "odd"]
_PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


def silent_interval_s(baud: int) -> float:
    """The silence between two frames: 3.5 bytes, and from 19200 bit/s on 1.75 ms.

    Source: MODBUS over Serial Line, specification and implementation guide V1.02, 2.5.1.1. DL/T 645 and
    CJ/T 188 ask for less.
    """
    return max(3.5 * BITS_PER_BYTE / baud, 0.00175)


class SerialLine(Line):
    """A `Line` on a serial port. It is opened for this process alone."""

    def __init__(
        self,
        path: str,
        *,
        baud: int = 9600,
        parity: Parity = "none",
        stop_bits: Literal[1, 2] = 1,
        turnaround_s: float = 0.0,
        clock: Clock,
    ) -> None:
        """`turnaround_s`: the silence that slow devices need before a request, when that is longer."""
        silent_s = max(silent_interval_s(baud), turnaround_s)
        super().__init__(path, silent_s=silent_s, byte_s=BITS_PER_BYTE / baud, clock=clock)
        self._path, self._baud, self._parity, self._stop_bits = path, baud, parity, stop_bits
        self._opening: asyncio.Future[serial.Serial] | None = None

    async def shut(self) -> None:
        """See `Line`."""
        if self._opening is not None:
            self._opening.add_done_callback(_close)
            self._opening = None
        await super().shut()

    async def _open(self, heard: Heard, lost: Lost) -> Port:
        # A driver of the system may hang, and cannot be called back: whoever comes next waits for the same.
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._make))
        try:
            opened = await asyncio.shield(self._opening)
        except (OSError, ValueError):
            self._opening = None
            raise
        self._opening = None
        return FilePort(_Unsent(opened), heard, lost)

    def _make(self) -> "serial.Serial":
        # A pseudo-terminal has no parity, and refuses to be told one.
        is_real = not os.path.realpath(self._path).startswith("/dev/pts/")
        try:
            opened = serial.Serial(
                self._path,
                self._baud,
                parity=_PARITIES[self._parity] if is_real else serial.PARITY_NONE,
                stopbits=self._stop_bits,
                timeout=0,
                inter_byte_timeout=0,  # makes "nothing yet" differ from "unplugged" when it is read
                exclusive=True,
            )
        except OSError as err:
            if err.errno == errno.EAGAIN:
                raise OSError("another program, or another bus, has it open") from err
            raise
        with contextlib.suppress(OSError, ValueError):  # only some adapters hold bytes back, and know this
            opened.set_low_latency_mode(True)
        return opened


class _Unsent:
    """An open port that is closed without waiting until the adapter has taken what was to be sent."""

    def __init__(self, port: "serial.Serial") -> None:
        self._port = port

    def fileno(self) -> int:
        fd: int = self._port.fileno()
        return fd

    def close(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # of an adapter that was unplugged
            self._port.reset_output_buffer()
        self._port.close()


def _close(opening: "asyncio.Future[serial.Serial]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
