"""One serial line of OSDP readers: a port and the one thread that talks on it."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import osdp_sys
import serial

from drivers.access.osdp_panel import Panel
from drivers.access.osdp_says import Done, Heard, Outcome, Reader
from drivers.contract import DeviceUnreachable

REFRESH_S: Final = 0.005
"""libosdp wants to be called every 50 ms at least; the reply of a reader waits so long."""

_WRITE_LIMIT_S: Final = 1.0
_SOM: Final = 0x53
_IS_REPLY: Final = 0x80


class OsdpLine:
    """One line from `start` to `stop`. All callbacks come from its thread."""

    def __init__(self, port: str, baud: int, readers: Sequence[Reader], heard: Heard) -> None:
        self._port, self._baud, self._readers, self._heard = port, baud, readers, heard
        self._thread = threading.Thread(target=self._work, name=f"osdp {port}", daemon=True)
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._orders: list[tuple[int, dict[str, Any], Done]] = []
        self._has_ended = False
        self._channel: _Channel | None = None
        self.on_end: Callable[[Exception | None], object] = lambda err: None  # called once, last

    def start(self) -> None:
        """Open the port and begin. Raises DeviceUnreachable."""
        try:
            port = serial.Serial(self._port, self._baud, timeout=0, write_timeout=0, exclusive=True)
            self._channel = _Channel(port)
        except (OSError, ValueError) as err:
            raise DeviceUnreachable(self._port, getattr(err, "strerror", None) or str(err)) from err
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing of it is running or open. Safe to call twice."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def set_output(self, address: int, output: int, code: int, timer_100ms: int, done: Done) -> None:
        """Tell a reader to switch; `done` is called with what became of it. May be called anywhere."""
        order = {
            "command": osdp_sys.CMD_OUTPUT,
            "output_no": output,
            "control_code": code,
            "timer_count": timer_100ms,
        }
        with self._lock:
            if not self._has_ended:
                self._orders.append((address, order, done))
                return
        done(Outcome.OFFLINE)

    def _work(self) -> None:
        channel, error = self._channel, None
        assert channel is not None  # noqa: S101  # `start` made it
        panel = Panel(channel, self._readers, self._heard)
        try:
            while not self._ending.is_set():
                with self._lock:
                    orders, self._orders = self._orders, []
                for address, order, done in orders:
                    panel.order(address, order, done)
                panel.refresh(time.monotonic())
                if channel.broken is not None:
                    raise channel.broken
                time.sleep(REFRESH_S)
        except Exception as err:  # a port that was pulled out, or a bug: both are told to whoever waits
            error = err
        finally:
            panel.close()
            channel.close()
            with self._lock:
                self._has_ended, left = True, self._orders
            for _, _, done in left:
                done(Outcome.OFFLINE)
            self.on_end(error)


class _Channel:
    """The port, as libosdp wants it. It must not raise: an error is kept until somebody looks."""

    id = 1

    def __init__(self, port: Any) -> None:
        self._port, self._last = port, b""
        self.heard_s: dict[int, float] = {}
        self.broken: Exception | None = None

    def read(self, most: int) -> bytes:
        try:
            data = bytes(self._port.read(most))
        except (OSError, TypeError) as err:  # TypeError: how pyserial says that it was closed meanwhile
            self.broken = self.broken or OSError(str(err))
            return b""
        if data:
            self._note(data)
        return data

    def write(self, data: bytes) -> int:
        rest, end_s = memoryview(bytes(data)), time.monotonic() + _WRITE_LIMIT_S
        try:
            while rest and time.monotonic() < end_s:
                rest = rest[_write(self._port, rest) :]
        except OSError as err:
            self.broken = self.broken or err
        return len(data) - len(rest)

    def flush(self) -> None:
        """Forget what came: before a new beginning it can only be late."""
        with contextlib.suppress(OSError):
            self._port.reset_input_buffer()

    def _note(self, data: bytes) -> None:
        """Who speaks: a reply begins with 53 and the address of the reader with its high bit set."""
        seen = self._last + data
        for place in range(len(seen) - 1):
            if seen[place] == _SOM and seen[place + 1] & _IS_REPLY:
                self.heard_s[seen[place + 1] & ~_IS_REPLY] = time.monotonic()
        self._last = seen[-1:]

    def close(self) -> None:
        self._port.close()


def _write(port: Any, data: memoryview) -> int:
    try:
        return os.write(port.fileno(), data)
    except BlockingIOError:
        time.sleep(0.001)
        return 0
