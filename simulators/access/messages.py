"""The bodies that a controller sends, written out as the vendor draws them."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Literal
from xml.sax.saxutils import escape

from simulators.access.log import Entry

Form = Literal["json", "xml"]
BOUNDARY = "MIME_boundary"

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(range(256)) * 8 + b"\xff\xd9"
"""Begins and ends as a picture does; between, every byte there is."""


def local_text(at_ms: int, offset_ms: int) -> str:
    """A time as a controller with that offset from UTC writes it."""
    zone = timezone(timedelta(milliseconds=offset_ms))
    return datetime.fromtimestamp(at_ms / 1000, zone).isoformat(timespec="seconds")


def event(entry: Entry, *, address: str, offset_ms: int, is_current: bool) -> dict[str, Any]:
    """An event as it is pushed and streamed."""
    inner: dict[str, Any] = {
        "deviceName": "Access Controller",
        "majorEventType": entry.major,
        "subEventType": entry.minor,
        **_who_and_where(entry),
        "serialNo": entry.serial,
        "currentVerifyMode": "cardOrFace",
        "currentEvent": is_current,
        "frontSerialNo": entry.serial - 1,
        "attendanceStatus": "undefined",
        "mask": "no",
        "picturesNumber": 0,
    }
    return {
        "ipAddress": address,
        "portNo": 80,
        "protocol": "HTTP",
        "dateTime": local_text(entry.at_ms, offset_ms),
        "activePostCount": 1,
        "eventType": "AccessControllerEvent",
        "eventState": "active",
        "eventDescription": "Access Controller Event",
        "AccessControllerEvent": inner,
    }


def log_entry(entry: Entry, *, offset_ms: int) -> dict[str, Any]:
    """The same event as a search in the log shows it."""
    return {
        "major": entry.major,
        "minor": entry.minor,
        "time": local_text(entry.at_ms, offset_ms),
        "type": 0,
        **_who_and_where(entry),
        "serialNo": entry.serial,
        "currentVerifyMode": "cardOrFace",
        "mask": "no",
    }


def heartbeat(at_ms: int, *, address: str, offset_ms: int) -> dict[str, Any]:
    """What a stream says when nothing happens: that no video was lost."""
    return {
        "ipAddress": address,
        "portNo": 80,
        "protocol": "HTTP",
        "channelID": 1,
        "dateTime": local_text(at_ms, offset_ms),
        "activePostCount": 1,
        "eventType": "videoloss",
        "eventState": "inactive",
        "eventDescription": "videoloss alarm",
    }


def body(fields: dict[str, Any], form: Form) -> tuple[str, bytes]:
    """The Content-Type and the bytes."""
    if form == "json":
        return 'application/json; charset="UTF-8"', json.dumps(fields, ensure_ascii=False, indent=1).encode()
    document = '<?xml version="1.0" encoding="UTF-8"?>\n' + _element("EventNotificationAlert", fields)
    return 'application/xml; charset="UTF-8"', document.encode()


def part(kind: str, content: bytes, *, name: str = "", with_length: bool = True) -> bytes:
    """One part of a multipart body, with the boundary before it."""
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n"
    if name:
        file = f'; filename="{name}.jpg"' if kind.startswith("image/") else ""
        head += f'Content-Disposition: form-data; name="{name}"{file}\r\n'
    if with_length:
        head += f"Content-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content + b"\r\n"


def with_picture(fields: dict[str, Any], form: Form) -> tuple[str, bytes]:
    """An event with the picture of whoever it was."""
    kind, content = body(fields, form)
    parts = part(kind, content, name="event_log") + part("image/jpeg", JPEG, name="Picture")
    return f"multipart/form-data; boundary={BOUNDARY}", parts + f"--{BOUNDARY}--\r\n".encode()


def _who_and_where(entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if entry.door is not None:
        fields |= {"doorNo": entry.door, "cardReaderNo": 2 * entry.door - 1}
    if entry.person is not None:
        fields |= {"cardNo": entry.person.card, "cardType": 1, "name": entry.person.name}
        fields |= {"employeeNoString": entry.person.number, "userType": "normal"}
    return fields


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        below = "".join(_element(key, item) for key, item in value.items())
        space = ' version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema"' if name[0] == "E" else ""
        return f"<{name}{space}>\n{below}</{name}>\n"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{escape(text)}</{name}>\n"
