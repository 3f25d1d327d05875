"""Runs a listener for as long as its bus is to be listened to."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from drivers.contract import DeviceState, Listener, Sink
from models.errors import NeedsAHuman
from models.times import Clock

RESTART_PAUSE_S: Final = 60.0
"""After a listener has failed: a bug, or something that a person must put right first."""

_log = logging.getLogger(__name__)


class ListeningBus:
    """A `edge_agent.buses.contract.Bus` of devices that speak by themselves."""

    def __init__(self, bus: str, listener: Listener, sink: Sink, *, clock: Clock) -> None:
        self.bus = bus
        self._listener, self._sink, self._clock = listener, sink, clock
        self._stopping = asyncio.Event()
        self._said = ""

    @property
    def states(self) -> Sequence[DeviceState]:
        return self._listener.states

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen(), name=f"listen {self.bus}")
        stopping = asyncio.create_task(self._stopping.wait(), name=f"stop {self.bus}")
        try:
            await asyncio.wait([listening, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, stopping):
                task.cancel()
            await asyncio.gather(listening, stopping, return_exceptions=True)
        if not listening.cancelled() and (err := listening.exception()) is not None:
            raise err

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return await self._listener.act(device_id, action, arguments)

    async def _listen(self) -> None:
        while True:
            await self._listen_once()
            await self._clock.sleep(RESTART_PAUSE_S)

    async def _listen_once(self) -> None:
        try:
            await self._listener.run(self._sink)
        except NeedsAHuman as err:
            if self._said != str(err):
                _log.error("%s: %s", self.bus, err)
            self._said = str(err)
        except Exception:  # a bug of one listener must not stop the others
            _log.exception("%s: its listener failed; please report this", self.bus)
