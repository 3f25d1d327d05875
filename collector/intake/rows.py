"""Turns the columns of an opened batch into what the tables take, and sets aside what cannot be right."""

from dataclasses import dataclass, field
from itertools import compress
from math import isfinite
from typing import Any

import msgspec

from models.batch import Columns
from models.inventory import DEVICE_DESCRIBED, DeviceDescription
from models.reading import Event, Quality
from models.times import DAY_MS, HOUR_MS

MAX_AHEAD_MS = 5 * 60_000  # a gateway's clock is kept by NTP to far less
MAX_AGE_MS = (
    400 * DAY_MS
)  # more than a year: a gateway may have been out of reach since the last heating season

TIME_AHEAD = "time-ahead"
TIME_TOO_OLD = "time-too-old"
NOT_FINITE = "not-finite"
CONTRADICTION = "value-contradicts-quality"
UNREADABLE = "unreadable"
NO_DESCRIPTION = "not-a-description"


@dataclass(frozen=True, slots=True)
class SetAside:
    """An item for the quarantine."""

    seq: int
    reason: str
    item: str  # JSON


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event for the table."""

    seq: int
    event: Event
    data: str  # JSON


@dataclass(slots=True)
class Rows:
    """What one batch adds to the tables. The lists of readings are parallel."""

    series: list[tuple[str, str]]
    series_index: list[int]
    measured_ms: list[int]
    received_ms: list[int]
    value: list[float | None]
    quality: list[int]
    reason: list[int]
    seq: list[int]
    newest: dict[int, int]  # series index: position of its newest reading
    hours: set[tuple[int, int]]  # (series index, start of the hour)
    earlier: bool  # the items had their numbers in an earlier epoch: some may be stored already
    events: list[EventRow] = field(default_factory=list)
    descriptions: list[tuple[int, DeviceDescription]] = field(default_factory=list)  # (measured_ms, …)
    set_aside: list[SetAside] = field(default_factory=list)


def make_rows(columns: Columns, *, first_seq: int, now_ms: int) -> Rows:
    """Nothing is dropped: each item is a reading, an event or set aside."""
    oldest, latest = now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS
    set_aside: list[SetAside] = []
    if not _all_right(columns, oldest, latest):
        set_aside = _take_out(columns, first_seq, oldest, latest)
    if columns.offset and columns.offset[-1] - columns.offset[0] + 1 == len(columns.offset):
        seq = list(range(first_seq + columns.offset[0], first_seq + columns.offset[-1] + 1))
    else:
        seq = [first_seq + offset for offset in columns.offset]
    measured = columns.measured_ms
    # By time, and of two at the same time the first last: the table keeps the first of two as well.
    order = sorted(range(len(measured) - 1, -1, -1), key=measured.__getitem__)
    rows = Rows(
        series=columns.series,
        series_index=columns.series_index,
        measured_ms=measured,
        received_ms=columns.received_ms,
        value=columns.value,
        quality=columns.quality,
        reason=columns.reason,
        seq=seq,
        newest=dict(zip(map(columns.series_index.__getitem__, order), order, strict=True)),
        hours={(index, ms - ms % HOUR_MS) for index, ms in zip(columns.series_index, measured, strict=True)},
        earlier=columns.earlier,
        set_aside=set_aside,
    )
    for offset, event in columns.events:
        _add_event(rows, first_seq + offset, event, oldest, latest)
    return rows


def _all_right(columns: Columns, oldest: int, latest: int) -> bool:
    """Whether no reading needs a closer look. Runs over whole columns: nearly every batch ends here."""
    if not columns.measured_ms:
        return True
    return (
        oldest <= min(columns.measured_ms)
        and oldest <= min(columns.received_ms)
        and max(columns.measured_ms) <= latest
        and max(columns.received_ms) <= latest
        and isfinite(sum(filter(None, columns.value)))
        and None not in columns.value
        and Quality.BAD not in columns.quality
    )


def _take_out(columns: Columns, first_seq: int, oldest: int, latest: int) -> list[SetAside]:
    """Remove the wrong readings from `columns`."""
    taken: list[SetAside] = []
    keep: list[bool] = []
    for offset, index, value, quality, reason, measured_ms, received_ms in zip(
        columns.offset,
        columns.series_index,
        columns.value,
        columns.quality,
        columns.reason,
        columns.measured_ms,
        columns.received_ms,
        strict=True,
    ):
        wrong = _wrong_time(measured_ms, received_ms, oldest, latest)
        if wrong is None and value is not None and not isfinite(value):
            wrong = NOT_FINITE
        if wrong is None and (value is None) is not (quality == Quality.BAD):
            wrong = CONTRADICTION
        keep.append(wrong is None)
        if wrong is not None:
            device_id, point = columns.series[index]
            item = {
                "device_id": device_id,
                "point": point,
                "value": value if value is None or isfinite(value) else str(value),
                "quality": quality,
                "reason": reason,
                "measured_ms": measured_ms,
                "received_ms": received_ms,
            }
            taken.append(SetAside(first_seq + offset, wrong, _json(item)))
    if taken:
        columns.offset = list(compress(columns.offset, keep))
        columns.series_index = list(compress(columns.series_index, keep))
        columns.value = list(compress(columns.value, keep))
        columns.quality = list(compress(columns.quality, keep))
        columns.reason = list(compress(columns.reason, keep))
        columns.measured_ms = list(compress(columns.measured_ms, keep))
        columns.received_ms = list(compress(columns.received_ms, keep))
    return taken


def _add_event(rows: Rows, seq: int, event: Event, oldest: int, latest: int) -> None:
    try:
        data = _json(event.data)
    except (TypeError, ValueError, RecursionError):  # an extension type of msgpack, or nested beyond reason
        item: dict[str, Any] = {"device_id": event.device_id, "kind": event.kind, "data": None}
        rows.set_aside.append(SetAside(seq, UNREADABLE, _json(item)))
        return
    wrong = _wrong_time(event.measured_ms, event.received_ms, oldest, latest)
    if wrong is None and event.kind == DEVICE_DESCRIBED:
        try:
            description = msgspec.convert(event.data, DeviceDescription)
        except msgspec.ValidationError:
            wrong = NO_DESCRIPTION
        else:
            rows.descriptions.append((event.measured_ms, description))
    if wrong is not None:
        item = {
            "device_id": event.device_id,
            "kind": event.kind,
            "data": event.data,
            "measured_ms": event.measured_ms,
            "received_ms": event.received_ms,
        }
        rows.set_aside.append(SetAside(seq, wrong, _json(item)))
        return
    rows.events.append(EventRow(seq, event, data))


def _wrong_time(measured_ms: int, received_ms: int, oldest: int, latest: int) -> str | None:
    if max(measured_ms, received_ms) > latest:
        return TIME_AHEAD
    if min(measured_ms, received_ms) < oldest:
        return TIME_TOO_OLD
    return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
