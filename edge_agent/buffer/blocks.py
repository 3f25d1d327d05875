"""The bytes of a block: what one group commit stored, compressed.

A block may have holes, where items were given up; their numbers stay.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import zstandard

from models.errors import BadInput
from models.reading import Event, Item, Reading

BLOCK_ITEMS = 4096
"""The most items in a block, so that one damaged block costs little and splitting one is cheap."""

_PLAIN, _ZSTD = b"\x00", b"\x01"
_WORTH_COMPRESSING = 256  # bytes; below this zstd's own header eats the gain
_MAX_UNPACKED = 64 << 20
_ZSTD_LEVEL = 1  # 3 saves 6 % for the same time on small blocks and costs double on large ones

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[list[Reading | Event | None]])
_chunk_decoder = msgspec.msgpack.Decoder(list[Reading | Event | None])
_item_decoder: msgspec.msgpack.Decoder[Item] = msgspec.msgpack.Decoder(Reading | Event)
_compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False)


class BlockDamaged(BadInput):
    """The bytes of a block are not those that were written."""


class ItemMalformed(BadInput):
    """An item has a field of the wrong type or size; nothing of its `append` was stored."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items of one `append`, encoded in the task that appended them: what cannot be encoded fails there."""

    count: int
    readings: int  # of `count`; the others are events and holes
    holes: int
    data: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive items as a row holds them."""

    count: int
    readings: int
    holes: int
    data: bytes


def chunks_of(items: Sequence[Item | None]) -> list[Chunk]:
    """`items` in pieces that fit a block each.

    Raise ItemMalformed for an item that could not be read back: each piece is decoded once, for 0.3 µs an
    item, because an item that fails later would stop all behind it.
    """
    if len(items) <= BLOCK_ITEMS:
        return [_chunk(items)]
    return [_chunk(items[start : start + BLOCK_ITEMS]) for start in range(0, len(items), BLOCK_ITEMS)]


def blocks_of(chunks: Iterable[Chunk]) -> Iterator[Block]:
    """The fewest blocks that hold `chunks` in their order."""
    group: list[Chunk] = []
    count = 0
    for chunk in chunks:
        if count + chunk.count > BLOCK_ITEMS and group:
            yield _block(group)
            group, count = [], 0
        group.append(chunk)
        count += chunk.count
    if group:
        yield _block(group)


def items_of(data: bytes, count: int) -> list[Item | None]:
    """The items of a stored block. Raise BlockDamaged unless every one is as it was written."""
    try:
        packed = data[1:]
        if data[:1] == _ZSTD:
            packed = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_UNPACKED)
        items: list[Item | None] = [item for chunk in _decoder.decode(packed) for item in chunk]
    except (msgspec.MsgspecError, zstandard.ZstdError, ValueError) as err:
        raise BlockDamaged(f"it cannot be decoded: {err}") from err
    if len(items) != count:
        raise BlockDamaged(f"it holds {len(items)} items and not {count}")
    return items


def encode_item(item: Item) -> bytes:
    """One item alone, as the table of refused items keeps it."""
    return _encoder.encode(item)


def decode_item(data: bytes) -> Item:
    """What `encode_item` was given."""
    return _item_decoder.decode(data)


def _chunk(items: Sequence[Item | None]) -> Chunk:
    try:
        data = _encoder.encode(items)
        _chunk_decoder.decode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as err:
        raise ItemMalformed(f"a driver made an item that cannot be stored: {err}") from err
    readings = sum(1 for item in items if item.__class__ is Reading)
    holes = sum(1 for item in items if item is None)
    return Chunk(len(items), readings, holes, msgspec.Raw(data))


def _block(chunks: list[Chunk]) -> Block:
    packed = _encoder.encode([chunk.data for chunk in chunks])
    data = _PLAIN + packed
    if len(packed) >= _WORTH_COMPRESSING:
        compressed = _compressor.compress(packed)
        if len(compressed) < len(packed):
            data = _ZSTD + compressed
    return Block(
        sum(chunk.count for chunk in chunks),
        sum(chunk.readings for chunk in chunks),
        sum(chunk.holes for chunk in chunks),
        data,
    )
