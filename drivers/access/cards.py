"""Finds the number of a card in the bits that a reader sends. Pure."""

from dataclasses import dataclass, field

from models.profile.access import CardFormat, OsdpProfile, Parity


@dataclass(frozen=True, slots=True)
class Card:
    """What the bits of a card say."""

    format: str  # of the profile, or "raw" for a length that it does not know
    number: str | None = field(repr=False)  # None: the parity is wrong, so it was misread


def read_card(profile: OsdpProfile, bits: int, data: bytes) -> Card:
    """`data` holds the bits, the first one highest; what follows them counts for nothing.

    Bits of an unknown length are a number of their own, with the length in it, so that it is the same for
    the same card. Raises ValueError when there are fewer bits than `bits`.
    """
    if not 0 < bits <= 8 * len(data):
        raise ValueError(f"{len(data)} bytes are no {bits} bits")
    value = int.from_bytes(data, "big") >> (8 * len(data) - bits)
    card = profile.card(bits)
    if card is None:
        return Card("raw", f"{bits}x{value:x}")
    if not all(_holds(parity, value, bits) for parity in card.parity):
        return Card(card.name, None)
    return Card(card.name, str(_part(value, bits, card)))


def reversed_bits(bits: int, data: bytes) -> bytes:
    """The same bits, last first, for readers that send a card that was swiped backwards."""
    value = int.from_bytes(data, "big") >> (8 * len(data) - bits)
    text = f"{value:0{bits}b}"[::-1].ljust(8 * len(data), "0")
    return int(text, 2).to_bytes(len(data), "big")


def _part(value: int, bits: int, part: CardFormat | Parity) -> int:
    return value >> (bits - 1 - part.last) & ((1 << (part.last - part.first + 1)) - 1)


def _holds(parity: Parity, value: int, bits: int) -> bool:
    ones = _part(value, bits, parity).bit_count() + (value >> (bits - 1 - parity.bit) & 1)
    return ones % 2 == (parity.kind == "odd")
