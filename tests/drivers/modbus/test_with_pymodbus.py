"""The driver understands a server that somebody else wrote: pymodbus's own."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.modbus.driver import make_driver
from drivers.modbus.tcp import ModbusTcpLink
from models.reading import Quality, Reason
from tests.support.clocks import VirtualClock
from tests.support.profiles import a_point, a_profile

UNIT = 7
PROFILE = a_profile(
    a_point("float32_v", 0, "float32", decimals=3),
    a_point("low_first", 2, "float32", word_order="low_first", decimals=3),
    a_point("signed", 4, "int16"),
    a_point("scaled_kwh", 5, "uint32", scale=0.01, decimals=2),
    a_point("far", 40),
    a_point("is_on", 3, table="coil"),
    a_point("input_w", 0, "int64", table="input", scale=0.001, decimals=3),
    max_gap=0,
)


def words(packed: bytes) -> list[int]:
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """pymodbus's server with one device; where it listens."""
    high, low = words(struct.pack(">f", -12.5))
    first = [*words(struct.pack(">f", 230.25)), low, high, *words(struct.pack(">hI", -321, 1_234_567))]
    holding = [registers(0, first), registers(41, [1])]  # 40 is not there
    inputs = [registers(0, words(struct.pack(">q", -9_876_543_210)))]
    bits = [SimData(0, values=[False, False, False, True], datatype=DataType.BITS)]
    port = free_port()
    server = ModbusTcpServer([SimDevice(UNIT, (bits, bits, holding, inputs))], address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


def registers(address: int, values: list[int]) -> SimData:
    return SimData(address, values=list(values), datatype=DataType.REGISTERS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def test_all_tables_types_and_a_missing_register_are_read_right(time: VirtualClock) -> None:
    async with served() as port:
        link = ModbusTcpLink("127.0.0.1", port, clock=time.clock)
        driver = make_driver(
            device_id="m", profile=PROFILE, unit=UNIT, link=link, parameters={}, clock=time.clock
        )
        await driver.open()
        readings = {reading.point: reading for reading in await driver.read()}
        await driver.close()
    missing = readings.pop("far")
    assert (missing.quality, missing.reason) == (Quality.BAD, Reason.REFUSED)
    assert {name: reading.value for name, reading in readings.items()} == {
        "float32_v": 230.25,
        "low_first": -12.5,
        "signed": -321.0,
        "scaled_kwh": 12345.67,
        "is_on": 1.0,
        "input_w": -9_876_543.21,
    }
