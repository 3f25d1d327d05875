"""Takes what gateways send: who may, how much at once, and what becomes of it."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cryptography.x509 import load_der_x509_certificate
from sqlalchemy import select

from collector.identity.enrolment import real_now_ms
from collector.identity.gateways import (
    ACTIVE,
    KnownKey,
    add_key,
    certificate_of,
    keys_of,
    note_change,
    note_used,
)
from collector.identity.keyring import Keyring
from collector.identity.peer import BrokerPeer, Peer
from collector.intake.batch import Forwarder, OpenedBatch, open_batch, store_batch
from collector.intake.forwarded import Announced, check_announcement, note_heard, store_announcement
from collector.intake.inventory import Inventory
from collector.intake.keys import ContentKeys, store_package
from collector.intake.refusals import IntakeBusy, RefusalCounter, Refused
from collector.intake.writer import GroupWriter
from collector.store.engine import Store
from collector.store.schema import gateway
from models.announcement import open_announcement
from models.envelope import (
    ContentKey,
    EnvelopeRefused,
    Origin,
    Suite,
    forwarded_by,
    is_signed_by,
    read_header,
    suite_named,
    verify,
)
from models.protocol import Code, Receipt, collector_key_name
from models.signing import key_code
from models.times import Clock

T = TypeVar("T")

MAX_WAITING_BATCHES = 64
MAX_WAITING_BYTES = 32 << 20  # of envelopes; a batch of the usual size has 15 kB
RETRY_AFTER_S = 5
KEYS_AGAIN_S = 1.0  # a flood of forged envelopes must not become one of questions to the database
OPENERS = 2  # threads that open envelopes; each may hold one unpacked batch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Gateway:
    """What of a gateway is remembered. Whether it is revoked is asked in each transaction."""

    id: str
    suite: Suite
    keys: tuple[KnownKey, ...]  # the newest first; all that it ever had
    sm2_key: bytes | None  # which signs in suite gm
    site_id: int
    owner_id: int | None  # site of the collector that forwards for it
    authority: bytes | None  # of a collector: the CA that has certified its gateways

    @property
    def is_collector(self) -> bool:
        return self.authority is not None

    @property
    def origins(self) -> list[Origin]:
        """By whom what it sends may be sealed: itself, with one of its keys."""
        if self.sm2_key is not None:
            return [Origin(self.id, self.suite, self.sm2_key)]
        return [Origin(self.id, self.suite, key.public_key) for key in self.keys]

    @property
    def ends_ms(self) -> int:
        """When the last of its certificates ends, in real time."""
        return max(key.ends_ms for key in self.keys)

    def key(self, public_key: bytes) -> KnownKey | None:
        return next((key for key in self.keys if key.public_key == public_key), None)


class Intake:
    """The door of the collector. Use it as `async with`; what has been taken in is then finished first."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        clock: Clock,
        *,
        real_now_ms: Callable[[], int] = real_now_ms,
    ) -> None:
        """`real_now_ms` is what certificates end by, whatever `clock` shows."""
        self._store = store
        self._clock, self._real_now_ms, self._keyring = clock, real_now_ms, keyring
        self._keys = ContentKeys(store, keyring)
        self._inventory = Inventory()
        self._writer = GroupWriter(store, on_rollback=self._inventory.forget)
        self._gateways: dict[str, _Gateway] = {}
        self._keys_read_s: dict[str, float] = {}
        self._places = self._bytes = 0
        self._refusals = RefusalCounter(self._write, clock)
        self._is_stuck = False

    async def __aenter__(self) -> "Intake":
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="intake open")
        await self._writer.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._refusals.close()
        await self._writer.__aexit__()
        await asyncio.to_thread(self._openers.shutdown)

    @contextlib.contextmanager
    def place_for(self, size: int) -> Iterator[None]:
        """Keep a place for a body of `size` bytes, from before it is read. Raise IntakeBusy."""
        if self._places >= MAX_WAITING_BATCHES or self._bytes + size > MAX_WAITING_BYTES:
            raise IntakeBusy(RETRY_AFTER_S)
        self._places += 1
        self._bytes += size
        try:
            yield
        finally:
            self._places -= 1
            self._bytes -= size

    async def check_peer(self, peer: Peer | BrokerPeer | None) -> str:
        """The id of the gateway at the other end. Raise Refused."""
        if peer is None:
            raise await self._refused(
                "", Code.NO_CERTIFICATE, "the connection shows no gateway's certificate"
            )
        if isinstance(peer, BrokerPeer):
            return await self._check_certified(peer.gateway_id)
        if not peer.begins_ms <= self._real_now_ms() <= peer.ends_ms:
            raise await self._refused(
                peer.gateway_id, Code.CERTIFICATE_ENDED, "the certificate is not in its time"
            )
        found = await self._gateway(peer.gateway_id, peer.public_key)
        key = found.key(peer.public_key)
        if key is None:
            await self._recognise(peer)
        else:
            await self._note_used(found, key)
        return found.id

    async def check_active(self, gateway_id: str) -> None:
        """For questions that open no transaction of their own. Raise Refused for who is revoked."""
        try:
            await self._active(gateway_id)
        except Refused as err:
            raise await self._refused(gateway_id, err.code, err.detail) from err

    async def accept(
        self,
        body: bytes,
        peer_gateway_id: str,
        *,
        gateway_clock_ms: int | None = None,
        after: int | None = None,
    ) -> Receipt:
        """Store a batch once; the receipt comes after the commit. Raise Refused; then nothing is stored.

        `gateway_clock_ms` is what the sender's clock shows now, if it says so; `after` is as in `Forwarder`,
        of a collector that forwards.
        """
        skew_ms = None if gateway_clock_ms is None else gateway_clock_ms - self._clock.now_ms()
        sender = await self._gateway(peer_gateway_id)
        try:
            origin, by = sender, None
            if sender.is_collector:
                origin = await self._spoken_for(sender, read_header(body).gateway_id)
                by = Forwarder(sender.id, after)
            batch = await self._by_signer(body, origin, partial(self._open_batch, body, origin))
            receipt = await self._write(
                lambda connection: store_batch(
                    connection, self._inventory, batch, self._clock.now_ms(), skew_ms=skew_ms, by=by
                ),
                batch.header.count,
            )
        except (EnvelopeRefused, Refused) as err:
            raise await self._refused(sender.id, err.code, err.detail) from err
        wanted = collector_key_name(self._keyring.current(sender.suite).public_bytes())
        return receipt.model_copy(update={"collector_key": wanted})

    async def accept_key(self, package: bytes, key_id: bytes, peer_gateway_id: str) -> None:
        """Keep a key package. The same again changes nothing. Raise Refused."""
        sender = await self._gateway(peer_gateway_id)
        try:
            gateway_id, by = sender.id, None
            if sender.is_collector:
                by, gateway_id = forwarded_by(package)
                if by != sender.id:
                    raise Refused(Code.FOREIGN_GATEWAY, f"made by {by!r}, sent by {sender.id!r}")
            key = await self._open_package(package, await self._spoken_for(sender, gateway_id))
            if key.key_id != key_id:
                raise Refused(Code.MALFORMED, f"the package is of key {key.key_id.hex()}, not {key_id.hex()}")
            await self._write(
                lambda connection: store_package(
                    connection,
                    gateway_id=gateway_id,
                    key_id=key_id,
                    package=package,
                    now_ms=self._clock.now_ms(),
                    by=by,
                )
            )
        except (EnvelopeRefused, Refused) as err:
            raise await self._refused(sender.id, err.code, err.detail) from err
        if by is None:  # another package of a forwarded key does not take the place of the first
            self._keys.remember(sender.id, key)

    async def accept_announcement(self, body: bytes, gateway_id: str, peer_gateway_id: str) -> None:
        """Learn which gateway a collector is going to forward for. Raise Refused."""
        sender = await self._gateway(peer_gateway_id)
        try:
            if sender.authority is None:
                raise Refused(Code.FOREIGN_GATEWAY, "only a collector announces gateways")
            authority = sender.authority

            async def opened(origin: Origin) -> Announced:
                said = open_announcement(body, collector=origin)
                announced: Announced = await self._in_thread(
                    partial(check_announcement, said, authority=authority)
                )
                return announced

            announced = await self._by_signer(body, sender, opened)
            if announced.said.gateway_id != gateway_id:
                raise Refused(Code.MALFORMED, f"the announcement is of {announced.said.gateway_id!r}")
            await self._write(
                lambda connection: store_announcement(connection, announced, sender.id, self._clock.now_ms())
            )
        except (EnvelopeRefused, Refused) as err:
            raise await self._refused(sender.id, err.code, err.detail) from err
        self._gateways.pop(gateway_id, None)

    async def note_heard(self, gateway_id: str) -> None:
        """A collector that has nothing to forward shows so that it lives."""
        if (await self._gateway(gateway_id)).is_collector:
            with contextlib.suppress(IntakeBusy):
                now_ms = self._clock.now_ms()
                await self._write(lambda connection: note_heard(connection, gateway_id, now_ms, None))

    async def note_refusal(self, gateway_id: str, code: str, detail: str) -> None:
        """Keep on record that something was refused."""
        await self._refusals.note(gateway_id, code, detail)

    async def count_refusals(self) -> None:
        """Bring the record up to date; it may be a second behind."""
        await self._refusals.flush()

    async def _write(self, job: Callable[[sqlite3.Connection], T], items: int = 1) -> T:
        """Raise IntakeBusy when the disk takes nothing: the sender keeps what it has, and comes again."""
        try:
            result = await self._writer.submit(job, items)
        except sqlite3.OperationalError as err:
            if not self._is_stuck:
                _log.error("nothing can be stored: %s", err)
            self._is_stuck = True
            raise IntakeBusy(RETRY_AFTER_S) from err
        if self._is_stuck:
            _log.info("batches are stored again")
        self._is_stuck = False
        return result

    async def _refused(self, gateway_id: str, code: str, detail: str) -> Refused:
        await self.note_refusal(gateway_id, code, detail)
        return Refused(code, detail)

    async def _active(self, gateway_id: str) -> None:
        query = select(gateway.c.state).where(gateway.c.id == gateway_id)
        async with self._store.read() as connection:
            state = (await connection.execute(query)).scalar_one_or_none()
        if state != ACTIVE:
            raise Refused(Code.REVOKED, f"the gateway {gateway_id} has been revoked")

    async def _gateway(self, gateway_id: str, public_key: bytes | None = None) -> _Gateway:
        """What is known of it. Its keys are read again when `public_key` is not among those that were."""
        known = await self._known(gateway_id, public_key)
        if known is None:
            raise await self._refused(
                gateway_id, Code.REVOKED, f"this collector does not know the gateway {gateway_id}"
            )
        return known

    async def _known(self, gateway_id: str, public_key: bytes | None = None) -> _Gateway | None:
        known = self._gateways.get(gateway_id)
        if known is not None and (public_key is None or known.key(public_key) is not None):
            return known
        columns = gateway.c
        query = select(
            columns.suite, columns.sm2_key, columns.site_id, columns.owner_site_id, columns.authority
        ).where(columns.id == gateway_id)
        async with self._store.read() as connection:
            keys = await keys_of(connection, gateway_id)
            row = (await connection.execute(query)).one_or_none()
        if row is None or not keys:
            return None
        suite, sm2_key, *rest = row
        known = _Gateway(gateway_id, suite_named(suite), tuple(keys), sm2_key, *rest)
        self._gateways[gateway_id] = known
        return known

    async def _spoken_for(self, sender: _Gateway, gateway_id: str) -> _Gateway:
        """The gateway in whose name `sender` may send: itself, or one that it has announced. Raise Refused.

        Whether either is revoked is asked in the transaction.
        """
        if not sender.is_collector:
            return sender
        found = await self._known(gateway_id)
        if found is None:
            await self._active(sender.id)
            raise Refused(Code.UNKNOWN_GATEWAY, f"the gateway {gateway_id} was not announced")
        if found.owner_id != sender.site_id:
            raise Refused(Code.FOREIGN_GATEWAY, f"the gateway {gateway_id} belongs to somebody else")
        return found

    async def _check_certified(self, gateway_id: str) -> str:
        """A broker looks at a certificate when its owner connects, and not again. Raise Refused."""
        if (await self._gateway(gateway_id)).ends_ms < self._real_now_ms():
            self._gateways.pop(gateway_id, None)  # another process may have certified a newer one
            if (await self._gateway(gateway_id)).ends_ms < self._real_now_ms():
                detail = "all certificates that the gateway has had have ended"
                raise await self._refused(gateway_id, Code.CERTIFICATE_ENDED, detail)
        return gateway_id

    async def _note_used(self, sender: _Gateway, key: KnownKey) -> None:
        if key.is_used:
            return
        async with self._store.write() as connection:
            await note_used(connection, sender.id, key.public_key, self._real_now_ms())
        self._gateways.pop(sender.id, None)

    async def _recognise(self, peer: Peer) -> None:
        """Its certificate is ours and its key unknown: it was renewed before this database was restored."""
        try:
            await self._active(peer.gateway_id)
        except Refused as err:
            raise await self._refused(peer.gateway_id, err.code, err.detail) from err
        now_ms, certificate = self._real_now_ms(), load_der_x509_certificate(peer.certificate)
        async with self._store.write() as connection:
            if await certificate_of(connection, peer.gateway_id, peer.public_key) is None:
                await add_key(connection, peer.gateway_id, peer.public_key, certificate, now_ms)
                await note_change(
                    connection,
                    gateway_id=peer.gateway_id,
                    change="recognised",
                    by="collector",
                    now_ms=now_ms,
                    detail=key_code(peer.public_key),
                )
            await note_used(connection, peer.gateway_id, peer.public_key, now_ms)
        self._gateways.pop(peer.gateway_id, None)

    async def _by_signer(self, sent: bytes, sender: _Gateway, work: Callable[[Origin], Awaitable[T]]) -> T:
        """Do it with the gateway's newest key, or the earlier one that has signed: it may have waited."""
        signer = sender.origins[0]
        try:
            done = await work(signer)
        except EnvelopeRefused as err:
            other = await self._other_signer(sent, signer) if err.code == Code.BAD_SIGNATURE else None
            if other is None:
                raise
            signer, done = other, await work(other)
        if (key := sender.key(signer.public_key)) is not None:
            await self._note_used(sender, key)  # by a broker nobody sees which certificate was shown
        return done

    async def _other_signer(self, sent: bytes, tried: Origin) -> Origin | None:
        gateway_id = tried.gateway_id
        now_s = time.monotonic()
        if now_s - self._keys_read_s.get(gateway_id, -KEYS_AGAIN_S) >= KEYS_AGAIN_S:
            self._keys_read_s[gateway_id] = now_s
            self._gateways.pop(gateway_id, None)  # another process may have certified a newer one
        others = [origin for origin in (await self._gateway(gateway_id)).origins if origin != tried]
        if not others:
            return None
        found: Origin | None = await self._in_thread(
            lambda: next((origin for origin in others if is_signed_by(sent, origin)), None)
        )
        return found

    async def _open_batch(self, body: bytes, sender: _Gateway, origin: Origin) -> OpenedBatch:
        key = await self._content_key(body, sender, origin)
        batch: OpenedBatch = await self._in_thread(
            partial(open_batch, body, origin=origin, content_key=key, now_ms=self._clock.now_ms())
        )
        return batch

    async def _content_key(self, body: bytes, sender: _Gateway, origin: Origin) -> ContentKey:
        key_id = read_header(body).key_id
        key = self._keys.remembered(sender.id, key_id)
        if key is not None:
            return key
        # A changed header must not make the gateway send its key again: look at the signature first.
        await self._in_thread(partial(verify, body, origin=origin))
        package = await self._keys.package(sender.id, key_id)
        if package is None:
            await self._active(sender.id)  # or one that was revoked would be asked for its key
            raise Refused(Code.UNKNOWN_KEY, f"no package of the key {key_id.hex()} has come")
        key = await self._open_package(package, sender)
        self._keys.remember(sender.id, key)
        return key

    async def _open_package(self, package: bytes, sender: _Gateway) -> ContentKey:
        if sender.owner_id is not None:
            return await self._open_forwarded(package, sender)

        async def opened(origin: Origin) -> ContentKey:
            key: ContentKey = await self._in_thread(partial(self._keys.open, package, origin=origin))
            return key

        return await self._by_signer(package, sender, opened)

    async def _open_forwarded(self, package: bytes, origin: _Gateway) -> ContentKey:
        """As the collector that spoke for it then has sent it, which another may have followed since."""
        collector_id, gateway_id = forwarded_by(package)
        collector = await self._known(collector_id)
        if collector is None or (collector.site_id, gateway_id) != (origin.owner_id, origin.id):
            raise Refused(Code.FOREIGN_GATEWAY, f"{collector_id} does not speak for {origin.id}")

        async def opened(signer: Origin) -> ContentKey:
            key: ContentKey = await self._in_thread(
                partial(self._keys.open_forwarded, package, collector=signer, suite=origin.suite)
            )
            return key

        return await self._by_signer(package, collector, opened)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._openers, work)
