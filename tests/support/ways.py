"""The two ways from a gateway to a real collector: straight by HTTPS, and by the shipped broker."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select

from collector.store import schema
from collector.store.engine import Store
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.carrier import Carrier
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.mqtt import MqttCarrier
from edge_agent.uplink.questions import Questions
from models.envelope import STANDARD, Sealed
from models.times import Clock
from tests.support.brokers import ShippedBroker, shipped_broker
from tests.support.collector import NOW_MS, Sender, a_reading
from tests.support.relay import Relay
from tests.support.running import RunningCollector, new_home, running

WAYS = ("https", "mqtt")


@dataclass
class Way:
    """A collector that runs, a gateway that it has enrolled, and the network between them."""

    name: str
    folder: Path
    collector: RunningCollector
    broker: ShippedBroker | None
    network: Relay
    identity: Identity
    sender: Sender
    now_ms: Callable[[], int] = lambda: NOW_MS
    _open: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)  # before the network
    _running: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def carrier(self, port: int | None = None, **more: Any) -> Carrier:
        """A new one, by the network or to another port of this machine; it is closed after the test."""
        carrier: Carrier
        at = f"localhost:{port or self.network.port}"
        if self.name == "mqtt":
            carrier = MqttCarrier(self.identity, f"mqtts://{at}", **more)
        else:
            lead = msgspec.structs.replace(self.identity.collector, url=f"https://{at}")
            carrier = HttpsCarrier(dataclasses.replace(self.identity, collector=lead), **more)
        self._open.push_async_callback(carrier.close)
        return carrier

    def questions(self, carrier: Carrier | None = None) -> Questions:
        return Questions(carrier or self.carrier(), self.identity, self.now_ms)

    def batch(self, number: int) -> Sealed:
        """The next batch, with a reading of its own."""
        return self.sender.seal([a_reading(float(number), at_ms=self.now_ms() - 60_000 + number)])

    def through(self, proxy: str) -> Carrier:
        return self.carrier(proxy=Proxy(proxy))

    async def stored(self) -> dict[str, int]:
        """How many envelopes and readings the collector has."""
        async with await Store.open(self.collector.home.database) as store, store.read() as connection:
            tables = {"envelopes": schema.envelope, "readings": schema.reading}
            return {
                name: int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
                for name, table in tables.items()
            }

    async def stop_collector(self) -> None:
        await self._running.aclose()

    async def start_collector(self, clock: Clock) -> None:
        """Another one with the same folder, at the other end of the same network."""
        self.collector = await self._running.enter_async_context(running(self.collector.home, clock))
        if self.broker is None:
            self.network.to = ("127.0.0.1", self.collector.at.port)

    async def is_open(self) -> None:
        """Return when questions are answered: a collector listens to a broker soon after it has started."""
        await answered(self.questions())


async def answered(questions: Questions) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await questions.ask_time()
            except CollectorUnreachable:
                await asyncio.sleep(0.02)
            else:
                return


@contextlib.asynccontextmanager
async def a_way(name: str, folder: Path, clock: Clock, **changed: str) -> AsyncIterator[Way]:
    """`changed` replaces settings of the broker's file."""
    async with contextlib.AsyncExitStack() as opened:
        home = await new_home(folder / "collector")
        broker = None
        if name == "mqtt":
            broker = await opened.enter_async_context(
                shipped_broker(home, folder / "broker", changed=changed)
            )
            settings = home.folder / "collector.yaml"
            settings.write_text(f'{settings.read_text()}\nmqtt: {{broker: "{broker.url}"}}\n')
        serving = await opened.enter_async_context(contextlib.AsyncExitStack())
        collector = await serving.enter_async_context(running(home, clock))
        port = collector.at.port if broker is None else broker.port
        network = await opened.enter_async_context(Relay(("127.0.0.1", port)).serve())
        token = await collector.enrollment_token()
        identity = await asyncio.to_thread(enroll, token, state_dir=folder / "state")
        key = home.keyring().current(STANDARD).public_bytes()
        sender = Sender(identity.gateway_id, key, identity.signing_key)
        way = Way(name, folder, collector, broker, network, identity, sender, clock.now_ms, _running=serving)
        async with way._open:
            await way.is_open()
            yield way
