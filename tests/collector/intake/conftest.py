"""An intake that is open, and a gateway that may send to it."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import insert

from collector.identity.keyring import Keyring
from collector.intake.service import Intake
from collector.store import schema
from collector.store.engine import Store
from models.envelope import GM, STANDARD, CollectorPrivateKey, Suite
from tests.support.collector import NOW_MS, Sender, StandingClock, a_key, add_site

Enrol = Callable[..., Awaitable[Sender]]
Query = Callable[..., list[Any]]


@pytest.fixture
def private_key() -> CollectorPrivateKey:
    return CollectorPrivateKey.generate()


@pytest.fixture
def gm_key() -> CollectorPrivateKey:
    return CollectorPrivateKey.generate(GM)


@pytest.fixture
async def intake(
    store: Store,
    private_key: CollectorPrivateKey,
    gm_key: CollectorPrivateKey,
    standing: StandingClock,
) -> AsyncIterator[Intake]:
    await add_site(store)
    async with Intake(store, Keyring.of(private_key, gm_key), standing.clock) as opened:
        yield opened


@pytest.fixture
def enrol(store: Store, private_key: CollectorPrivateKey, gm_key: CollectorPrivateKey) -> Enrol:
    """Make a gateway that the collector knows; its content key has not been sent yet."""

    async def enrol(gateway_id: str, suite: Suite = STANDARD) -> Sender:
        collector_key = gm_key if suite is GM else private_key
        sender = Sender(gateway_id, collector_key.public_bytes(), suite=suite)
        async with store.write() as connection:
            await connection.execute(
                insert(schema.gateway).values(
                    id=gateway_id,
                    site_id=1,
                    name="Gateway",
                    state="active",
                    suite=suite.name,
                    sm2_key=sender.sm2_key.public_key().to_bytes() if suite is GM else None,
                    seal_key=b"",
                    enrolled_ms=NOW_MS,
                )
            )
            await connection.execute(insert(schema.gateway_key).values(a_key(gateway_id, sender.public_key)))
        return sender

    return enrol


@pytest.fixture
async def sender(intake: Intake, enrol: Enrol) -> Sender:
    """A gateway whose content key the collector has."""
    known = await enrol("gw-000000000001")
    await intake.accept_key(known.package, known.content_key.key_id, known.gateway_id)
    return known


@pytest.fixture
def rows(store: Store) -> Query:
    """What a query gives, read past the collector's own code."""

    def rows(query: str, *values: object) -> list[Any]:
        connection = sqlite3.connect(store.path)
        try:
            found = connection.execute(query, values).fetchall()
        finally:
            connection.close()
        return [row[0] if len(row) == 1 else row for row in found]

    return rows


@pytest.fixture
def dump(store: Store) -> Callable[[], str]:
    """Every row of every table, as text."""

    def dump() -> str:
        connection = sqlite3.connect(store.path)
        try:
            return "\n".join(connection.iterdump())
        finally:
            connection.close()

    return dump
