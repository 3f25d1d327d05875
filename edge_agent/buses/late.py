"""A listener that is made when listening begins, because a file that it needs may not be right before."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.contract import DeviceState, DeviceUnreachable, Listener, Sink


class LateListener:
    """See `drivers.contract.Listener`. What is wrong with a file concerns its own bus, and no other."""

    def __init__(self, device_ids: Sequence[str], make: Callable[[], Listener]) -> None:
        """`make` is called in a thread, whenever listening begins and nothing was made yet."""
        self._make = make
        self._made: Listener | None = None
        self._waiting = [DeviceState(device_id) for device_id in device_ids]

    @property
    def states(self) -> Sequence[DeviceState]:
        return self._waiting if self._made is None else self._made.states

    async def run(self, sink: Sink) -> None:
        if self._made is None:
            self._made = await asyncio.to_thread(self._make)
        await self._made.run(sink)

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self._made is None:
            raise DeviceUnreachable(device_id, "it is not listened to yet")
        return await self._made.act(device_id, action, arguments)
