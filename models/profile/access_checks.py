"""Finds the mistakes of the profiles of doors that only show when one is looked at as a whole."""

from collections.abc import Iterator
from typing import get_args

from models.document import Mistake
from models.document_hints import suggest
from models.profile import checks
from models.profile.access import AccessProfile, CardFormat, Kind, OsdpProfile

_OWN_KINDS = ("door.unknown",)  # what the driver says by itself of a code that is in no list


def find_mistakes(profile: AccessProfile) -> Iterator[Mistake]:
    """All mistakes of a controller's profile whose single values are right."""
    yield from checks.names(profile)
    seen: set[tuple[int, int]] = set()
    for index, code in enumerate(profile.codes):
        path = ("codes", index)
        if (code.major, code.minor) in seen:
            yield Mistake((*path, "minor"), f"the code {code.major}/{code.minor:#x} stands above already")
        seen.add((code.major, code.minor))
        if (code.reason is not None) != (code.kind == "door.denied"):
            what = "is missing" if code.reason is None else f"does not belong to {code.kind}"
            yield Mistake((*path, "reason"), what, "door.denied has one, and no other kind")
    kinds = (*get_args(Kind), *_OWN_KINDS)
    for index, golden in enumerate(profile.golden):
        if golden.kind not in kinds:
            what = f"there is no kind '{golden.kind}'"
            yield Mistake(("golden", index, "kind"), what, suggest(golden.kind, kinds))
        for text in golden.absent:
            if text not in golden.body:
                yield Mistake(("golden", index, "absent"), "is not in the body, so its absence shows nothing")


def find_reader_mistakes(profile: OsdpProfile) -> Iterator[Mistake]:
    """All mistakes of a reader's profile whose single values are right."""
    yield from checks.names(profile)
    lengths: set[int] = set()
    for index, card in enumerate(profile.cards):
        path = ("cards", index)
        if card.bits in lengths:
            what = f"a format of {card.bits} bits stands above already, and the length tells them apart"
            yield Mistake((*path, "bits"), what)
        lengths.add(card.bits)
        for problem in _outside(card):
            yield Mistake(path, problem)
    formats = {card.name: card for card in profile.cards}
    for index, golden in enumerate(profile.golden):
        if golden.format not in formats:
            what = f"there is no format '{golden.format}'"
            yield Mistake(("golden", index, "format"), what, suggest(golden.format, formats))
        if len(golden.data) != 2 * ((golden.bits + 7) // 8):
            yield Mistake(("golden", index, "data"), f"{golden.bits} bits are {(golden.bits + 7) // 8} bytes")


def _outside(card: CardFormat) -> Iterator[str]:
    if not card.first <= card.last < card.bits:
        yield f"its number is no part of {card.bits} bits"
    for parity in card.parity:
        if not (parity.first <= parity.last < card.bits and parity.bit < card.bits):
            yield f"parity bit {parity.bit} or what it guards is no part of {card.bits} bits"
        if parity.first <= parity.bit <= parity.last:
            yield f"parity bit {parity.bit} guards itself"
