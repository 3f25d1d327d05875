"""Readings, events and envelopes for tests."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.contract import Batch, Cut, Outbox
from models.envelope import CollectorPrivateKey, ContentKey, seal
from models.reading import Event, Item, Reading
from tests.support.clocks import START_MS


def a_reading(value: float = 230.1, *, device: str = "meter-01", point: str = "voltage_v") -> Reading:
    return Reading(
        device_id=device, point=point, value=value, measured_ms=START_MS, received_ms=START_MS + 12
    )


def an_event(number: int = 0, *, kind: str = "door.opened") -> Event:
    return Event(
        device_id="door-01", kind=kind, data={"n": number}, measured_ms=START_MS, received_ms=START_MS + 3
    )


def readings(count: int, *, first: int = 0) -> list[Item]:
    """Readings that can be told apart by their values."""
    return [a_reading(float(first + i)) for i in range(count)]


class Sealer:
    """Seals cuts as the uplink does, with keys of its own."""

    gateway_id = "gw-test"

    def __init__(self) -> None:
        self.signing_key = Ed25519PrivateKey.generate()
        self.collector = CollectorPrivateKey.generate()
        self.content_key, self.package = ContentKey.fresh(
            gateway_id=self.gateway_id,
            collector_key=self.collector.public_bytes(),
            signing_key=self.signing_key,
        )

    def seal(self, cut: Cut) -> Batch:
        sealed = seal(
            cut.items,
            gateway_id=self.gateway_id,
            epoch=cut.epoch,
            number=cut.number,
            first_seq=cut.first_seq,
            previous=cut.previous,
            content_key=self.content_key,
            signing_key=self.signing_key,
            earlier=cut.earlier,
        )
        return Batch(
            number=cut.number,
            first_seq=cut.first_seq,
            count=len(cut.items),
            items=cut.present,
            key_id=self.content_key.key_id,
            body=sealed.body,
            digest=sealed.digest,
        )

    async def store_next(self, outbox: Outbox, limit: int = 5000, *, after: int = 0) -> Batch:
        """Cut, seal and store, as the uplink does; the key is made known first."""
        try:
            await outbox.key_package(self.content_key.key_id)
        except KeyError:
            await outbox.add_key(self.content_key.key_id, self.package)
        cut = await outbox.cut(limit, after=after)
        assert cut is not None
        batch = self.seal(cut)
        await outbox.store(batch)
        return batch


async def drain(outbox: Outbox, sealer: Sealer, limit: int = 5000) -> list[Item]:
    """Seal and deliver everything; the items in the order in which a collector would have them."""
    items: list[Item] = []
    while (cut := await outbox.cut(limit)) is not None:
        batch = await sealer.store_next(outbox, limit)
        await outbox.deliver(batch.number, quarantined=0, receipt="{}")
        items += [item for item in cut.items if item is not None]
    return items


def values(items: Sequence[Item | None]) -> list[float | None]:
    return [item.value for item in items if isinstance(item, Reading)]
