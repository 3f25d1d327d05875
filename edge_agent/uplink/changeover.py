"""One carrier after the other: each question goes by the newest, and none is broken off for it."""

import asyncio

from edge_agent.uplink.carrier import Answer, Carrier, Request


class Changeover:
    """See `edge_agent.uplink.carrier.Carrier`."""

    def __init__(self, carrier: Carrier) -> None:
        self.url = carrier.url
        self._carrier = carrier
        self._under_way: dict[Carrier, int] = {carrier: 0}
        self._closing: set[asyncio.Task[None]] = set()

    async def exchange(self, request: Request) -> Answer:
        carrier = self._carrier
        self._under_way[carrier] += 1
        try:
            return await carrier.exchange(request)
        finally:
            self._under_way[carrier] -= 1
            self._let_go(carrier)

    def change(self, carrier: Carrier) -> None:
        """From now on this one is asked. The one before is closed when its last answer is there."""
        before, self._carrier = self._carrier, carrier
        self._under_way[carrier] = 0
        self._let_go(before)

    async def close(self) -> None:
        for carrier in list(self._under_way):
            await carrier.close()
        self._under_way = {self._carrier: 0}
        if self._closing:
            await asyncio.wait(self._closing)

    def _let_go(self, carrier: Carrier) -> None:
        if carrier is self._carrier or self._under_way.get(carrier, 1):
            return
        del self._under_way[carrier]
        task = asyncio.get_running_loop().create_task(carrier.close(), name="close a carrier")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
