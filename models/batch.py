"""Turns consecutive readings and events into few bytes, and back without changing one bit.

The layout is columnar. A batch names its series (`models.layout`), holds for all readings in their order
which series, when and how good, and for each series its values (`models.columns`). Columns are stored as
differences in byte planes, so that zstd finds long runs of zeros. Nothing is rounded.

A batch may have holes: numbers whose items the gateway has given up, as events of their own tell.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import msgspec
import zstandard

from models.columns import PackedValues, pack_values, unpack_values
from models.errors import BadInput
from models.layout import PackedSeries, pack_series, unpack_series
from models.packing import differences, pack, steps_from, sums, unpack, within
from models.reading import Event, Item, Quality, Reading, Reason

MAX_ITEMS = 1 << 20
MAX_UNPACKED_BYTES = 64 << 20

_VERSION = 3
_ZSTD_LEVEL = 6

_QUALITIES = list(Quality)
_REASONS = list(Reason)


class BatchMalformed(BadInput):
    """The bytes are no batch of this version. Nothing of it was used."""


@dataclass(slots=True)
class Columns:
    """A decoded batch as parallel lists, for storing in bulk without an object per reading.

    Item number `i` of the batch has sequence number `first_seq + i`; `offset` holds these `i`.
    """

    count: int  # sequence numbers: readings, events and holes together
    earlier: bool  # the items were numbered in an earlier epoch: they may have come before
    series: list[tuple[str, str]]  # (device id, point) by series index
    offset: list[int]
    series_index: list[int]
    value: list[float | None]
    quality: list[int]
    reason: list[int]
    measured_ms: list[int]
    received_ms: list[int]
    events: list[tuple[int, Event]]  # (offset, event)


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    version: int
    count: int
    earlier: bool
    hole_start: bytes  # offsets at which runs of numbers without an item begin
    hole_length: bytes
    series: PackedSeries
    order: bytes  # series index of each reading, as the difference to one after the last
    codes: bytes  # one byte a reading: quality, reason, whether there is a value
    run_length: bytes  # consecutive readings share their times: they came in one reply
    run_measured: bytes
    run_lag: bytes  # received minus measured
    values: PackedValues
    event_offset: bytes
    events: list[Event]


_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(_Packed)


def encode_items(items: Sequence[Item | None], *, earlier: bool = False) -> bytes:
    """At most `MAX_ITEMS` readings and events, compressed. `decode_items` gives back equal items.

    None stands for a number whose item is not here. `earlier`: see `Columns`.
    """
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items)} items in one batch; at most {MAX_ITEMS}")
    readings = [item for item in items if item.__class__ is Reading]
    event_at = [i for i, item in enumerate(items) if item.__class__ is Event]

    is_whole = len(readings) + len(event_at) == len(items)
    holes = [] if is_whole else _runs([i for i, item in enumerate(items) if item is None])

    first_seen: dict[tuple[str, str], int] = {}
    seen = [first_seen.setdefault((r.device_id, r.point), len(first_seen)) for r in readings]
    packed_series, series, places = pack_series(list(first_seen))
    order = [places[index] for index in seen]
    columns: list[list[float]] = [[] for _ in places]
    for index, reading in zip(order, readings, strict=True):
        if reading.value is not None:
            columns[index].append(reading.value)
    runs = [
        (*times, sum(1 for _ in run))
        for times, run in groupby((r.measured_ms, r.received_ms) for r in readings)
    ]

    packed = _Packed(
        version=_VERSION,
        count=len(items),
        earlier=earlier,
        hole_start=pack(differences([start for start, _ in holes])),
        hole_length=pack([length for _, length in holes]),
        series=packed_series,
        order=pack(steps_from(order)),
        codes=bytes([r.quality << 6 | r.reason << 1 | (r.value is not None) for r in readings]),
        run_length=pack([length for _, _, length in runs]),
        run_measured=pack(differences([measured for measured, _, _ in runs])),
        run_lag=pack([received - measured for measured, received, _ in runs]),
        event_offset=pack(differences(event_at)),
        values=pack_values(columns, series),
        events=[item for item in items if item.__class__ is Event],
    )
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(_packer.encode(packed))


def decode_items(data: bytes) -> list[Item | None]:
    """Raise BatchMalformed for anything that `encode_items` did not make. None is a hole."""
    columns = decode_columns(data)
    items: list[Item | None] = [None] * columns.count
    for offset, event in columns.events:
        items[offset] = event
    rows = zip(
        columns.offset,
        columns.series_index,
        columns.value,
        columns.quality,
        columns.reason,
        columns.measured_ms,
        columns.received_ms,
        strict=True,
    )
    for offset, index, value, quality, reason, measured_ms, received_ms in rows:
        device_id, point = columns.series[index]
        items[offset] = Reading(
            device_id=device_id,
            point=point,
            value=value,
            quality=_QUALITIES[quality],
            reason=_REASONS[reason],
            measured_ms=measured_ms,
            received_ms=received_ms,
        )
    return items


def decode_columns(data: bytes) -> Columns:
    """As `decode_items`, for bulk storing. Memory is bounded by `MAX_UNPACKED_BYTES`."""
    try:
        return _decode(data)
    except BatchMalformed:
        raise
    except (
        msgspec.MsgspecError,
        zstandard.ZstdError,
        ValueError,
        IndexError,
        OverflowError,
        StopIteration,
        RecursionError,
    ) as err:
        raise BatchMalformed(f"not a batch of version {_VERSION}: {err}") from err


def _decode(data: bytes) -> Columns:
    size = zstandard.frame_content_size(data)
    if not 0 <= size <= MAX_UNPACKED_BYTES:
        raise BatchMalformed(f"says that it unpacks to {size} bytes; at most {MAX_UNPACKED_BYTES}")
    packed = _unpacker.decode(zstandard.ZstdDecompressor().decompress(data))
    if packed.version != _VERSION:
        raise BatchMalformed(f"version {packed.version}; this side reads version {_VERSION}")
    count = len(packed.codes)
    holes = _holes(packed)
    if packed.count > MAX_ITEMS or packed.count != count + len(packed.events) + len(holes):
        raise BatchMalformed(
            f"says {packed.count} items, holds {count} readings, {len(packed.events)} events and "
            f"{len(holes)} holes"
        )

    series = unpack_series(packed.series, limit=count)
    order = sums([step + 1 for step in unpack(packed.order, count)], start=-1)
    within(order, len(series.name))
    quality = [code >> 6 for code in packed.codes]
    reason = [code >> 1 & 31 for code in packed.codes]
    within(quality, len(_QUALITIES))
    within(reason, len(_REASONS))
    present = [index for index, code in zip(order, packed.codes, strict=True) if code & 1]
    counted = Counter(present)
    sizes = [counted[index] for index in range(len(series.name))]
    columns = [iter(c) for c in unpack_values(packed.values, series, sizes)]
    value = [
        next(columns[index]) if code & 1 else None for index, code in zip(order, packed.codes, strict=True)
    ]

    measured_ms: list[int] = []
    received_ms: list[int] = []
    lengths = unpack(packed.run_length)
    if any(length < 1 for length in lengths) or sum(lengths) != count:
        raise BatchMalformed("its times do not fit its readings")
    measured = sums(unpack(packed.run_measured, len(lengths)))
    for at, lag, length in zip(measured, unpack(packed.run_lag, len(lengths)), lengths, strict=True):
        measured_ms += [at] * length
        received_ms += [at + lag] * length

    event_at = sums(unpack(packed.event_offset, len(packed.events)))
    within(event_at, packed.count)
    within(holes, packed.count)
    taken = {*event_at, *holes}
    if len(taken) != len(event_at) + len(holes):
        raise BatchMalformed("puts two things in one place")
    offset = [i for i in range(packed.count) if i not in taken] if taken else list(range(count))
    return Columns(
        count=packed.count,
        earlier=packed.earlier,
        series=series.pairs(),
        offset=offset,
        series_index=order,
        value=value,
        quality=quality,
        reason=reason,
        measured_ms=measured_ms,
        received_ms=received_ms,
        events=list(zip(event_at, packed.events, strict=True)),
    )


def _runs(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Where each run of consecutive offsets begins, and its length."""
    groups = groupby(enumerate(offsets), key=lambda pair: pair[1] - pair[0])
    runs = [[offset for _, offset in group] for _, group in groups]
    return [(run[0], len(run)) for run in runs]


def _holes(packed: _Packed) -> list[int]:
    """The offsets of numbers without an item."""
    lengths = unpack(packed.hole_length)
    starts = sums(unpack(packed.hole_start, len(lengths)))
    if any(length < 1 for length in lengths) or sum(lengths) > MAX_ITEMS:
        raise BatchMalformed("its holes have impossible sizes")
    return list(chain.from_iterable(map(range, starts, map(sum, zip(starts, lengths, strict=True)))))
