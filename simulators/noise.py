"""Chance that depends on a seed and a place, never on the order in which it is asked for.

A generator with a state would give another building to whoever polls in another rhythm.
"""

import hashlib
from functools import lru_cache

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: the increment of SplitMix64


@lru_cache(maxsize=65_536)
def key_of(*parts: int | str) -> int:
    """64 bits that stand for these parts, the same in every process."""
    text = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def chance(key: int, place: int) -> float:
    """A number in [0, 1) for this place: the finaliser of SplitMix64."""
    z = (key + place * _STEP) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def swing(key: int, place: int) -> float:
    """A number in [-1, 1) for this place."""
    return 2.0 * chance(key, place) - 1.0


def drift(key: int, at_ms: int, period_ms: int) -> float:
    """A number in [-1, 1] that wanders on straight lines between one swing a period."""
    place, into = divmod(at_ms, period_ms)
    before, after = swing(key, place), swing(key, place + 1)
    return before + (after - before) * into / period_ms
