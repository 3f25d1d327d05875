"""How fast the collector takes in sealed batches, beside bare sqlite3 inserting the same rows."""

import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from collector.identity.keyring import Keyring
from collector.intake.service import Intake
from collector.store import schema
from collector.store.engine import Store
from collector.store.upgrade import upgrade
from models.envelope import (
    FIRST_PREVIOUS,
    CollectorPrivateKey,
    ContentKey,
    Header,
    envelope_digest,
    read_header,
    seal,
)
from models.reading import Item, Reading
from models.times import Clock

ROUNDS = 5
BATCHES = 40
METERS, POINTS, SWEEPS = 20, 30, 5  # a batch: five sweeps over a building of 600 points, 3000 readings
GATEWAY = "gw-000000000001"
START_MS = 1_772_380_800_000


@dataclass(frozen=True, slots=True)
class Result:
    """Readings per second, the median of the rounds; each round ran both, one after the other."""

    intake_per_s: float
    bare_per_s: float
    ratio: float  # median of the rounds' own ratios
    bytes_per_reading: float


def sweeps(first: int, count: int, seed: int = 1) -> list[Item]:
    """What an agent reads of 20 meters with 30 points: voltages, currents, powers, counters."""
    chance = random.Random(seed * 100_003 + first)
    items: list[Item] = []
    for sweep in range(first, first + count):
        for meter in range(METERS):
            at = START_MS + sweep * 60_000 + meter * 40 + chance.randrange(8)
            for point in range(POINTS):
                if point < 12:
                    value = round(chance.gauss(230, 1.2), 1)
                elif point < 24:
                    value = round(abs(chance.gauss(12, 3)), 3)
                else:
                    value = round(10_000 * (point + meter) + sweep * 0.31 + chance.random() / 4, 2)
                items.append(
                    Reading(
                        device_id=f"meter-{meter:02}",
                        point=f"point_{point:02}",
                        value=value,
                        measured_ms=at,
                        received_ms=at + 4,
                    )
                )
    return items


def measure() -> Result:
    """Runs some ten seconds."""
    key = CollectorPrivateKey.generate()
    signing_key = Ed25519PrivateKey.generate()
    bodies, package = _sealed(key, signing_key)
    rows = [_rows(items) for items in _batches()]
    intake, bare = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
            intake.append(asyncio.run(_take_in(Path(folder), key, signing_key, package, bodies)))
            bare.append(_insert_bare(Path(folder), rows))
    readings = BATCHES * METERS * POINTS * SWEEPS
    return Result(
        intake_per_s=readings / statistics.median(intake),
        bare_per_s=readings / statistics.median(bare),
        ratio=statistics.median(b / i for i, b in zip(intake, bare, strict=True)),
        bytes_per_reading=sum(map(len, bodies)) / readings,
    )


def _batches() -> list[list[Item]]:
    return [sweeps(number * SWEEPS, SWEEPS) for number in range(BATCHES)]


def _sealed(key: CollectorPrivateKey, signing_key: Ed25519PrivateKey) -> tuple[list[bytes], bytes]:
    content_key, package = ContentKey.fresh(
        gateway_id=GATEWAY, collector_key=key.public_bytes(), signing_key=signing_key
    )
    bodies: list[bytes] = []
    previous, first_seq, epoch = FIRST_PREVIOUS, 1, os.urandom(16)
    for number, items in enumerate(_batches(), 1):
        sealed = seal(
            items,
            gateway_id=GATEWAY,
            epoch=epoch,
            number=number,
            first_seq=first_seq,
            previous=previous,
            content_key=content_key,
            signing_key=signing_key,
        )
        bodies.append(sealed.body)
        previous, first_seq = sealed.digest, first_seq + len(items)
    return bodies, package


async def _take_in(
    folder: Path,
    key: CollectorPrivateKey,
    signing_key: Ed25519PrivateKey,
    package: bytes,
    bodies: list[bytes],
) -> float:
    """Seconds for all batches, one after the other: verify, open, store, mark hours, commit, receipt."""
    now_ms = START_MS + BATCHES * SWEEPS * 60_000
    clock = Clock(lambda: now_ms, time.monotonic, asyncio.sleep)
    path = folder / "collector.db"
    await asyncio.to_thread(upgrade, path)
    async with await Store.open(path) as store:
        async with store.write() as connection:
            await connection.execute(insert(schema.site).values(id=1, code="bench", name="bench"))
            await connection.execute(
                insert(schema.gateway).values(
                    id=GATEWAY,
                    site_id=1,
                    name="bench",
                    state="active",
                    seal_key=b"",
                    enrolled_ms=now_ms,
                )
            )
            await connection.execute(
                insert(schema.gateway_key).values(
                    gateway_id=GATEWAY,
                    number=1,
                    public_key=signing_key.public_key().public_bytes_raw(),
                    certificate=b"",
                    issued_ms=now_ms,
                    ends_ms=now_ms,
                )
            )
        async with Intake(store, Keyring.of(key), clock) as intake:
            header: Header = read_header(bodies[0])
            await intake.accept_key(package, header.key_id, GATEWAY)
            began = time.perf_counter()
            for body in bodies:
                receipt = await intake.accept(body, GATEWAY)
                if receipt.digest != envelope_digest(body).hex() or receipt.already or receipt.quarantined:
                    raise SystemExit(f"a batch was not taken in: {receipt}")
            return time.perf_counter() - began


Row = tuple[int, int, int, int, float | None, int, int, int, int]


def _rows(items: list[Item]) -> list[Row]:
    """The rows of the table `reading` that these items become."""
    rows: list[Row] = []
    for seq, item in enumerate(items, 1):
        if isinstance(item, Reading):
            point = int(item.device_id[-2:]) * POINTS + int(item.point[-2:]) + 1
            rows.append((1, point, item.measured_ms, item.received_ms, item.value, 0, 0, 1, seq))
    return rows


def _insert_bare(folder: Path, batches: list[list[Row]]) -> float:
    """Seconds for the same rows into the same table, as durable: one transaction a batch."""
    table = (
        "CREATE TABLE reading (site_id INTEGER NOT NULL, point_id INTEGER NOT NULL, "
        "measured_ms INTEGER NOT NULL, received_ms INTEGER NOT NULL, value REAL, "
        "quality INTEGER NOT NULL, reason INTEGER NOT NULL, "
        "epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (site_id, point_id, measured_ms)) "
        "STRICT, WITHOUT ROWID"
    )
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(table)
    began = time.perf_counter()
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return took
