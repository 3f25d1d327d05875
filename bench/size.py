"""How many bytes a reading takes once it is sealed: 20 meters of an office, read over the wire."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.contract import Driver
from drivers.modbus.driver import make_driver
from drivers.modbus.tcp import ModbusTcpLink
from edge_agent.catalogue import Catalogue
from models.envelope import FIRST_PREVIOUS, CollectorPrivateKey, ContentKey, seal
from models.profile import as_family
from models.profile.modbus import ModbusProfile
from models.reading import Item, Quality
from models.times import Clock
from simulators.scenario import shipped_scenario
from simulators.site import Site, running

MONDAY_NINE_MS = 1_772_413_200_000  # 2 March 2026, 09:00 in Beijing: an office at work


@dataclass(frozen=True, slots=True)
class Result:
    period_s: int  # how often each meter is read
    batch_s: int  # how much time one batch holds
    readings: int
    bytes_per_reading: float


@dataclass(slots=True)
class _SetClock:
    now_ms: int

    def clock(self) -> Clock:
        return Clock(lambda: self.now_ms, lambda: self.now_ms / 1000, asyncio.sleep)


def measure() -> list[Result]:
    """Batches of one sweep, as they are sent live, and of a quarter of an hour, as a backlog is."""
    return [
        asyncio.run(_measure(period_s, batch_s, batches))
        for period_s, batch_s, batches in ((60, 60, 30), (60, 300, 6), (60, 900, 4), (1, 10, 6), (1, 60, 3))
    ]


async def _measure(period_s: int, batch_s: int, batches: int) -> Result:
    time = _SetClock(MONDAY_NINE_MS)
    total = readings = 0
    async with running(shipped_scenario("office"), clock=time.clock()) as site:
        meters = list(_drivers(site, time.clock()))
        for driver in meters:
            await driver.open()
        signing_key = Ed25519PrivateKey.generate()
        content_key, _ = ContentKey.fresh(
            gateway_id="gw-000000000001",
            collector_key=CollectorPrivateKey.generate().public_bytes(),
            signing_key=signing_key,
        )
        for number in range(1, batches + 1):
            items: list[Item] = []
            for _ in range(batch_s // period_s):
                for driver in meters:
                    items += [reading for reading in await driver.read() if reading.quality == Quality.GOOD]
                    time.now_ms += 7 + len(items) % 3  # a request takes some milliseconds
                time.now_ms += period_s * 1000 - time.now_ms % (period_s * 1000)
            sealed = seal(
                items,
                gateway_id="gw-000000000001",
                epoch=os.urandom(16),
                number=number,
                first_seq=1,
                previous=FIRST_PREVIOUS,
                content_key=content_key,
                signing_key=signing_key,
            )
            total += len(sealed.body)
            readings += len(items)
        for driver in meters:
            await driver.close()
    return Result(period_s, batch_s, readings, total / readings)


def _drivers(site: Site, clock: Clock) -> Iterator[Driver]:
    profiles = Catalogue()
    for rack, port in zip(site.scenario.racks, site.ports, strict=True):
        link = ModbusTcpLink("127.0.0.1", port, clock=clock)
        for meter in rack.meters:
            yield make_driver(
                device_id=meter.id,
                profile=as_family(profiles.load(meter.profile), ModbusProfile),
                unit=meter.unit,
                link=link,
                parameters=meter.parameters,
                clock=clock,
            )
