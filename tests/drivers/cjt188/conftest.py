"""What the tests of the CJ/T 188 driver share: a meter of bytes at the other end of a real serial port."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.cjt188.driver import Cjt188Driver, make_driver
from drivers.line import SerialLine
from models.profile.cjt188 import Cjt188Point, Cjt188Profile, Cjt188Section, Read, UnitCode
from tests.support.clocks import VirtualClock
from tests.support.line_drivers import LineDrivers, line, port, time
from tests.support.scripted_line import ScriptedLine, scripted_line

__all__ = ["line", "port", "time"]  # fixtures

ADDRESS = "78330011223344"
Drivers = LineDrivers[Cjt188Profile, Cjt188Driver]


def frame(control: int, data: bytes, address: str = ADDRESS, meter_type: int = 0x10) -> bytes:
    """A whole frame."""
    head = bytes((0x68, meter_type)) + bytes.fromhex(address)[::-1] + bytes((control, len(data))) + data
    return head + bytes((sum(head) % 256, 0x16))


class ByteMeter:
    """Answers each identifier, as it is on the wire, with its bytes, and with an error what it has not."""

    def __init__(self, address: str = ADDRESS, meter_type: int = 0x10) -> None:
        self.address, self.meter_type = address, meter_type
        self.data: dict[bytes, bytes] = {}

    def set(self, di: str, data: str) -> None:
        self.data[bytes.fromhex(di)] = bytes.fromhex(data)

    def answer(self, request: bytes) -> list[bytes]:
        own = bytes.fromhex(self.address)[::-1]
        if request[1] != self.meter_type or request[2:9] not in (own, b"\xaa" * 7) or request[9] != 0x01:
            return []
        header = request[11:14]
        data = self.data.get(header[:2])
        if data is None:
            return [frame(0xC1, header[2:] + b"\x02\x00", self.address, self.meter_type)]
        return [b"\xfe\xfe" + frame(0x81, header + data, self.address, self.meter_type)]


@pytest.fixture
async def opened() -> AsyncIterator[tuple[ScriptedLine, str]]:
    async with scripted_line(10, 13) as opened:
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


def a_point(name: str, at: int, **more: Any) -> Cjt188Point:
    settings: dict[str, Any] = {
        "unit": "m3", "kind": "gauge", "length": 4, "unit_at": at + 4, "scale": 0.01, "decimals": 2
    }  # fmt: skip
    return Cjt188Point(name=name, at=at, **(settings | more))


def a_profile(*points: Cjt188Point, reads: tuple[Read, ...] = (), **section: Any) -> Cjt188Profile:
    """A meter with these points, which is not waited for long."""
    settings: dict[str, Any] = {
        "edition": "2004",
        "meter_type": 0x10,
        "reads": reads or (Read(di=0x901F, length=5 * len(points)),),
        "units": (UnitCode(code=0x2C, unit="m3", source="this test", verified=True),),
        "reply_timeout_s": 0.2,
    }
    return Cjt188Profile(
        profile="test-meter",
        version="1",
        title="Test meter",
        family="cjt188",
        verified=True,
        source="this test",
        cjt188=Cjt188Section(**(settings | section)),
        points=points,
    )
