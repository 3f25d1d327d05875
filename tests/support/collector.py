"""A collector's database for tests, a clock that stands still, and gateways that seal for it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import insert

from collector.store import schema
from collector.store.engine import Store
from collector.store.upgrade import upgrade
from models.envelope import FIRST_PREVIOUS, GM, STANDARD, ContentKey, Header, Sealed, Suite, seal
from models.reading import Event, Item, Quality, Reading, Reason
from models.sm2 import Sm2PrivateKey
from models.times import Clock

NOW_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z


@dataclass
class StandingClock:
    """A clock that moves when it is told to."""

    now_ms: int = NOW_MS

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_ms, lambda: self.now_ms / 1000, self._sleep)

    async def _sleep(self, _seconds: float) -> None:
        await asyncio.Event().wait()  # until its task is cancelled


@contextlib.asynccontextmanager
async def open_store(folder: Path) -> AsyncIterator[Store]:
    """A store with all tables and nothing in them."""
    path = folder / "collector.db"
    await asyncio.to_thread(upgrade, path)
    async with await Store.open(path) as store:
        yield store


async def add_site(store: Store, code: str = "a1", name: str = "Town hall") -> int:
    async with store.write() as connection:
        result = await connection.execute(insert(schema.site).values(code=code, name=name))
        [site_id] = result.inserted_primary_key or (0,)
    return int(site_id)


def a_key(gateway_id: str, public_key: bytes) -> dict[str, object]:
    """The row of a gateway's first key, which has been in use."""
    return {
        "gateway_id": gateway_id,
        "number": 1,
        "public_key": public_key,
        "certificate": b"",
        "issued_ms": NOW_MS,
        "ends_ms": NOW_MS,
        "used_ms": NOW_MS,
    }


def a_reading(
    value: float | None = 230.1,
    *,
    device: str = "meter-01",
    point: str = "voltage_v",
    at_ms: int = NOW_MS - 60_000,
    quality: Quality = Quality.GOOD,
    reason: Reason = Reason.NONE,
) -> Reading:
    return Reading(
        device_id=device,
        point=point,
        value=value,
        quality=quality,
        reason=reason,
        measured_ms=at_ms,
        received_ms=at_ms + 12,
    )


def an_event(kind: str = "door.opened", *, at_ms: int = NOW_MS - 60_000, **data: object) -> Event:
    return Event(device_id="door-01", kind=kind, data=data, measured_ms=at_ms, received_ms=at_ms + 3)


@dataclass
class Sender:
    """Seals batches as a gateway does: one epoch, a chain, a content key of its own."""

    gateway_id: str
    collector_key: bytes = field(repr=False)
    signing_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    suite: Suite = STANDARD
    sm2_key: Sm2PrivateKey = field(default_factory=Sm2PrivateKey.generate, repr=False)
    epoch: bytes = field(default_factory=lambda: os.urandom(16))
    number: int = 0
    next_seq: int = 1
    previous: bytes = FIRST_PREVIOUS

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new start of the gateway: a new content key."""
        self.content_key, self.package = ContentKey.fresh(
            gateway_id=self.gateway_id,
            collector_key=self.collector_key,
            signing_key=self.envelope_key,
            suite=self.suite,
        )

    def begin_epoch(self) -> None:
        """The store of the gateway was made anew."""
        self.epoch, self.number, self.next_seq, self.previous = os.urandom(16), 0, 1, FIRST_PREVIOUS

    @property
    def envelope_key(self) -> Ed25519PrivateKey | Sm2PrivateKey:
        """What signs envelopes."""
        return self.sm2_key if self.suite is GM else self.signing_key

    @property
    def public_key(self) -> bytes:
        return self.signing_key.public_key().public_bytes_raw()

    def seal(self, items: Sequence[Item | None], *, earlier: bool = False) -> Sealed:
        """The next batch of the epoch."""
        self.number += 1
        sealed = seal(
            items,
            gateway_id=self.gateway_id,
            epoch=self.epoch,
            number=self.number,
            first_seq=self.next_seq,
            previous=self.previous,
            content_key=self.content_key,
            signing_key=self.envelope_key,
            earlier=earlier,
        )
        self.next_seq += len(items)
        self.previous = sealed.digest
        return sealed

    def seal_raw(self, content: bytes, *, count: int = 1) -> bytes:
        """An envelope of the next number that is right in everything but what is in it."""
        header = Header(
            suite=self.content_key.suite.number,
            gateway_id=self.gateway_id,
            epoch=self.epoch,
            number=self.number + 1,
            first_seq=self.next_seq,
            count=count,
            key_id=self.content_key.key_id,
            nonce=1 << 40,
            previous=self.previous,
        )
        encoded = msgspec.msgpack.encode(header)
        clear = b"GHE1" + len(encoded).to_bytes(2, "big") + encoded
        sealed = clear + self.content_key.aead.encrypt(header.nonce.to_bytes(12, "big"), content, clear)
        return sealed + self.envelope_key.sign(sealed)

    def csr_pem(self, key: Ed25519PrivateKey | None = None) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "new gateway")])
        request = x509.CertificateSigningRequestBuilder().subject_name(name)
        return request.sign(key or self.signing_key, None).public_bytes(Encoding.PEM).decode()
