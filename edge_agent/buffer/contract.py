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
    """The oldest items that no batch holds yet, and what their envelope must say of itself."""

    number: int
    first_seq: int
    previous: bytes
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Batch:
    """A sealed envelope as it is stored. Every sending of it sends these very bytes."""

    number: int
    first_seq: int
    count: int
    key_id: bytes
    body: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """Where everything is that was ever appended in this epoch.

    `produced == delivered + pending + quarantined + dropped` holds at every instant, because each of the
    five is counted on its own, from the rows of one transaction.
    """

    produced: int
    delivered: int
    pending: int  # in a batch that is under way, or in none yet
    quarantined: int  # refused by the collector as wrong, kept by it or here
    dropped: int  # evicted or damaged; each has its gap record
    unsealed: int  # of `pending`: in no batch yet
    batches_pending: int
    batches_kept: int  # delivered, and still here for the retention
    oldest_pending_ms: int | None  # when the oldest pending item was stored
    bytes_used: int

    @property
    def conserved(self) -> bool:
        return self.produced == self.delivered + self.pending + self.quarantined + self.dropped


class Buffer(Protocol):
    """A store of items in the order of their sequence numbers, which start at 1 in each epoch.

    Numbers are never used twice in an epoch and have no holes. All calls may be made from any task and at
    the same time; a cancelled call leaves the store either as before it or as after it.
    """

    @property
    def epoch(self) -> bytes:
        """16 random bytes, minted with the store, and again by `begin_epoch`."""

    @property
    def last_seq(self) -> int:
        """The last sequence number that was given in this epoch; 0 before the first."""

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

    async def cut(self, limit: int) -> Cut | None:
        """The oldest items that are in no batch, at most `limit`; None when every item is in one.

        Changes nothing: the same call gives the same answer, or one with more items at its end.
        """

    async def store(self, batch: Batch) -> None:
        """Keep the sealed form of the last `cut`: from now on these items are in this batch.

        Raise OutOfOrder when `batch` does not follow the last one.
        """

    async def pending(self) -> Batch | None:
        """The oldest batch that the collector has not yet accepted."""

    async def deliver(self, number: int, *, quarantined: int, receipt: str) -> None:
        """The collector has committed this batch, all but `quarantined` of its items as good ones.

        Its envelope stays for the retention, its items go. Does nothing for a batch already delivered.
        """

    async def withdraw(self, number: int) -> None:
        """The collector will never accept this batch: its items are in no batch again.

        Raise OutOfOrder unless it is the newest. Its number will be given to the next batch, for the
        collector does not hold it.
        """

    async def refuse(self, seq: int, reason: str) -> None:
        """Put one item that is in no batch aside for a person to look at; an event tells of it.

        Does nothing when no such item is there.
        """

    async def kept(self, first_seq: int, last_seq: int, *, limit: int) -> list[Batch]:
        """The delivered batches, oldest first, that hold any of these items and are still here."""

    async def add_key(self, key_id: bytes, package: bytes) -> None:
        """Keep the package of a content key, before the first batch that is sealed with it."""

    async def key_package(self, key_id: bytes) -> tuple[bytes, bool]:
        """The package of a key and whether the collector has it. Raise KeyError for one never added."""

    async def key_sent(self, key_id: bytes, *, sent: bool = True) -> None:
        """Note whether the collector has the package of this key."""

    async def belong_to(self, gateway_id: str) -> None:
        """Say which gateway's store this is. When it was another's, a new epoch begins.

        A gateway that is enrolled anew has a new id, and its collector knows nothing of older numbers.
        """

    async def begin_epoch(self) -> None:
        """Go on under a new epoch, numbered from 1 again, with every item that is not delivered.

        For a store that was restored from an old copy, whose numbers the collector knows otherwise.
        """

    async def wait_unsealed(self, count: int) -> None:
        """Return once at least `count` items are in no batch."""

    async def counts(self) -> Counts:
        """Where everything is, as of one transaction."""

    async def close(self) -> None:
        """Finish what was appended and release the file. Safe to call twice."""
