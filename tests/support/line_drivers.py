"""Fixtures of the tests of a driver on a line: its serial port, what is at the other end, and its time.

A conftest.py imports them and adds `opened`, which says how the requests of its protocol are told apart.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, TypeVar

import pytest

from drivers.line import SerialLine
from tests.support.clocks import VirtualClock
from tests.support.scripted_line import ScriptedLine

Profile = TypeVar("Profile")
Driver = TypeVar("Driver")


@pytest.fixture
def port(opened: tuple[ScriptedLine, str]) -> ScriptedLine:
    """What is at the other end of the driver's serial port."""
    return opened[0]


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def line(opened: tuple[ScriptedLine, str], time: VirtualClock) -> AsyncIterator[SerialLine]:
    line = SerialLine(opened[1], baud=115_200, parity="even", clock=time.clock)
    yield line
    await line.shut()


class LineDrivers(Generic[Profile, Driver]):
    """Makes drivers on one line."""

    def __init__(
        self, make_driver: Callable[..., Driver], address: str, line: SerialLine, time: VirtualClock
    ) -> None:
        """`address` is that of a meter of which nothing else is said."""
        self._make_driver, self._address, self._line, self._time = make_driver, address, line, time

    def __call__(
        self,
        profile: Profile,
        address: str | None = None,
        parameters: Mapping[str, float] | None = None,
        device_id: str = "meter",
    ) -> Driver:
        return self._make_driver(
            device_id=device_id,
            profile=profile,
            address=address or self._address,
            line=self._line,
            parameters=parameters or {},
            clock=self._time.clock,
        )
