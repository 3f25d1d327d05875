"""A county's collector below an area's, both real and serving, and gateways that send to the county."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import text

from collector.commands.sites import insert_site, suite_by_name
from collector.forward.place import Place
from collector.identity.home import Home
from collector.identity.tokens import COLLECTOR, issue_enrollment_secret
from collector.serve import Rounds
from collector.store.engine import Store
from edge_agent.identity.folder import Identity
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from models.envelope import Sealed
from models.protocol import EnrollmentToken
from models.reading import Item
from models.times import Clock
from tests.support.collector import Sender, a_reading, an_event
from tests.support.running import RunningCollector, new_home, real_now_ms, running

QUICK = Rounds(forward_s=0.02)
PATIENCE_S = 60

_ENVELOPES = """
SELECT site.code, gateway_id, hex(epoch.epoch), number, hex(envelope.digest), hex(body) FROM envelope
JOIN epoch ON epoch.site_id = envelope.site_id AND epoch.id = epoch_id JOIN site ON site.id = envelope.site_id
"""
_READINGS = """
SELECT site.code, device.gateway_id, device_id, point.name, measured_ms, value, quality, reason FROM reading
JOIN site ON site.id = reading.site_id
JOIN point ON point.site_id = reading.site_id AND point.id = point_id
JOIN device ON device.site_id = point.site_id AND device.id = point.device
"""
_EVENTS = """
SELECT site.code, gateway_id, device_id, kind, data, measured_ms, received_ms, seq FROM event
JOIN site ON site.id = event.site_id
"""


@dataclass
class Gateway:
    """One that sends to the county, by hand, whenever that serves; it keeps no connection."""

    sender: Sender
    county: RunningCollector
    certificate: Path
    sent: list[Sealed] = field(default_factory=list)
    readings: int = 0

    @property
    def id(self) -> str:
        return self.sender.gateway_id

    def seal(self) -> Sealed:
        """The next batch: some readings and an event."""
        at_ms = real_now_ms() - 3_600_000 + self.readings
        items: list[Item] = [a_reading(float(self.readings + n), at_ms=at_ms + n * 1000) for n in range(5)]
        self.readings += 7
        return self.sender.seal([*items, an_event(at_ms=at_ms)])

    async def send(self, batches: int = 1) -> None:
        """Batches, each acknowledged by the county."""
        for _ in range(batches):
            sealed = self.seal()
            await self.deliver(sealed.body)
            self.sent.append(sealed)

    async def deliver(self, body: bytes) -> None:
        """The county has it when this returns."""
        async with self.county.client(self.certificate) as client:
            key = f"/gateway/v1/keys/{self.sender.content_key.key_id.hex()}"
            assert (await client.put(key, content=self.sender.package)).status_code == 204
            answer = await client.post("/gateway/v1/batches", content=body)
            assert answer.status_code == 200, answer.text


@dataclass
class Tiers:
    """Both folders. What serves is in the hands of the test."""

    area: Home
    county: Home
    clock: Clock

    async def belong(self, area: RunningCollector, *, site: str = "cx", again: bool = False) -> Identity:
        """Enrol the county at the area, under the site that is the county there."""
        token = await county_token(area, site=site)
        place = Place(self.county)
        return await asyncio.to_thread(lambda: place.enroll(token, again=again, proxy=None))

    def settle(self, **upstream: Any) -> None:
        """Let collector.yaml of the county say this of `upstream`; without anything there is none."""
        path = self.county.folder / "collector.yaml"
        settings = yaml.safe_load(path.read_text())
        settings.pop("upstream", None)
        path.write_text(yaml.safe_dump({**settings, **({"upstream": upstream} if upstream else {})}))

    def serving_area(self) -> contextlib.AbstractAsyncContextManager[RunningCollector]:
        return running(self.area, self.clock)

    def serving_county(self) -> contextlib.AbstractAsyncContextManager[RunningCollector]:
        return running(self.county, self.clock, rounds=QUICK)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[RunningCollector]:
        """Both; the county is what it gives."""
        async with self.serving_area(), self.serving_county() as county:
            yield county

    async def until_all_is_there(self, *gateways: Gateway) -> None:
        """Until the area holds every envelope that these gateways have sent."""
        wanted = {sealed.digest.hex().upper() for gateway in gateways for sealed in gateway.sent}

        async def is_so() -> bool:
            return wanted <= {row[4] for row in await rows(self.area, _ENVELOPES)}

        await until(is_so)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await is_so():  # noqa: ASYNC110  # what another process does rings no bell
            await asyncio.sleep(0.02)


async def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    async with await Store.open(home.database) as store, store.read() as connection:
        return sorted(tuple(row) for row in await connection.execute(text(query)))


async def books(home: Home, *gateways: Gateway, prefix: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """Every envelope, reading and event of these gateways; sites as the county calls them."""
    ids = {gateway.id for gateway in gateways}
    found = {}
    for name, query in {"envelopes": _ENVELOPES, "readings": _READINGS, "events": _EVENTS}.items():
        found[name] = [
            (row[0].removeprefix(prefix), *row[1:]) for row in await rows(home, query) if row[1] in ids
        ]
    return found


async def senders(home: Home) -> set[str]:
    """Of whom anything at all is stored."""
    return {row[1] for row in await rows(home, _ENVELOPES)}


async def county_token(area: RunningCollector, *, site: str = "cx") -> EnrollmentToken:
    async with await Store.open(area.home.database) as store:
        secret = await issue_enrollment_secret(
            store, site_code=site, gateway_name="county", hours=1, now_ms=real_now_ms(), kind=COLLECTOR
        )
    ca = area.home.authority().certificate_der()
    return EnrollmentToken(url=area.url, ca_certificate_der=ca, secret=secret)


async def add_sites(home: Home, *codes: str, suite: str = "standard") -> None:
    async with await Store.open(home.database) as store:
        home.ensure_envelope_key(suite_by_name(suite))
        for code in codes:
            await insert_site(store, code, f"Site {code}", timezone=None, suite=suite_by_name(suite))


async def gateways_at(county: RunningCollector, folder: Path, *sites: str) -> list[Gateway]:
    """One gateway at each of these sites of the county."""
    enrolled = [await county.enrol(folder, site=site) for site in sites]
    return [Gateway(sender, county, certificate) for sender, certificate in enrolled]


@contextlib.asynccontextmanager
async def as_the_county(identity: Identity) -> AsyncIterator[Questions]:
    """Whatever somebody asks the area who has got hold of the county's key."""
    carrier = HttpsCarrier(identity)
    try:
        yield Questions(carrier, identity, real_now_ms)
    finally:
        await carrier.close()


async def new_tiers(folder: Path) -> Tiers:
    """An area with the site `cx`, which stands for the county, and a county with hall, annex and library.

    Both keep their ports, whatever becomes of them.
    """
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    area_port, county_port = (probe.getsockname()[1] for probe in probes)
    for probe in probes:
        probe.close()
    area = await new_home(folder / "area", site="cx", port=area_port)
    county = await new_home(folder / "county", site="hall", port=county_port)
    await add_sites(county, "annex", "library")
    return Tiers(area, county, Clock(real_now_ms, time.monotonic, asyncio.sleep))
