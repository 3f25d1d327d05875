"""Takes what gateways send: who may, how much at once, and what becomes of it."""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import select

from collector.identity.peer import Peer
from collector.intake import refusals
from collector.intake.batch import OpenedBatch, open_batch, store_batch
from collector.intake.inventory import Inventory
from collector.intake.keys import ContentKeys, store_package
from collector.intake.refusals import IntakeBusy, Refused
from collector.intake.writer import GroupWriter
from collector.store.engine import Store
from collector.store.schema import gateway
from models.envelope import (
    STANDARD,
    CollectorPrivateKey,
    ContentKey,
    EnvelopeRefused,
    Origin,
    read_header,
    verify,
)
from models.protocol import Code, Receipt
from models.times import Clock

T = TypeVar("T")

MAX_WAITING_BATCHES = 64
MAX_WAITING_BYTES = 32 << 20  # of envelopes; a batch of the usual size has 15 kB
RETRY_AFTER_S = 5
OPENERS = 2  # threads that open envelopes; each may hold one unpacked batch

_log = logging.getLogger(__name__)


class Intake:
    """The door of the collector. Use it as `async with`; what has been taken in is then finished first."""

    def __init__(self, store: Store, private_keys: Sequence[CollectorPrivateKey], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._keys = ContentKeys(store, private_keys)
        self._inventory = Inventory()
        self._writer = GroupWriter(store, on_rollback=self._inventory.forget)
        self._origins: dict[str, Origin] = {}
        self._places = self._bytes = 0
        self._said: set[tuple[str, str]] = set()
        self._is_stuck = False

    async def __aenter__(self) -> "Intake":
        self._openers = ThreadPoolExecutor(OPENERS, thread_name_prefix="intake open")
        await self._writer.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
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

    async def check_peer(self, peer: Peer | None) -> str:
        """The id of the gateway at the other end. Raise Refused."""
        if peer is None:
            raise await self._refused(
                "", Code.NO_CERTIFICATE, "the connection shows no gateway's certificate"
            )
        found = await self._origin(peer.gateway_id)
        if found.public_key != peer.public_key:
            raise await self._refused(
                peer.gateway_id,
                Code.REVOKED,
                "the certificate is for another key than the gateway was enrolled with",
            )
        return found.gateway_id

    async def accept(
        self, body: bytes, peer_gateway_id: str, *, gateway_clock_ms: int | None = None
    ) -> Receipt:
        """Store a batch once; the receipt comes after the commit. Raise Refused; then nothing is stored.

        `gateway_clock_ms` is what the gateway's clock shows now, if it says so.
        """
        skew_ms = None if gateway_clock_ms is None else gateway_clock_ms - self._clock.now_ms()
        sender = await self._origin(peer_gateway_id)
        try:
            key = await self._content_key(body, sender)
            batch: OpenedBatch = await self._in_thread(
                partial(
                    open_batch,
                    body,
                    origin=sender,
                    content_key=key,
                    now_ms=self._clock.now_ms(),
                )
            )
            return await self._write(
                lambda connection: store_batch(
                    connection, self._inventory, batch, self._clock.now_ms(), skew_ms=skew_ms
                ),
                batch.header.count,
            )
        except (EnvelopeRefused, Refused) as err:
            raise await self._refused(sender.gateway_id, err.code, err.detail) from err

    async def accept_key(self, package: bytes, key_id: bytes, peer_gateway_id: str) -> None:
        """Keep a key package. The same again changes nothing. Raise Refused."""
        sender = await self._origin(peer_gateway_id)
        try:
            key = await self._open_package(package, sender)
            if key.key_id != key_id:
                raise Refused(Code.MALFORMED, f"the package is of key {key.key_id.hex()}, not {key_id.hex()}")
            await self._write(
                lambda connection: store_package(
                    connection,
                    gateway_id=sender.gateway_id,
                    key_id=key_id,
                    package=package,
                    now_ms=self._clock.now_ms(),
                )
            )
        except (EnvelopeRefused, Refused) as err:
            raise await self._refused(sender.gateway_id, err.code, err.detail) from err
        self._keys.remember(sender.gateway_id, key)

    async def note_refusal(self, gateway_id: str, code: str, detail: str) -> None:
        """Keep on record that something was refused."""
        if (gateway_id, code) not in self._said:  # how often is in the table
            self._said.add((gateway_id, code))
            _log.warning("refused %s: %s: %s", gateway_id or "an unknown sender", code, detail)
        now_ms = self._clock.now_ms()
        await self._write(lambda connection: refusals.record(connection, gateway_id, code, detail, now_ms))

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

    async def _origin(self, gateway_id: str) -> Origin:
        """What of a gateway never changes. Whether it is revoked is asked in each transaction."""
        known = self._origins.get(gateway_id)
        if known is None:
            query = select(gateway.c.public_key).where(gateway.c.id == gateway_id)
            async with self._store.read() as connection:
                public_key = (await connection.execute(query)).scalar_one_or_none()
            if public_key is None:
                raise await self._refused(
                    gateway_id, Code.REVOKED, f"this collector does not know the gateway {gateway_id}"
                )
            known = self._origins[gateway_id] = Origin(gateway_id, STANDARD, public_key)
        return known

    async def _content_key(self, body: bytes, sender: Origin) -> ContentKey:
        key_id = read_header(body).key_id
        key = self._keys.remembered(sender.gateway_id, key_id)
        if key is not None:
            return key
        # A changed header must not make the gateway send its key again: look at the signature first.
        await self._in_thread(partial(verify, body, origin=sender))
        package = await self._keys.package(sender.gateway_id, key_id)
        if package is None:
            raise Refused(Code.UNKNOWN_KEY, f"no package of the key {key_id.hex()} has come")
        key = await self._open_package(package, sender)
        self._keys.remember(sender.gateway_id, key)
        return key

    async def _open_package(self, package: bytes, sender: Origin) -> ContentKey:
        key: ContentKey = await self._in_thread(partial(self._keys.open, package, origin=sender))
        return key

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._openers, work)
