"""What is to be remembered from one stick to the next, for one collector: a mark in the buffer."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from edge_agent.buffer.contract import Buffer
from edge_agent.buffer.spans import Span

PREFIX: Final = "stick/"
PIECES: Final = 64
"""What is refused is sent again in so many pieces: of 5000 items, the wrong one stands alone after three
sticks. Halves, as over a network, would take thirteen."""


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """One of the items from `first` to `last` is why a batch was refused; they are sealed by `piece`."""

    first: int
    last: int
    piece: int


class _Kept(msgspec.Struct, frozen=True):
    suspects: list[Suspect] = []
    put_aside: bool = False
    epoch: str = ""
    missing: list[tuple[int, int]] = []
    told_ms: int = 0


@dataclass(slots=True)
class Memory:
    """`keep` stores it as it is then, where that is news."""

    suspects: list[Suspect] = field(default_factory=list)
    put_aside: bool = (
        False  # an item, since something was accepted: who refuses all must not empty the buffer
    )
    epoch: str = ""  # of what is missing
    missing: list[tuple[int, int]] = field(default_factory=list)  # was delivered, and the collector lost it
    told_ms: int = 0  # when it said so, by its clock
    stored: str = ""  # the mark as it is

    @classmethod
    async def of(cls, buffer: Buffer, name: str) -> "Memory":
        """What is not readable counts as nothing: it is told again."""
        text = (await buffer.marks(PREFIX + name)).get(PREFIX + name, "")
        try:
            kept = msgspec.json.decode(text, type=_Kept) if text else _Kept()
        except msgspec.MsgspecError:
            kept = _Kept()
        return cls(kept.suspects, kept.put_aside, kept.epoch, kept.missing, kept.told_ms, text)

    async def keep(self, buffer: Buffer, name: str) -> None:
        """Raise BufferUnavailable."""
        kept = _Kept(self.suspects, self.put_aside, self.epoch, self.missing, self.told_ms)
        text = "" if kept == _Kept() else msgspec.json.encode(kept).decode()
        if text != self.stored:
            await buffer.append([], {PREFIX + name: text})
            self.stored = text

    def suspect(self, first: int, count: int) -> None:
        """Send these in smaller pieces the next time."""
        self.suspects.append(Suspect(first, first + count - 1, -(-count // PIECES)))

    def take_missing(self, epoch: bytes, missing: list[tuple[int, int]], told_ms: int) -> None:
        """Unless something newer was said."""
        if told_ms >= self.told_ms:
            self.epoch, self.missing, self.told_ms = epoch.hex(), missing, told_ms

    def missing_of(self, epoch: bytes) -> list[Span]:
        """What a store that is in this epoch may still have of it."""
        return [Span(*each) for each in self.missing] if self.epoch == epoch.hex() else []
