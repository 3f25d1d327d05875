"""Turns consecutive readings and events into few bytes, and back without changing one bit.

The layout is columnar. A dictionary names each series (one point of one device) once; a batch then holds,
for all readings in their order: which series, when, how good; and for each series its values, as scaled
integers where every value is a short decimal, as float32 or float64 bits where not. Columns are stored as
differences in byte planes, so that zstd finds long runs of zeros. Nothing is rounded: a column is scaled
only when dividing gives back the very same floats.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import sub
from typing import Any

import msgspec
import zstandard

from models.errors import BadInput
from models.packing import differences, pack, reinterpret, sums, unpack
from models.reading import Event, Item, Quality, Reading, Reason
from models.vocabulary import NAMES

MAX_ITEMS = 1 << 20
MAX_UNPACKED_BYTES = 64 << 20
MAX_DECIMALS = 9

_VERSION = 1
_FLOAT32, _FLOAT64 = MAX_DECIMALS + 1, MAX_DECIMALS + 2
_POWERS = [10.0**decimals for decimals in range(MAX_DECIMALS + 1)]
_EXACT = 1 << 53  # above this a float no longer holds every integer
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

    count: int  # readings and events together
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
    devices: list[str]
    names: list[str]
    series_device: bytes  # index into devices, by series
    series_name: bytes
    order: bytes  # series index of each reading, as the difference to one after the last
    codes: bytes  # one byte a reading: quality, reason, whether there is a value
    run_length: bytes  # consecutive readings share their times: they came in one reply
    run_measured: bytes
    run_lag: bytes  # received minus measured
    encodings: bytes  # one byte a series, in the order of `_alike`: decimals, or float32, or float64
    first_scaled: bytes
    next_scaled: bytes
    float32: bytes
    float64: bytes
    event_offset: bytes
    events: list[Event]


_dictionary = zstandard.ZstdCompressionDict(
    b"".join(msgspec.msgpack.encode(name) for name in NAMES), dict_type=zstandard.DICT_TYPE_RAWCONTENT
)
_dictionary.precompute_compress(level=_ZSTD_LEVEL)
_packer = msgspec.msgpack.Encoder()
_unpacker = msgspec.msgpack.Decoder(_Packed)


def encode_items(items: Sequence[Item]) -> bytes:
    """At most `MAX_ITEMS` readings and events, compressed. `decode_items` gives back equal items."""
    if len(items) > MAX_ITEMS:
        raise ValueError(f"{len(items)} items in one batch; at most {MAX_ITEMS}")
    readings = [item for item in items if item.__class__ is Reading]
    event_at = [i for i, item in enumerate(items) if item.__class__ is Event]

    series: dict[tuple[str, str], int] = {}
    order = [series.setdefault((r.device_id, r.point), len(series)) for r in readings]
    values: list[list[float]] = [[] for _ in series]
    for index, reading in zip(order, readings, strict=True):
        if reading.value is not None:
            values[index].append(reading.value)
    devices = {device: None for device, _ in series}
    names = {name: None for _, name in series}
    device_number = {device: i for i, device in enumerate(devices)}
    name_number = {name: i for i, name in enumerate(names)}
    runs = [
        (*times, sum(1 for _ in run))
        for times, run in groupby((r.measured_ms, r.received_ms) for r in readings)
    ]

    packed = _Packed(
        version=_VERSION,
        count=len(items),
        devices=list(devices),
        names=list(names),
        series_device=pack(differences([device_number[device] for device, _ in series])),
        series_name=pack(differences([name_number[name] for _, name in series])),
        order=pack([index - last - 1 for last, index in pairwise([-1, *order])]),
        codes=bytes([r.quality << 6 | r.reason << 1 | (r.value is not None) for r in readings]),
        run_length=pack([length for _, _, length in runs]),
        run_measured=pack(differences([measured for measured, _, _ in runs])),
        run_lag=pack([received - measured for measured, received, _ in runs]),
        event_offset=pack(differences(event_at)),
        events=[item for item in items if item.__class__ is Event],
        **_encode_values([values[index] for index in _alike([name_number[name] for _, name in series])]),
    )
    compressor = zstandard.ZstdCompressor(dict_data=_dictionary)
    return compressor.compress(_packer.encode(packed))


def decode_items(data: bytes) -> list[Item]:
    """Raise BatchMalformed for anything that `encode_items` did not make."""
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
    return [item for item in items if item is not None]


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
    packed = _unpacker.decode(zstandard.ZstdDecompressor(dict_data=_dictionary).decompress(data))
    if packed.version != _VERSION:
        raise BatchMalformed(f"version {packed.version}; this side reads version {_VERSION}")
    count = len(packed.codes)
    if packed.count > MAX_ITEMS or packed.count != count + len(packed.events):
        raise BatchMalformed(
            f"says {packed.count} items, holds {count} readings and {len(packed.events)} events"
        )

    series_count = len(packed.encodings)
    device_index = sums(unpack(packed.series_device, series_count))
    name_index = sums(unpack(packed.series_name, series_count))
    _within(device_index, len(packed.devices))
    _within(name_index, len(packed.names))
    series = [
        (packed.devices[device], packed.names[name])
        for device, name in zip(device_index, name_index, strict=True)
    ]
    if len(set(series)) != series_count:
        raise BatchMalformed("names a series twice")

    order = sums([step + 1 for step in unpack(packed.order, count)], start=-1)
    _within(order, series_count)
    quality = [code >> 6 for code in packed.codes]
    reason = [code >> 1 & 31 for code in packed.codes]
    _within(quality, len(_QUALITIES))
    _within(reason, len(_REASONS))
    present = [index for index, code in zip(order, packed.codes, strict=True) if code & 1]
    alike = _alike(name_index)
    columns = dict(zip(alike, map(iter, _decode_values(packed, alike, present)), strict=True))
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
    _within(event_at, packed.count)
    taken = set(event_at)
    if len(taken) != len(event_at):
        raise BatchMalformed("puts two events in one place")
    offset = [i for i in range(packed.count) if i not in taken] if taken else list(range(count))
    return Columns(
        count=packed.count,
        series=series,
        offset=offset,
        series_index=order,
        value=value,
        quality=quality,
        reason=reason,
        measured_ms=measured_ms,
        received_ms=received_ms,
        events=list(zip(event_at, packed.events, strict=True)),
    )


def _alike(names: list[int]) -> list[int]:
    """The series with those of the same name side by side, whose values differ least."""
    return sorted(range(len(names)), key=names.__getitem__)


def _encode_values(values: list[list[float]]) -> dict[str, Any]:
    encodings = bytearray()
    firsts: list[int] = []
    nexts: list[int] = []
    float32: list[int] = []
    float64: list[int] = []
    for column in values:
        scaled = _scaled(column)
        if scaled is not None:
            decimals, integers = scaled
            encodings.append(decimals)
            firsts += integers[:1]
            nexts += map(sub, integers[1:], integers)
        elif array("f", column).tolist() == column:
            encodings.append(_FLOAT32)
            float32 += differences(reinterpret("f", column, "I"))
        else:
            encodings.append(_FLOAT64)
            float64 += reinterpret("d", column, "q")
    return {
        "encodings": bytes(encodings),
        "first_scaled": pack(differences(firsts)),
        "next_scaled": pack(nexts),
        "float32": pack(float32),
        "float64": pack(float64),
    }


def _decode_values(packed: _Packed, alike: list[int], present: list[int]) -> list[list[float]]:
    counted = Counter(present)
    sizes = [counted[index] for index in alike]
    if any(encoding > _FLOAT64 for encoding in packed.encodings):
        raise BatchMalformed("unknown encoding of values")
    firsts = iter(sums(unpack(packed.first_scaled)))
    nexts = unpack(packed.next_scaled)
    float32 = unpack(packed.float32)
    float64 = unpack(packed.float64)
    at_next = at_32 = at_64 = 0
    columns: list[list[float]] = []
    for encoding, size in zip(packed.encodings, sizes, strict=True):
        if size == 0:
            columns.append([])
        elif encoding == _FLOAT32:
            columns.append(reinterpret("I", sums(float32[at_32 : at_32 + size]), "f"))
            at_32 += size
        elif encoding == _FLOAT64:
            columns.append(reinterpret("q", float64[at_64 : at_64 + size], "d"))
            at_64 += size
        else:
            power = _POWERS[encoding]
            integers = sums(nexts[at_next : at_next + size - 1], start=next(firsts), keep_start=True)
            columns.append([integer / power for integer in integers])
            at_next += size - 1
        if len(columns[-1]) != size:
            raise BatchMalformed("has fewer values than readings")
    if (at_next, at_32, at_64) != (len(nexts), len(float32), len(float64)) or next(firsts, None) is not None:
        raise BatchMalformed("has more values than readings")
    return columns


def _scaled(column: list[float]) -> tuple[int, list[int]] | None:
    """The fewest decimals with which every value is an integer, and these; None if there are none."""
    if not all(map(math.isfinite, column)):
        return None
    if not all(column) and any(math.copysign(1.0, value) < 0 for value in column if value == 0):
        return None  # an integer has no -0
    decimals = 0
    for value in column:  # most columns are settled by looking at each value once
        while round(value * _POWERS[decimals]) / _POWERS[decimals] != value:
            decimals += 1
            if decimals > MAX_DECIMALS:
                return None
    power = _POWERS[decimals]
    if max(map(abs, column), default=0.0) * power >= _EXACT:
        return None
    integers = [round(value * power) for value in column]
    if [integer / power for integer in integers] != column:
        return None
    return decimals, integers


def _within(indices: list[int], limit: int) -> None:
    if indices and not (min(indices) >= 0 and max(indices) < limit):
        raise BatchMalformed("points to something that is not in it")
