"""What a message about an alert says: as data for programs, as subject and text for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Row

from models.times import utc_text

Language = Literal["zh", "en"]

_STATES: Final = {
    "firing": {"zh": "告警", "en": "Alert"},
    "resolved": {"zh": "已解除", "en": "Resolved"},
}
_SEVERITIES: Final = {
    "warning": {"zh": "警告", "en": "warning"},
    "critical": {"zh": "严重", "en": "critical"},
}
_LABELS: Final = {
    "site": {"zh": "站点", "en": "Site"},
    "severity": {"zh": "级别", "en": "Severity"},
    "opened": {"zh": "开始", "en": "Since"},
    "resolved": {"zh": "结束", "en": "Until"},
    "by": {"zh": "关闭者", "en": "Closed by"},
    "number": {"zh": "编号", "en": "Number"},
}


def new_message(row: Row[Any], *, by: str) -> dict[str, Any]:
    """What the outbox keeps: the alert as it was when it changed. `row` has the site's facts too."""
    return {
        "state": row.state,
        "by": by,
        "site": row.site_code,
        "site_name": row.site_name,
        "timezone": row.timezone,
        "alert": row.id,
        "condition": row.condition,
        "detector": row.detector,
        "severity": row.severity,
        "opened_at": utc_text(row.opened_ms),
        "resolved_at": None if row.resolved_ms is None else utc_text(row.resolved_ms),
        "data": row.data,
    }


def subject_of(message: Mapping[str, Any], language: Language) -> str:
    """One line: state, site and title."""
    state = _STATES[message["state"]][language]
    return f"[{state}] {message['site_name']}: {message['data']['title'][language]}"


def text_of(message: Mapping[str, Any], first: Language) -> str:
    """The whole message in both languages, `first` above the other."""
    second: Language = "en" if first == "zh" else "zh"
    return f"{_text(message, first)}\n\n— — —\n\n{_text(message, second)}\n"


def _text(message: Mapping[str, Any], language: Language) -> str:
    zone = message["timezone"]

    def time(text: str) -> str:
        return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} ({zone})"

    def line(label: str, value: object) -> str:
        return f"{_LABELS[label][language]}: {value}"

    lines = [
        message["data"]["title"][language],
        message["data"]["text"][language],
        "",
        line("site", f"{message['site_name']} ({message['site']})"),
        line("severity", _SEVERITIES[message["severity"]][language]),
        line("opened", time(message["opened_at"])),
    ]
    if message["resolved_at"] is not None:
        lines += [line("resolved", time(message["resolved_at"])), line("by", message["by"])]
    lines.append(line("number", f"{message['site']}/{message['alert']}"))
    return "\n".join(lines)
