"""Remembers which frames of one device were taken, in little space and over restarts.

A Bloom filter in two generations: a frame that was taken is always known again, until some 16 000 to 32 000
others have come after it; one that was not is taken for known in less than one of 200 cases. It is kept in
marks of 512 bytes, of which each frame changes one.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

FRAMES: Final = 16_384  # in one generation
_SLICES: Final = 64
_SLICE_BYTES: Final = 512
_PLACES: Final = 4  # bits for a frame, all in one slice
_BITS: Final = 8 * _SLICE_BYTES


class Seen:
    """The frames of one device that were taken. `prefix` is what the names of its marks begin with."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._generations: list[dict[int, bytearray]] = [{}, {}]
        self._filling = 0  # the generation that takes frames; the other is the one before
        self._count = 0

    @property
    def state(self) -> list[int]:
        """What `restored` needs besides the marks."""
        return [self._filling, self._count]

    @classmethod
    def restored(cls, prefix: str, state: list[int], marks: Mapping[str, str]) -> "Seen":
        """As it was when `state` was taken. A mark that cannot be read counts as not there."""
        seen = cls(prefix)
        seen._filling, seen._count = state[0] & 1, max(0, state[1])
        for generation in (0, 1):
            for number in range(_SLICES):
                content = _unpacked(marks.get(seen._name(generation, number), ""))
                if content is not None:
                    seen._generations[generation][number] = content
        return seen

    def has(self, identity: bytes) -> bool:
        """Whether a frame was taken."""
        number, places = _places(identity)
        return any(
            (content := generation.get(number)) is not None
            and all(content[place >> 3] >> (place & 7) & 1 for place in places)
            for generation in self._generations
        )

    def add(self, identity: bytes) -> dict[str, str]:
        """Remember a frame; the marks that have changed."""
        changed: dict[str, str] = {}
        if self._count >= FRAMES:
            self._filling ^= 1
            self._count = 0
            forgotten = self._generations[self._filling]
            changed |= {self._name(self._filling, number): "" for number in forgotten}
            self._generations[self._filling] = {}
        number, places = _places(identity)
        content = self._generations[self._filling].setdefault(number, bytearray(_SLICE_BYTES))
        for place in places:
            content[place >> 3] |= 1 << (place & 7)
        self._count += 1
        changed[self._name(self._filling, number)] = base64.b64encode(content).decode()
        return changed

    def _name(self, generation: int, number: int) -> str:
        return f"{self._prefix}{'ab'[generation]}{number:02d}"


def _places(identity: bytes) -> tuple[int, list[int]]:
    """The slice of a frame and its bits in there."""
    digest = hashlib.blake2b(identity, digest_size=2 * _PLACES + 1).digest()
    words = [int.from_bytes(digest[at : at + 2], "big") % _BITS for at in range(1, len(digest), 2)]
    return digest[0] % _SLICES, words


def _unpacked(text: str) -> bytearray | None:
    try:
        content = bytearray(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        return None
    return content if len(content) == _SLICE_BYTES else None
