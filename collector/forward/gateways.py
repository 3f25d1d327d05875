"""What of our own gateways a higher collector is told: who they are, by which keys, and content keys."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
from sqlalchemy import Row, select

from collector.identity.keyring import Keyring
from collector.store.engine import Store
from collector.store.schema import content_key, gateway, gateway_key, site
from edge_agent.identity.folder import Identity
from models.announcement import MOST_KEYS, AnnouncedKey, Announcement, sign_announcement
from models.envelope import EnvelopeRefused, Origin, forward_package, suite_named


@dataclass(frozen=True, slots=True)
class Introduction:
    """A gateway as it is announced now."""

    digest: bytes
    body: bytes = field(repr=False)


class CannotShow(Exception):
    """The content key of a gateway cannot be passed on."""


class OurGateways:
    """As they are in the database of this collector, told under `identity`."""

    def __init__(self, store: Store, keyring: Keyring, identity: Identity) -> None:
        self._store, self._keyring, self._identity = store, keyring, identity

    async def introduce(self, gateway_id: str) -> Introduction:
        query = (
            select(gateway, site.c.code, site.c.name.label("site_name"), site.c.timezone)
            .join_from(gateway, site, site.c.id == gateway.c.site_id)
            .where(gateway.c.id == gateway_id)
        )
        async with self._store.read() as connection:
            row = (await connection.execute(query)).one()
            keys = await connection.execute(
                select(gateway_key).where(gateway_key.c.gateway_id == gateway_id).order_by("number")
            )
            announced = _vouched_for(keys.all())
        said = Announcement(
            collector_id=self._identity.gateway_id,
            gateway_id=gateway_id,
            name=row.name,
            site_code=row.code,
            site_name=row.site_name,
            timezone=row.timezone,
            suite=row.suite,
            sm2_key=row.sm2_key,
            keys=announced,
        )
        digest = hashlib.sha256(msgspec.msgpack.encode(said)).digest()
        return Introduction(digest, sign_announcement(said, self._identity.envelope_key))

    async def package(self, gateway_id: str, key_id: bytes) -> bytes:
        """The content key, sealed for the higher collector. Raise CannotShow."""
        async with self._store.read() as connection:
            query = select(content_key.c.package).where(
                content_key.c.gateway_id == gateway_id, content_key.c.key_id == key_id
            )
            package = (await connection.execute(query)).scalar_one_or_none()
            row = (await connection.execute(select(gateway).where(gateway.c.id == gateway_id))).one()
            keys = await connection.execute(
                select(gateway_key.c.public_key).where(gateway_key.c.gateway_id == gateway_id)
            )
            signers = [row.sm2_key] if row.sm2_key is not None else list(keys.scalars())
        if package is None:
            raise CannotShow(f"the package of the key {key_id.hex()} is not here")
        suite = suite_named(row.suite)
        origins = [Origin(gateway_id, suite, signer) for signer in signers]
        return await asyncio.to_thread(partial(self._seal_again, package, origins))

    def _seal_again(self, package: bytes, origins: Sequence[Origin]) -> bytes:
        identity, why = self._identity, ""
        for origin in origins:
            try:
                return forward_package(
                    package,
                    origin=origin,
                    private_keys=self._keyring.all(),
                    collector_id=identity.gateway_id,
                    suite=identity.suite,
                    higher_key=identity.collector.collector_key,
                    signing_key=identity.envelope_key,
                )
            except EnvelopeRefused as err:
                why = str(err)
        raise CannotShow(f"a content key cannot be opened ({why})")


def _vouched_for(rows: Sequence[Row[tuple[object, ...]]]) -> list[AnnouncedKey]:
    """All keys; but where one has nobody who vouches for it, since a database was restored, from it on."""
    keys: list[AnnouncedKey] = []
    for row in rows:
        if row.proof is None:
            keys.clear()
        keys.append(AnnouncedKey(row.certificate, row.old_key or b"", row.proof or b""))
    return keys[-MOST_KEYS:]
