"""The content keys of gateways: their packages in the database, opened ones in memory."""

import sqlite3
from collections import OrderedDict

from sqlalchemy import select

from collector.identity.keyring import Keyring
from collector.intake.batch import active_site
from collector.intake.forwarded import may_speak
from collector.intake.refusals import Refused
from collector.store.engine import Store
from collector.store.schema import content_key
from models.envelope import ContentKey, Origin, Suite, open_forwarded, open_package
from models.protocol import Code

REMEMBERED = 4096  # keys; a gateway has a new one at each start, and envelopes under older ones still waiting


class ContentKeys:
    """Opens a package once and remembers the key while it is used."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._keys: OrderedDict[tuple[str, bytes], ContentKey] = OrderedDict()

    def open(self, package: bytes, *, origin: Origin) -> ContentKey:
        """Raise EnvelopeRefused."""
        return open_package(package, origin=origin, private_keys=self._keyring.all())

    def open_forwarded(self, package: bytes, *, collector: Origin, suite: Suite) -> ContentKey:
        """Raise EnvelopeRefused."""
        return open_forwarded(package, collector=collector, suite=suite, private_keys=self._keyring.all())

    def remembered(self, gateway_id: str, key_id: bytes) -> ContentKey | None:
        key = self._keys.get((gateway_id, key_id))
        if key is not None:
            self._keys.move_to_end((gateway_id, key_id))
        return key

    def remember(self, gateway_id: str, key: ContentKey) -> None:
        self._keys[gateway_id, key.key_id] = key
        if len(self._keys) > REMEMBERED:
            self._keys.popitem(last=False)

    async def package(self, gateway_id: str, key_id: bytes) -> bytes | None:
        query = select(content_key.c.package).where(
            content_key.c.gateway_id == gateway_id, content_key.c.key_id == key_id
        )
        async with self._store.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()


def store_package(
    connection: sqlite3.Connection,
    *,
    gateway_id: str,
    key_id: bytes,
    package: bytes,
    now_ms: int,
    by: str | None = None,
) -> None:
    """Keep a package that has been opened. The same again changes nothing. Raise Refused.

    `by` is the collector that has forwarded it. It seals a key anew whenever it is asked for it, so the first
    package stays.
    """
    site_id = active_site(connection, gateway_id) if by is None else may_speak(connection, gateway_id, by)
    key = (site_id, gateway_id, key_id)
    row = connection.execute(
        "SELECT package FROM content_key WHERE site_id = ? AND gateway_id = ? AND key_id = ?", key
    ).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO content_key (site_id, gateway_id, key_id, package, received_ms) "
            "VALUES (?, ?, ?, ?, ?)",
            (*key, package, now_ms),
        )
    elif row[0] != package and by is None:
        # Envelopes that are stored were sealed with the key of the first package: it must stay readable.
        raise Refused(Code.MALFORMED, f"the key {key_id.hex()} is here already, in another package")
