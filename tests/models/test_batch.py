"""A batch comes back bit for bit, and bytes that are no batch are refused."""

import hashlib
import math
import random
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batch import MAX_UNPACKED_BYTES, BatchMalformed, decode_columns, decode_items, encode_items
from models.reading import Event, Item, Quality, Reading, Reason
from models.vocabulary import NAMES

YEAR_2106_MS = 4_294_967_296_000
times = st.integers(-YEAR_2106_MS, YEAR_2106_MS)
bits_of_any_float = st.integers(0, 2**64 - 1).map(
    lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]
)
values = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(width=32),
    bits_of_any_float,
    st.decimals(-(10**7), 10**7, places=2).map(float),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 2.0**53, 2.0**53 + 2, 1e300]),
)
names = st.text(min_size=1, max_size=12)
readings = st.builds(
    Reading,
    device_id=names,
    point=names,
    value=values,
    quality=st.sampled_from(Quality),
    reason=st.sampled_from(Reason),
    measured_ms=times,
    received_ms=times,
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    Event,
    device_id=names,
    kind=names,
    data=st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    measured_ms=times,
    received_ms=times,
)
batches = st.lists(st.one_of(readings, readings, readings, events), max_size=60)
with_holes = st.lists(st.one_of(readings, readings, events, st.none()), max_size=60)


def exactly(items: Sequence[Item | None]) -> list[object]:
    """Items so that only the very same bits are equal: NaN to itself, and -0 not to 0."""
    return [
        (
            item.device_id,
            item.point,
            _bits(item.value),
            item.quality,
            item.reason,
            item.measured_ms,
            item.received_ms,
        )
        if isinstance(item, Reading)
        else item
        for item in items
    ]


def _bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


@given(st.one_of(batches, with_holes))
@settings(max_examples=300, deadline=None)
def test_what_was_encoded_comes_back_bit_for_bit_and_in_order(items: list[Item | None]) -> None:
    assert exactly(decode_items(encode_items(items))) == exactly(items)


@given(st.one_of(batches, with_holes), st.booleans())
@settings(deadline=None)
def test_columns_say_the_same_as_items(items: list[Item | None], earlier: bool) -> None:
    columns = decode_columns(encode_items(items, earlier=earlier))
    assert (columns.count, columns.earlier) == (len(items), earlier)
    rebuilt: dict[int, Item] = dict(columns.events)
    for i, offset in enumerate(columns.offset):
        device_id, point = columns.series[columns.series_index[i]]
        rebuilt[offset] = Reading(
            device_id=device_id,
            point=point,
            value=columns.value[i],
            quality=Quality(columns.quality[i]),
            reason=Reason(columns.reason[i]),
            measured_ms=columns.measured_ms[i],
            received_ms=columns.received_ms[i],
        )
    assert exactly([rebuilt.get(i) for i in range(len(items))]) == exactly(items)


def meter_readings(count: int) -> list[Item]:
    """Polls of meters with 20 points, as an agent makes them: times per reply, short decimals, counters."""
    chance = random.Random(7)
    energy = 123_456.78
    made: list[Item] = []
    for sweep in range(count // 20):
        at = 1_772_400_000_000 + sweep * 3_000 + chance.randrange(5)
        energy = round(energy + chance.random() / 10, 2)
        for point in range(20):
            value = energy if point == 19 else round(chance.gauss(230, 1), 1)
            device_id = f"meter-{sweep % 20:02}"
            made.append(
                Reading(
                    device_id=device_id, point=f"p{point}", value=value, measured_ms=at, received_ms=at + 3
                )
            )
    return made


def test_a_hundred_thousand_readings_come_back_and_take_under_three_bytes_each() -> None:
    items = meter_readings(100_000)
    data = encode_items(items)
    assert decode_items(data) == items
    assert len(data) < 3 * len(items)


def test_one_reading_comes_back() -> None:
    items = meter_readings(20)[:1]
    assert decode_items(encode_items(items)) == items


def test_an_event_in_chinese_comes_back_between_the_readings_around_it() -> None:
    before, after = meter_readings(20)[:2]
    event = Event(
        device_id="door-1",
        kind="door.forced",
        data={"文": "一号楼东门被强行打开"},
        measured_ms=0,
        received_ms=1,
    )
    assert decode_items(encode_items([before, event, after])) == [before, event, after]


@given(batches.filter(bool), st.data())
@settings(deadline=None)
def test_a_truncated_batch_is_refused(items: list[Item], data: st.DataObject) -> None:
    encoded = encode_items(items)
    with pytest.raises(BatchMalformed):
        decode_items(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused_and_never_crash(noise: bytes) -> None:
    with pytest.raises(BatchMalformed):
        decode_items(zstandard.compress(noise))
    with pytest.raises(BatchMalformed):
        decode_items(noise)


def unpacked(items: list[Item]) -> list[Any]:
    """The columns of a batch, as somebody finds them who knows how it is compressed."""
    fields: list[Any] = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(encode_items(items)))
    return fields


@given(batches.filter(bool), st.data())
@settings(max_examples=300, deadline=None)
def test_a_batch_changed_inside_its_compression_is_refused_or_whole(
    items: list[Item], data: st.DataObject
) -> None:
    """Who can sign may still send nonsense: it must be told apart from data without a crash."""
    fields = unpacked(items)
    at = data.draw(st.integers(0, len(fields) - 1))
    other = unpacked(data.draw(batches))
    fields[at] = data.draw(st.sampled_from([other[at], b"", b"\x09", b"\x01", 2**63, [], ["x"], None, -1]))
    changed = zstandard.compress(msgspec.msgpack.encode(fields))
    try:
        decoded = decode_items(changed)
    except BatchMalformed:
        return
    assert exactly(decode_items(encode_items(decoded))) == exactly(decoded)


def test_a_small_batch_that_unpacks_to_gigabytes_is_refused_before_it_does() -> None:
    bomb = zstandard.compress(bytes(MAX_UNPACKED_BYTES + 1))
    with pytest.raises(BatchMalformed, match="unpacks to"):
        decode_items(bomb)


def test_a_batch_that_hides_its_size_is_refused() -> None:
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
    with pytest.raises(BatchMalformed):
        decode_items(hidden)


def test_the_vocabulary_begins_with_the_names_that_stored_batches_were_made_with() -> None:
    """A name that has moved gives readings in stored batches to another point."""
    assert len(set(NAMES)) == len(NAMES)
    assert (
        hashlib.sha256("\n".join(NAMES[:72]).encode()).hexdigest()
        == "e181710942cda4501978f9e3b7e92d6b1a8c8c6bd7b45eec39653488ea0a5d87"
    )


def test_a_sweep_of_standard_points_takes_under_four_bytes_each_though_nothing_repeats() -> None:
    chance = random.Random(3)
    items: list[Item] = [
        Reading(
            device_id=f"meter-{meter}",
            point=name,
            value=round(chance.gauss(230, 40), 1),
            measured_ms=1_772_400_000_000 + meter,
            received_ms=1_772_400_000_004 + meter,
        )
        for meter in range(20)
        for name in NAMES[:30]
    ]
    assert len(encode_items(items)) < 2 * len(items)


@pytest.mark.parametrize("interleaved", [False, True])
def test_devices_of_several_types_cost_little_more_than_their_values(interleaved: bool) -> None:
    """Each type has its own points and decimals; what all devices of a type share is written once."""
    chance = random.Random(4)
    items: list[Item] = [
        Reading(
            device_id=f"meter-{meter}",
            point=name,
            value=round(230 + chance.random() / 4, 1 + meter % 3),  # 1, 5 or 8 bits
            measured_ms=1_772_400_000_000,
            received_ms=1_772_400_000_004,
        )
        for meter in range(60)
        for name in NAMES[meter % 3 : 30 + meter % 3]
    ]
    if interleaved:
        items.sort(key=lambda item: item.point if isinstance(item, Reading) else "")
    assert decode_items(encode_items(items)) == items
    assert len(encode_items(items)) < 1.5 * len(items)


@given(st.lists(st.tuples(st.integers(0, 9), st.decimals(-(10**9), 10**9, places=9).map(float)), max_size=40))
def test_devices_with_different_decimals_share_a_row(rows: list[tuple[int, float]]) -> None:
    items: list[Item] = [
        Reading(
            device_id=f"d{n}", point=f"p{n % 3}", value=round(value, decimals), measured_ms=0, received_ms=0
        )
        for n, (decimals, value) in enumerate(rows)
        for n in (n, n + 3)
    ]
    assert exactly(decode_items(encode_items(items))) == exactly(items)
