"""What a buffer promises to those who fill it and to those who empty it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from models.errors import RetryLater
from models.reading import Item


class BufferUnavailable(RetryLater):
    """The disk refused the write. Nothing of what was handed over is stored; keep it and try again."""


class OutOfOrder(RetryLater):
    """The store is not where the caller thinks it is: it was replaced meanwhile. Begin again with a cut."""


class SeqRange(NamedTuple):
    """The sequence numbers that one `append` was given, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Items that no batch for this collector holds yet, and what their envelope must say of itself.

    Their numbers are consecutive from `first_seq` on. None stands for one that was lost, thinned out, or
    refused by this collector.
    """

    epoch: bytes
    number: int
    first_seq: int
    previous: bytes
    items: list[Item | None]
    earlier: bool  # they were numbered in an earlier epoch, and may have been sent under that

    @property
    def present(self) -> int:
        return sum(item is not None for item in self.items)


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed envelope as it is stored. Every sending of it sends these very bytes."""

    number: int
    first_seq: int
    count: int  # sequence numbers
    items: int  # of these, how many stand for an item
    key_id: bytes
    body: bytes
    digest: bytes

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.count - 1


@dataclass(frozen=True, slots=True)
class Counts:
    """Where everything is that was ever appended, as one collector has it.

    `produced == delivered + pending + quarantined + dropped` holds at every instant. Each of the five is
    counted on its own: `pending` from the rows that are there, the others as they happen, in the transaction
    in which they happen.
    """

    produced: int
    delivered: int
    pending: int  # in a batch that is under way, or in none yet
    quarantined: int  # refused by the collector as wrong, kept by it or here
    dropped: int  # thinned out, evicted or damaged before they were delivered; each has its gap record
    unsealed: int  # of `pending`: in no batch yet
    batches_pending: int
    batches_kept: int  # delivered, and still here for the retention
    oldest_pending_ms: int | None  # when the oldest pending item was stored
    bytes_used: int  # by the whole buffer

    @property
    def conserved(self) -> bool:
        return self.produced == self.delivered + self.pending + self.quarantined + self.dropped


class Outbox(Protocol):
    """What one collector has of the buffer, and is still to get.

    All calls may be made from any task and at the same time; a cancelled call leaves the store either as
    before it or as after it.
    """

    @property
    def name(self) -> str:
        """What the gateway's configuration calls the collector."""

    @property
    def epoch(self) -> bytes:
        """16 random bytes, under which numbers mean the same for ever; minted anew by `begin_epoch`."""

    @property
    def unsealed(self) -> int:
        """How many items are in no batch for this collector."""

    async def cut(self, limit: int, *, after: int = 0) -> Cut | None:
        """The oldest items behind number `after` that are in no batch, at most `limit`; None for none.

        Changes nothing: the same call gives the same answer, or one with more items at its end.
        """

    async def store(self, batch: Batch) -> None:
        """Keep the sealed form of the last `cut`: from now on these items are in this batch.

        Raise OutOfOrder when `batch` does not follow the last one, or its items are not free.
        """

    async def pending(self, *, after: int = 0) -> Batch | None:
        """The first batch behind number `after` that the collector has not yet accepted."""

    async def deliver(self, number: int, *, quarantined: int, receipt: str) -> None:
        """The collector has committed this batch, all but `quarantined` of its items as good ones.

        Its envelope stays for the retention; its items go, once every collector has them. Does nothing for a
        batch already delivered.
        """

    async def withdraw(self, number: int) -> None:
        """The collector will never accept this batch: its items are in no batch again.

        The number of the newest batch will be given to the next one, for the collector does not hold it.
        """

    async def refuse(self, seq: int, reason: str) -> None:
        """Put one item that is in no batch aside for a person to look at; an event tells of it.

        Does nothing when no such item is there.
        """

    async def kept(self, first_seq: int, last_seq: int, *, limit: int) -> list[Batch]:
        """The delivered batches, by number, that hold any of these items and are still here."""

    async def add_key(self, key_id: bytes, package: bytes) -> None:
        """Keep the package of a content key, before the first batch that is sealed with it."""

    async def key_package(self, key_id: bytes) -> tuple[bytes, bool]:
        """The package of a key and whether the collector has it. Raise KeyError for one never added."""

    async def key_sent(self, key_id: bytes, *, sent: bool = True) -> None:
        """Note whether the collector has the package of this key."""

    async def belong_to(self, gateway_id: str) -> None:
        """Say as which gateway the collector knows this store. When it was another, a new epoch begins.

        A gateway that is enrolled anew has a new id, and its collector knows nothing of older numbers.
        """

    async def begin_epoch(self) -> None:
        """Send all that is not delivered under a new epoch. Numbers go on.

        For a store that was restored from an old copy, whose numbers the collector knows otherwise.
        """

    async def wait_unsealed(self, count: int) -> None:
        """Return once at least `count` items are in no batch."""

    async def counts(self) -> Counts:
        """Where everything is, as of one transaction."""


class Buffer(Protocol):
    """A store of items in the order of their sequence numbers, which start at 1 and are never used twice."""

    @property
    def last_seq(self) -> int:
        """The last sequence number that was given; 0 before the first."""

    async def append(self, items: Sequence[Item], marks: Mapping[str, str] | None = None) -> SeqRange:
        """Store `items`, in this order and all or none; return once they survive a loss of power.

        `marks` are notes by name that are stored in the same transaction, each instead of the one before it;
        an empty one is removed. There may be marks without items; the range then ends before it begins.
        Of two calls under way at the same time either may write a mark last.

        Waits while too much is waiting to be written. Raise BufferUnavailable when the disk refuses;
        then none is stored. When the call is cancelled, all are stored or none.
        """

    async def marks(self, prefix: str) -> dict[str, str]:
        """All marks whose name begins with `prefix`. Neither age nor size nor a new epoch ends a mark."""

    async def outbox(self, name: str) -> Outbox:
        """The outbox of the collector of this name. A new one begins with the oldest item that is here."""

    async def outboxes(self) -> list[str]:
        """The names of all collectors that something is kept for."""

    async def forget(self, name: str) -> None:
        """Keep nothing more for this collector. What no other is to get is gone with it."""

    async def close(self) -> None:
        """Finish what was appended and release the file. Safe to call twice."""
