"""What a controller says: its messages, JSON or XML, pushed, streamed or from its log, as plain values. Pure.

Only the fields below are looked at. Names, pictures, addresses and whatever else is in a message is never
copied out of it, and a card or employee number leaves this family only as a pseudonym (`normalise`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from drivers.access.errors import BadBody
from drivers.access.xml import read_xml

_MOST_NUMBER: Final = 64  # characters of a card or employee number; the vendor's limit is 32
_MOST_SERIAL: Final = (1 << 53) - 1  # what JSON carries exactly

HEARTBEATS: Final = ("heartbeat", "videoloss")  # the latter with eventState inactive is what the stream sends


@dataclass(frozen=True, slots=True)
class VendorEvent:
    """One event in the words of its vendor."""

    serial: int | None  # of the controller's log; None: it did not say one
    major: int
    minor: int
    at_ms: int | None  # by the controller's clock
    is_current: bool | None  # False: it repeats what happened before; None: it does not say
    door: int | None = None
    reader: int | None = None
    card: str | None = field(default=None, repr=False)
    person: str | None = field(default=None, repr=False)
    offset_min: int = 0  # of the time zone in which the controller told `at_ms`

    @property
    def print(self) -> tuple[int, int, int, int]:
        """What tells it from another event that has the same serial number; see `serials.Print`."""
        return (self.at_ms or 0, self.offset_min, self.major, self.minor)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The controller says that it is there."""

    at_ms: int | None  # by its clock


Heard = VendorEvent | Heartbeat


@dataclass(frozen=True, slots=True)
class Page:
    """A part of what a search in the log found."""

    events: tuple[VendorEvent, ...]
    count: int  # entries in it, also those that are no events of ours
    is_last: bool


def read_message(text: bytes, zone: timezone) -> list[Heard]:
    """What one body or part says; nothing for events of cameras and such.

    `zone` is that of the controller, for times without one. Raises BadBody.
    """
    return [heard for fields in _documents(text) for heard in _heard(fields, zone)]


def read_page(text: bytes, zone: timezone) -> Page:
    """An answer of AcsEvent. Raises BadBody."""
    found = read_json(text).get("AcsEvent")
    if not isinstance(found, dict):
        raise BadBody("no page of a log")
    entries = found.get("InfoList")
    entries = entries if isinstance(entries, list) else []
    events = [_log_entry(entry, zone) for entry in entries if isinstance(entry, dict)]
    is_last = not entries or str(found.get("responseStatusStrg", "")).upper() != "MORE"
    return Page(tuple(event for event in events if event is not None), len(entries), is_last)


def read_json(text: bytes) -> dict[str, Any]:
    """The object that a body is. Raises BadBody."""
    fields = _json(text)
    if not isinstance(fields, dict):
        raise BadBody("not a JSON object")
    return fields


def read_fields(text: bytes) -> dict[str, Any]:
    """The object that a body is, JSON or XML. Raises BadBody."""
    return read_xml(text) if text.lstrip().startswith(b"<") else read_json(text)


def when_ms(text: Any, zone: timezone) -> int | None:
    """An ISO 8601 time in ms since 1970; `zone` holds where it names none. None: it is no time."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def zone_of(text: Any) -> timezone | None:
    """The offset from UTC that a time names; None when it names none."""
    if not isinstance(text, str) or len(text) > 40:
        return None
    try:
        offset = datetime.fromisoformat(text.strip()).utcoffset()
    except ValueError:
        return None
    return None if offset is None or abs(offset) >= timedelta(hours=24) else timezone(offset)


def _documents(text: bytes) -> Iterator[dict[str, Any]]:
    if text.lstrip()[:1] == b"<":
        for below in read_xml(text).values():
            if isinstance(below, dict):
                yield below
        return
    found = _json(text)
    for fields in found if isinstance(found, list) else [found]:
        if not isinstance(fields, dict):
            raise BadBody("not a JSON object")
        yield fields.get("EventNotificationAlert", fields)


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        raise BadBody("not JSON") from None


def _heard(fields: Any, zone: timezone) -> Iterator[Heard]:
    if not isinstance(fields, dict):
        raise BadBody("not an event")
    at_ms = when_ms(fields.get("dateTime"), zone)
    inner = fields.get("AccessControllerEvent")
    if isinstance(inner, dict):
        zone = zone_of(fields.get("dateTime")) or zone
        event = _event(inner, inner.get("majorEventType"), inner.get("subEventType"), at_ms, zone)
        if event is None:
            raise BadBody("an event without a code")
        yield event
    elif str(fields.get("eventType", "")).lower() in HEARTBEATS:
        yield Heartbeat(at_ms)


def _log_entry(entry: dict[str, Any], zone: timezone) -> VendorEvent | None:
    zone = zone_of(entry.get("time")) or zone
    return _event(entry, entry.get("major"), entry.get("minor"), when_ms(entry.get("time"), zone), zone)


def _event(
    fields: dict[str, Any], major: Any, minor: Any, at_ms: int | None, zone: timezone
) -> VendorEvent | None:
    major, minor = _number(major, 0xFFFF), _number(minor, 0xFFFF)
    if major is None or minor is None:
        return None
    serial = _number(fields.get("serialNo"), _MOST_SERIAL)
    return VendorEvent(
        serial=serial or None,  # serials begin at 1; some firmware says 0 for "none"
        major=major,
        minor=minor,
        at_ms=at_ms,
        is_current=_truth(fields.get("currentEvent")),
        door=_number(fields.get("doorNo"), 9999),
        reader=_number(fields.get("cardReaderNo"), 9999),
        card=_identity(fields.get("cardNo")),
        person=_identity(fields.get("employeeNoString")) or _identity(fields.get("employeeNo")),
        offset_min=round(zone.utcoffset(None).total_seconds() / 60),
    )


def _number(value: Any, most: int) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 17:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _identity(value: Any) -> str | None:
    """A card or employee number; what stands for "none" is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if 0 < len(value) <= _MOST_NUMBER and value.strip("0") else None
