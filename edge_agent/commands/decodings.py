"""All that the registers which came may mean, for whoever doubts the profile of a Modbus device."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any, Final

from drivers.contract import Exchange
from drivers.modbus.decode import decimal
from drivers.modbus.guess import TYPES, Decoding, plausible_decodings
from edge_agent.commands.answer import table
from models.profile.modbus import ModbusPoint, ModbusProfile, Table

_TABLES: Final[dict[int, Table]] = {3: "holding", 4: "input"}
_ORDERS: Final = {
    ("high_first", "big"): "",
    ("low_first", "big"): " low word first",
    ("high_first", "little"): " bytes swapped",
    ("low_first", "little"): " low word first, bytes swapped",
}

Registers = dict[tuple[Table, int], int]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One way to read registers; `value` is what the point there would have, None when none begins there."""

    decoding: Decoding
    value: float | None
    fits: bool  # lies between the point's min and max


@dataclass(frozen=True, slots=True)
class Place:
    """So many registers from an address on, and all that they may mean."""

    table: Table
    address: int
    words: tuple[int, ...]
    point: str  # that begins there; "" for none
    meanings: tuple[Meaning, ...]


def registers_in(exchanges: Sequence[Exchange], *, is_tcp: bool) -> Registers:
    """The registers of all replies that were answers; of one that came twice, the later."""
    found: Registers = {}
    for exchange in exchanges:
        if exchange.problem or not exchange.replies:
            continue
        request, reply = (_pdu(frame, is_tcp=is_tcp) for frame in (exchange.request, exchange.replies[-1]))
        if len(request) != 5 or request[0] not in _TABLES or reply[:1] != request[:1]:
            continue
        first, count = struct.unpack(">HH", request[1:])
        if len(reply) != 2 + 2 * count:
            continue
        for n, word in enumerate(struct.unpack(f">{count}H", reply[2:])):
            found[_TABLES[request[0]], first + n] = word
    return found


def places(registers: Registers, profile: ModbusProfile, parameters: Mapping[str, float]) -> Iterator[Place]:
    """From each register on 1, 2 and 4 of them, as far as they came; `parameters` are the settled ones."""
    points = {(point.table, point.address): point for point in reversed(profile.points)}
    for table_, address in sorted(registers):
        point = points.get((table_, address))
        for width in TYPES:
            words = tuple(registers.get((table_, address + n), -1) for n in range(width))
            if -1 in words:
                continue
            meanings = [_judged(decoding, point, parameters) for decoding in plausible_decodings(words)]
            name = "" if point is None else point.name
            yield Place(table_, address, words, name, tuple(meanings))


def facts(found: Sequence[Place]) -> list[dict[str, Any]]:
    """Plain JSON values."""
    return [
        {
            "table": place.table,
            "address": place.address,
            "words": " ".join(f"{word:04x}" for word in place.words),
            "point": place.point,
            "decodings": [
                {
                    "type": one.decoding.type,
                    "word_order": one.decoding.word_order,
                    "byte_order": one.decoding.byte_order,
                    "raw": one.decoding.value,
                    "value": one.value,
                    "fits": one.fits,
                }
                for one in place.meanings
            ],
        }
        for place in found
    ]


def text(found: Sequence[Place]) -> str:
    """One row for each way; those that fit the point have a `*`. Zeros that no point has are left out."""
    rows = []
    for place in found:
        if not place.point and not any(place.words):
            continue
        point = place.point
        where = f"{place.table} {place.address:#06x}"
        words = " ".join(f"{word:04x}" for word in place.words)
        for one in place.meanings:
            decoding = one.decoding
            way = decoding.type + _ORDERS[decoding.word_order, decoding.byte_order]
            value = "" if one.value is None else f"{one.value:.10g}"
            fits = "*" if one.fits else ""
            rows.append([where, point, words, way, f"{decoding.value:.10g}", value, fits])
            where = words = point = ""
    return table(["register", "point", "words", "read as", "number", "value", "fits"], rows)


def _pdu(frame: bytes, *, is_tcp: bool) -> bytes:
    return frame[7:] if is_tcp else frame[1:-2]


def _judged(decoding: Decoding, point: ModbusPoint | None, parameters: Mapping[str, float]) -> Meaning:
    if point is None:
        return Meaning(decoding, None, fits=False)
    multiplier = prod((decimal(parameters[name]) for name in point.multiply_by), start=Fraction(1))
    offset = decimal(point.offset)
    value = Fraction(decoding.value) * decimal(point.scale) * multiplier + offset
    # As in the driver, bounds are given for parameters of 1.
    low, high = (
        None if bound is None else (decimal(bound) - offset) * multiplier + offset
        for bound in (point.min, point.max)
    )
    is_bounded = low is not None or high is not None
    fits = is_bounded and (low is None or low <= value) and (high is None or value <= high)
    return Meaning(decoding, float(value), fits)
