"""The client of a broker that may go away."""

import asyncio
import gc
from typing import Any

from simulators.parking.broker import LocalBroker, local_broker
from simulators.parking.client import mqtt_client
from tests.support.keeping_sink import PATIENCE_S
from tests.support.needs import needs_mosquitto


async def outlive(broker: LocalBroker) -> None:
    """Be connected when the broker ends, and say nothing afterwards."""
    async with mqtt_client(broker.host, broker.port) as client:
        await broker.stop()
        while not client._disconnected.done():  # noqa: ASYNC110  # it rings no bell
            await asyncio.sleep(0)


@needs_mosquitto
async def test_a_client_that_outlives_its_broker_is_no_complaint_of_the_event_loop() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    async with local_broker() as broker, asyncio.timeout(PATIENCE_S):
        await outlive(broker)
    gc.collect()
    assert complaints == []
