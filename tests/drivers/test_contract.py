"""What `Driver` promises, for every implementation of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from drivers.contract import DeviceUnreachable, TracedDriver
from drivers.modbus.driver import make_driver
from drivers.modbus.tcp import ModbusTcpLink
from models.reading import Quality, Reading
from tests.support.byte_server import Asked, ByteServer, byte_server, framed
from tests.support.clocks import VirtualClock
from tests.support.line_meter_rigs import Cjt188Rig, Dlt645Rig, behind_a_serial_server, on_a_serial_port
from tests.support.modbus_line_rig import ModbusLineRig
from tests.support.profiles import a_point, a_profile

NAMES = ["second", "first", "far_away", "switch"]


class Rig(Protocol):
    """A driver with points of the names above, and the device that it talks to."""

    driver: TracedDriver
    time: VirtualClock

    def show(self, number: int) -> None:
        """Let all points but the switch have this value."""

    def fall_silent(self) -> None:
        """Take questions and do not answer."""

    def refuse(self) -> None:
        """Answer every question with an error."""

    def babble(self) -> None:
        """Answer every question with something else."""

    def recover(self) -> None:
        """Answer again."""

    async def disappear(self) -> None:
        """Cut the device off."""

    async def come_back(self) -> None:
        """Connect it again."""


class ModbusRig:
    """The driver for Modbus TCP, before a server of raw bytes."""

    def __init__(self, server: ByteServer, driver: TracedDriver, time: VirtualClock) -> None:
        self.server, self.driver, self.time = server, driver, time

    @staticmethod
    @asynccontextmanager
    async def built() -> AsyncIterator["ModbusRig"]:
        time = VirtualClock()
        async with byte_server() as server:
            profile = a_profile(
                a_point("second", 11, min=0, max=1000),
                a_point("first", 10),
                a_point("far_away", 500, "uint32", table="input"),
                a_point("switch", 3, table="coil"),
                reply_timeout_s=0.25,
            )
            link = ModbusTcpLink("127.0.0.1", server.port, clock=time.clock)
            driver = make_driver(
                device_id="d", profile=profile, unit=1, link=link, parameters={}, clock=time.clock
            )
            yield ModbusRig(server, driver, time)
            await link.shut()

    def show(self, number: int) -> None:
        for key in ((3, 10), (3, 11), (4, 501)):
            self.server.words[key] = number

    def fall_silent(self) -> None:
        self.server.twist = lambda asked, honest: []

    def refuse(self) -> None:
        self.server.twist = lambda asked, honest: [
            framed(asked.transaction, asked.unit, bytes([asked.function | 0x80, 2]))
        ]

    def babble(self) -> None:
        def foreign(asked: Asked, honest: bytes) -> list[bytes]:
            return [framed(asked.transaction + 1, asked.unit, honest[7:]), b"\xff" * 9]

        self.server.twist = foreign

    def recover(self) -> None:
        self.server.twist = None

    async def disappear(self) -> None:
        await self.server.stop()

    async def come_back(self) -> None:
        await self.server.start(self.server.port)
        await self.time.advance(60)


RIGS: dict[str, Callable[[], AbstractAsyncContextManager[Rig]]] = {
    "modbus": ModbusRig.built,
    "modbus-rtu": on_a_serial_port(ModbusLineRig),
    "modbus-rtu-tcp": behind_a_serial_server(ModbusLineRig),
    "dlt645": on_a_serial_port(Dlt645Rig),
    "dlt645-tcp": behind_a_serial_server(Dlt645Rig),
    "cjt188": on_a_serial_port(Cjt188Rig),
    "cjt188-tcp": behind_a_serial_server(Cjt188Rig),
}


@pytest.fixture(params=list(RIGS.values()), ids=list(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    make: Callable[[], AbstractAsyncContextManager[Rig]] = request.param
    async with make() as rig:
        yield rig


def check(readings: list[Reading], rig: Rig, *, good: bool) -> None:
    """One reading for each point, in order; all good, or none with a value."""
    assert [reading.point for reading in readings] == NAMES
    for reading in readings:
        assert (reading.quality is Quality.GOOD) is good
        assert (reading.value is None) is (reading.quality is Quality.BAD)
        assert (reading.reason == 0) is (reading.quality is Quality.GOOD)
        assert reading.measured_ms <= reading.received_ms <= rig.time.now_ms()
        assert reading.device_id == "d"


def values(readings: list[Reading]) -> list[float | None]:
    return [reading.value for reading in readings if reading.point != "switch"]


async def test_every_point_is_read_once_and_in_order(rig: Rig) -> None:
    rig.show(7)
    await rig.driver.open()
    readings = await rig.driver.read()
    check(readings, rig, good=True)
    assert values(readings) == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("fault", ["fall_silent", "refuse", "babble"])
async def test_a_device_in_trouble_gives_bad_readings_and_then_good_ones_again(rig: Rig, fault: str) -> None:
    rig.show(7)
    await rig.driver.open()
    check(await rig.driver.read(), rig, good=True)
    getattr(rig, fault)()
    check(await rig.driver.read(), rig, good=False)
    rig.recover()
    rig.show(8)
    readings = await rig.driver.read()
    check(readings, rig, good=True)
    assert values(readings) == [8.0, 8.0, 8.0]


async def test_a_device_that_cannot_be_reached_gives_bad_readings_until_it_can(rig: Rig) -> None:
    await rig.disappear()
    with pytest.raises(DeviceUnreachable):
        await rig.driver.open()
    check(await rig.driver.read(), rig, good=False)
    await rig.come_back()
    check(await rig.driver.read(), rig, good=True)


async def test_a_device_that_disappears_while_open_is_read_when_it_is_back(rig: Rig) -> None:
    await rig.driver.open()
    await rig.disappear()
    check(await rig.driver.read(), rig, good=False)
    await rig.come_back()
    check(await rig.driver.read(), rig, good=True)


async def test_times_are_those_of_the_gateways_clock(rig: Rig) -> None:
    await rig.driver.open()
    await rig.driver.read()
    await rig.time.advance(3600)
    for reading in await rig.driver.read():
        assert reading.received_ms == rig.time.now_ms()


async def test_an_impossible_value_is_suspect_and_kept(rig: Rig) -> None:
    rig.show(1001)
    await rig.driver.open()
    second = (await rig.driver.read())[0]
    assert (second.value, second.quality) == (1001.0, Quality.SUSPECT)


async def test_a_cancelled_read_does_no_harm(rig: Rig) -> None:
    await rig.driver.open()
    rig.fall_silent()
    for rounds in range(12):
        reading = asyncio.create_task(rig.driver.read())
        for _ in range(rounds):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    rig.recover()
    rig.show(9)
    assert values(await rig.driver.read()) == [9.0, 9.0, 9.0]


async def test_close_is_safe_without_open_and_twice_and_open_may_follow(rig: Rig) -> None:
    await rig.driver.close()
    await rig.driver.open()
    await rig.driver.close()
    await rig.driver.close()
    await rig.driver.open()
    check(await rig.driver.read(), rig, good=True)
    await rig.driver.close()


async def test_a_traced_cycle_gives_the_same_readings_and_all_bytes(rig: Rig) -> None:
    rig.show(5)
    await rig.driver.open()
    readings, exchanges = await rig.driver.read_traced()
    check(readings, rig, good=True)
    assert exchanges
    for exchange in exchanges:
        assert exchange.request
        assert exchange.replies
        assert exchange.problem == ""
        assert exchange.sent_ms <= exchange.received_ms
