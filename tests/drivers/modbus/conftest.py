"""What the tests of the Modbus driver share: a device of raw bytes, and drivers that talk to it."""

from collections.abc import AsyncIterator, Mapping

import pytest

from drivers.modbus.driver import ModbusDriver, make_driver
from drivers.modbus.tcp import ModbusTcpLink
from models.profile.modbus import ModbusProfile
from tests.support.byte_server import ByteServer, byte_server
from tests.support.clocks import VirtualClock


@pytest.fixture
async def server() -> AsyncIterator[ByteServer]:
    async with byte_server() as server:
        yield server


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def link(server: ByteServer, time: VirtualClock) -> AsyncIterator[ModbusTcpLink]:
    """A link to the server, whose connection ends with the test."""
    link = ModbusTcpLink("127.0.0.1", server.port, clock=time.clock)
    yield link
    await link.shut()


class Drivers:
    """Makes drivers on one link."""

    def __init__(self, link: ModbusTcpLink, time: VirtualClock) -> None:
        self._link, self._time = link, time

    def __call__(
        self, profile: ModbusProfile, unit: int = 1, parameters: Mapping[str, float] | None = None
    ) -> ModbusDriver:
        return make_driver(
            device_id=f"meter-{unit:02}",
            profile=profile,
            unit=unit,
            link=self._link,
            parameters=parameters or {},
            clock=self._time.clock,
        )


@pytest.fixture
def drivers(link: ModbusTcpLink, time: VirtualClock) -> Drivers:
    return Drivers(link, time)
