"""Lets a keyed pseudonym stand for a card number or a person, so that neither ever leaves the gateway.

A plain hash would hide nothing: a 24-bit card number is found by trying all of them in seconds. Without the
key of the institution nobody can try. All gateways of one institution share its key, so that one card has one
pseudonym at every door.

pseudonym = the first 16 bytes, in hex, of HMAC(key, "card:" + number) or HMAC(key, "person:" + number).
"""

from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes, hmac

KEY_BYTES: Final = 32
_PSEUDONYM_BYTES: Final = 16  # no two of a billion cards meet by chance
_FEWEST_DIGITS: Final = 6  # of a number whose last four may be shown; of a shorter one they are too much

Algorithm = Literal["hmac-sha256", "hmac-sm3"]
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {"hmac-sha256": hashes.SHA256, "hmac-sm3": hashes.SM3}


@dataclass(frozen=True, slots=True)
class CardAlias:
    """What may be known of a card outside the gateway."""

    pseudonym: str  # 32 hex digits
    last4: str | None  # the last four digits, for people; None when the number is no number, or short


class Pseudonymiser:
    """The pseudonyms of one institution. Its key shows in no `repr`."""

    def __init__(self, key: bytes, algorithm: Algorithm = "hmac-sha256") -> None:
        """`key`: 32 bytes; ValueError otherwise."""
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key for pseudonyms has {KEY_BYTES} bytes, and this one {len(key)}")
        self._hmac = hmac.HMAC(key, _HASHES[algorithm]())

    def card(self, number: str) -> CardAlias:
        """Of a card number as a reader or a person writes it; zeros before a decimal number do not matter."""
        number = canonical_card(number)
        shown = number.isdecimal() and len(number) >= _FEWEST_DIGITS
        return CardAlias(self._pseudonym("card", number), number[-4:] if shown else None)

    def person(self, number: str) -> str:
        """Of an employee number or a visitor's id."""
        return self._pseudonym("person", number.strip())

    def _pseudonym(self, what: str, number: str) -> str:
        mac = self._hmac.copy()
        mac.update(f"{what}:{number}".encode())
        return mac.finalize()[:_PSEUDONYM_BYTES].hex()


def canonical_card(number: str) -> str:
    """The one spelling of a card number: decimal without leading zeros, or upper-case text."""
    number = number.strip()
    if number.isascii() and number.isdecimal():
        return number.lstrip("0") or "0"
    return number.upper()
