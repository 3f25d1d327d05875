"""What the tests of the DL/T 645 driver share: a meter of bytes at the other end of a real serial port."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.dlt645.driver import Dlt645Driver, make_driver
from drivers.line import SerialLine
from models.profile.dlt645 import Dlt645Point, Dlt645Profile, Dlt645Section
from tests.support.clocks import VirtualClock
from tests.support.line_drivers import LineDrivers, line, port, time
from tests.support.scripted_line import ScriptedLine, scripted_line

__all__ = ["line", "port", "time"]  # fixtures

ADDRESS = "123456789012"
Drivers = LineDrivers[Dlt645Profile, Dlt645Driver]


def frame(control: int, data: bytes, address: str = ADDRESS) -> bytes:
    """A whole frame, with plain data."""
    head = b"\x68" + bytes.fromhex(address)[::-1] + b"\x68" + bytes((control, len(data)))
    head += bytes((byte + 0x33) % 256 for byte in data)
    return head + bytes((sum(head) % 256, 0x16))


def plain(request: bytes) -> bytes:
    """The data of a frame."""
    return bytes((byte - 0x33) % 256 for byte in request[10:-2])


class ByteMeter:
    """Answers each identifier with its bytes, and with an error what it has not."""

    def __init__(self, address: str = ADDRESS) -> None:
        self.address = address
        self.data: dict[int, bytes] = {}

    def set(self, di: int, data: str) -> None:
        self.data[di] = bytes.fromhex(data)

    def answer(self, request: bytes) -> list[bytes]:
        control, asked = request[8], plain(request)
        if control not in (0x01, 0x11) or not self.is_meant(request):
            return []
        data = self.data.get(int.from_bytes(asked, "little"))
        if data is None:
            return [frame(control | 0xC0, b"\x02", self.address)]
        return [b"\xfe" * 4 + frame(control | 0x80, asked + data, self.address)]

    def is_meant(self, request: bytes) -> bool:
        own = bytes.fromhex(self.address)[::-1]
        return all(asked in (has, 0xAA) for asked, has in zip(request[1:7], own, strict=True))


@pytest.fixture
async def opened() -> AsyncIterator[tuple[ScriptedLine, str]]:
    async with scripted_line(9, 12) as opened:
        yield opened


@pytest.fixture
def meter(port: ScriptedLine) -> ByteMeter:
    """A meter that is alone on the port."""
    meter = ByteMeter()
    port.script = meter.answer
    return meter


@pytest.fixture
def drivers(line: SerialLine, time: VirtualClock) -> Drivers:
    return LineDrivers(make_driver, ADDRESS, line, time)


def a_point(name: str, di: int, length: int = 2, **more: Any) -> Dlt645Point:
    settings: dict[str, Any] = {"unit": "V", "kind": "gauge", "decimals": 0}
    return Dlt645Point(name=name, di=di, length=length, **(settings | more))


def a_profile(*points: Dlt645Point, **section: Any) -> Dlt645Profile:
    """A meter with these points, which is not waited for long."""
    settings: dict[str, Any] = {"edition": "2007", "reply_timeout_s": 0.2}
    return Dlt645Profile(
        profile="test-meter",
        version="1",
        title="Test meter",
        family="dlt645",
        verified=True,
        source="this test",
        dlt645=Dlt645Section(**(settings | section)),
        points=points,
    )
