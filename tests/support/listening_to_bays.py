"""A process that listens to parking sensors with a real buffer; made to be killed.

Each line of its output is one promise: `stored`, and the devices of the items that now are. It ends only with
a signal. Arguments: the buffer's file, the port of the broker, and the DevEUIs of the sensors.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from drivers.parking.broker import Broker
from drivers.parking.listener import ChirpStackListener
from drivers.parking.sensor import Sensor
from edge_agent.bays import Bays, Watched
from edge_agent.catalogue import Catalogue
from edge_agent.sink import BufferSink
from models.profile import as_family
from models.profile.parking_sensor import ParkingSensorProfile
from models.reading import Item
from tests.support.appending import CLOCK, say
from tests.support.buffers import open_buffer
from tests.support.chirpstack import APPLICATION

PERIOD_S = 3600.0


class SayingSink(BufferSink):
    """Says what is stored."""

    async def put(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> None:
        await super().put(items, marks)
        say("stored", *{item.device_id for item in items})


async def main(path: Path, port: int, euis: Sequence[str]) -> None:
    profile = as_family(Catalogue().load("bosch-parking-lot-sensor"), ParkingSensorProfile)
    sensors = [Sensor(f"bay-{eui}", eui, profile, {}, PERIOD_S) for eui in euis]
    watched = [
        Watched(device_id=sensor.state.id, point="occupied", source=profile.profile, limit_s=2 * PERIOD_S)
        for sensor in sensors
    ]
    async with await open_buffer(path, CLOCK, window_s=0.002) as buffer:
        bays = Bays(SayingSink(buffer, CLOCK), watched, CLOCK)
        broker = Broker(host="127.0.0.1", port=port)
        await ChirpStackListener("b", broker, APPLICATION, sensors, clock=CLOCK).run(bays)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
