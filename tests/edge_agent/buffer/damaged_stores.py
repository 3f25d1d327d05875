"""A buffer with something of everything in it, ways to damage its files, and a collector that keeps count."""

import contextlib
import random
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.buffer.contract import Batch, OutOfOrder
from edge_agent.buffer.database import CHECKED_AT_ONCE_BYTES
from edge_agent.buffer.outbox import SqliteOutbox
from edge_agent.buffer.sqlite import SqliteBuffer
from models.envelope import FIRST_PREVIOUS, read_header
from models.reading import Item
from tests.edge_agent.salvage.sqlite_files import pages_of_rows
from tests.support.buffers import open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, a_reading, an_event

PAGE = 4096
FRAME = PAGE + 24
LOG_HEADER = 32
SIDES = ("", "-wal", "-shm", ".lock")


@dataclass
class Collector:
    """Takes batches as the real one does: in a chain, each number once in an epoch."""

    items: dict[int, Item] = field(default_factory=dict)  # by number
    again: int = 0
    _chains: dict[bytes, list[bytes]] = field(default_factory=dict)  # digests by epoch
    _numbers: dict[bytes, set[int]] = field(default_factory=dict)

    def takes(self, batch: Batch, items: list[Item | None]) -> bool:
        """Whether it is accepted; if not, the gateway's numbers mean something else than was taken before."""
        header = read_header(batch.body)
        chain = self._chains.setdefault(header.epoch, [])
        taken = self._numbers.setdefault(header.epoch, set())
        if header.number <= len(chain):
            return chain[header.number - 1] == batch.digest
        numbers = set(range(header.first_seq, header.last_seq + 1))
        if header.number != len(chain) + 1 or header.previous != (chain[-1] if chain else FIRST_PREVIOUS):
            return False
        if numbers & taken:
            return False
        chain.append(batch.digest)
        taken |= numbers
        for seq, item in enumerate(items, start=header.first_seq):
            if item is not None:
                self.again += self.items.get(seq) == item
                known = self.items.setdefault(seq, item)
                assert known == item, f"number {seq} stands for two items"
        return True


class Store:
    """One store in a folder, which can be put back byte for byte for the next trial."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.path, self._clock = folder / "buffer.db", clock
        self.sealer = Sealer()
        self.collector = Collector()
        self.items: dict[int, Item] = {}  # all that were appended, by number
        self._sealed: dict[bytes, list[Item | None]] = {}  # by digest
        self._images: dict[str, bytes] = {}
        self._before = self.collector
        self._inode = 0
        self._blocks: list[tuple[int, int, set[int]]] = []
        self.refused = 0

    async def open(self, *, checked_at_once: int = CHECKED_AT_ONCE_BYTES) -> SqliteBuffer:
        return await open_buffer(self.path, self._clock.clock, window_s=0, checked_at_once=checked_at_once)

    async def fill(self, rng: random.Random) -> None:
        """Delivered and pending batches, blocks of all sizes, marks, a refused item; and a log."""
        async with await self.open() as buffer:
            outbox = await buffer.outbox("main")
            for step in range(220):
                await self._append(buffer, rng, step)
                if step in (15, 25, 35):
                    await self.send(outbox)
                if step == 45:
                    self.refused = buffer.last_seq
                    await outbox.refuse(self.refused, "no such meter")
                if step == 200:
                    await buffer.core.read(
                        lambda connection: connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                    )
            for _ in range(2):
                await self._seal(outbox, 150)
            for name in SIDES:
                self._images[name] = self.path.with_name(self.path.name + name).read_bytes()
        self._inode = self.path.stat().st_ino
        self._before = self.collector
        with tempfile.TemporaryDirectory() as folder:
            self._note_blocks(Path(folder))

    async def _append(self, buffer: SqliteBuffer, rng: random.Random, step: int) -> None:
        count = rng.choice([1, 5, 20, 60, 300])
        items: list[Item] = [a_reading(rng.random() * 1e6, device=f"meter-{i}") for i in range(count)]
        if rng.random() < 0.2:
            items.append(an_event(step))
        first, last = await buffer.append(items, {f"source-{step % 7}": str(step)})
        self.items.update(zip(range(first, last + 1), items, strict=True))

    async def _seal(self, outbox: SqliteOutbox, limit: int) -> Batch | None:
        cut = await outbox.cut(limit)
        if cut is None:
            return None
        with contextlib.suppress(KeyError):
            await outbox.key_package(self.sealer.content_key.key_id)
            batch = self.sealer.seal(cut)
            try:
                await outbox.store(batch)
            except OutOfOrder:  # the store was replaced
                return await self._seal(outbox, limit)
            self._sealed[batch.digest] = cut.items
            return batch
        await outbox.add_key(self.sealer.content_key.key_id, self.sealer.package)
        return await self._seal(outbox, limit)

    async def send(self, outbox: SqliteOutbox, limit: int = 400) -> None:
        """All there is, as the uplink does; under a new epoch when the collector objects."""
        for _ in range(1000):
            batch = await outbox.pending() or await self._seal(outbox, limit)
            if batch is None:
                return
            if self.collector.takes(batch, self._sealed[batch.digest]):
                await outbox.deliver(batch.number, quarantined=0, receipt="{}")
            else:
                await outbox.begin_epoch()
        raise AssertionError("it never ends")

    def put_back(self) -> None:
        """Files and collector as they were after `fill`. The database stays the same file: it is no copy."""
        for file in list(self.path.parent.iterdir()):
            if file.stat().st_ino == self._inode:
                file.rename(self.path)
            else:
                file.unlink()
        for name, image in self._images.items():
            self.write(name, image)
        before = self._before
        self.collector = Collector(
            dict(before.items),
            0,
            {epoch: list(chain) for epoch, chain in before._chains.items()},
            {epoch: set(numbers) for epoch, numbers in before._numbers.items()},
        )

    def write(self, side: str, image: bytes) -> None:
        """One of the files, without making a new one of it."""
        with self.path.with_name(self.path.name + side).open("r+b" if side == "" else "wb") as file:
            file.truncate()
            file.write(image)

    def aside(self) -> list[Path]:
        """The databases that were set aside."""
        return [file for file in self.path.parent.glob("*.damaged-*") if not file.name.endswith(SIDES[1:])]

    def damage(self, rng: random.Random) -> tuple[str, set[int]]:
        """Break something; what, and the pages of which the newest version may be hit."""
        how = rng.choice(
            ["page", "page", "pages", "bits", "bits", "zeros", "cut", "cut-log", "flip-log", "no-log"]
        )
        images = {side: bytearray(image) for side, image in self._images.items()}
        database, log = images[""], images["-wal"]
        pages = len(database) // PAGE
        hit_bytes: list[tuple[int, int]] = []
        log_from = len(log)
        match how:
            case "page" | "pages":
                for number in rng.sample(range(pages), 1 if how == "page" else rng.randrange(2, 12)):
                    database[number * PAGE : (number + 1) * PAGE] = rng.randbytes(PAGE)
                    hit_bytes.append((number * PAGE, (number + 1) * PAGE))
            case "bits":
                for _ in range(rng.choice([1, 1, 3, 40])):
                    at = rng.choice(
                        [rng.randrange(len(database)), rng.randrange(pages) * PAGE + rng.randrange(100)]
                    )
                    database[at] ^= 1 << rng.randrange(8)
                    hit_bytes.append((at, at + 1))
            case "zeros":
                at, size = rng.randrange(len(database)), rng.choice([512, 4096, 65536])
                size = min(size, len(database) - at)
                database[at : at + size] = bytes(size)
                hit_bytes.append((at, at + size))
            case "cut":
                at = rng.randrange(len(database))
                hit_bytes.append((at, len(database)))
                del database[at:]
            case "cut-log":
                log_from = rng.randrange(len(log))
                del log[log_from:]
            case "flip-log":
                for _ in range(rng.choice([1, 1, 5])):
                    at = rng.randrange(len(log))
                    log[at] ^= 1 << rng.randrange(8)
                    log_from = min(log_from, at)
            case "no-log":
                log_from = 0
                del log[:]
        if rng.random() < 0.3:
            images["-shm"] = bytearray(rng.randbytes(len(images["-shm"])) if rng.random() < 0.5 else b"")
        for side, image in images.items():
            self.write(side, bytes(image))
        if how == "no-log":
            self.path.with_name(self.path.name + "-wal").unlink()
        if not images["-shm"]:
            self.path.with_name(self.path.name + "-shm").unlink()
        touched = {
            at // PAGE + 1 for first, end in hit_bytes for at in range(first, end, min(PAGE, end - first))
        }
        touched |= {(end - 1) // PAGE + 1 for _, end in hit_bytes}
        in_log = self._frames()
        touched -= in_log.keys()  # the log has a newer version
        touched |= {page for page, at in in_log.items() if at + FRAME > log_from}
        return how, touched

    def sound_numbers(self, touched: set[int]) -> set[int]:
        """What is in blocks that stand on no page that was hit."""
        return {
            seq
            for first_seq, count, pages in self._blocks
            if not pages & touched
            for seq in range(first_seq, first_seq + count)
        }

    def _frames(self) -> dict[int, int]:
        """Where in the log the newest version of a page begins."""
        log = self._images["-wal"]
        frames = range(LOG_HEADER, len(log) - FRAME + 1, FRAME)
        salts = log[16:24]
        return {
            int.from_bytes(log[at : at + 4], "big"): at for at in frames if log[at + 8 : at + 16] == salts
        }

    def _note_blocks(self, folder: Path) -> None:
        """Which pages hold which block, as SQLite says."""
        copy = folder / "copy.db"
        copy.write_bytes(self._images[""])
        copy.with_name("copy.db-wal").write_bytes(self._images["-wal"])
        with closing(sqlite3.connect(copy)) as connection:
            pages = pages_of_rows(connection, ["block"])["block"]
            rows = connection.execute("SELECT first_seq, count FROM block").fetchall()
        self._blocks = [(first_seq, count, pages[first_seq]) for first_seq, count in rows]
