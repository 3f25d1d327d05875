"""When a connection that failed is tried again: soon at first, and never in a storm."""

import os

from drivers.contract import DeviceUnreachable
from models.times import Clock

CONNECT_TIMEOUT_S = 3.0  # a SYN is repeated after 1 s; who needs two repeats in a building is down
FIRST_PAUSE_S = 0.5  # after a failed attempt; doubles with every further one up to
LONGEST_PAUSE_S = 5.0  # so that a meter that is back is read within seconds


class Pauses:
    """Those between the attempts to reach one endpoint."""

    def __init__(self, endpoint: str, clock: Clock) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._pause_s = self._not_before_s = 0.0
        self._failure = ""

    def check(self) -> None:
        """Raise DeviceUnreachable when it is too early for an attempt."""
        if self._clock.monotonic_s() < self._not_before_s:
            raise DeviceUnreachable(self._endpoint, self._failure)

    def failed(self, err: Exception) -> DeviceUnreachable:
        """An attempt failed; what to raise."""
        self._failure = _told(err)
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        self._not_before_s = self._clock.monotonic_s() + self._pause_s
        return DeviceUnreachable(self._endpoint, self._failure)

    def succeeded(self) -> None:
        self._pause_s = self._not_before_s = 0.0


def _told(err: Exception) -> str:
    """Why there is no connection, without the address, which the message names already."""
    if isinstance(err, TimeoutError) and not err.errno:
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(err, OSError) and err.errno and err.errno > 0:
        return os.strerror(err.errno)
    return str(err)
