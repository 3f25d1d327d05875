"""Decimal digits packed two to a byte, low byte first: how meters in China write numbers and dates."""

from collections.abc import Sequence
from datetime import UTC, date, datetime


def number(data: bytes) -> int | None:
    """The number that the digits spell; None when one of them is above 9, or there are none."""
    digits = data[::-1].hex()
    return int(digits) if digits.isdecimal() else None


def signed_number(data: bytes) -> int | None:
    """As `number`, but the highest bit of all is a sign: 1 for less than zero."""
    if not data:
        return None
    size = number(data[:-1] + bytes((data[-1] & 0x7F,)))
    return -size if size is not None and data[-1] & 0x80 else size


def pairs(data: bytes) -> list[int] | None:
    """Each byte as a number up to 99; None when a digit is above 9."""
    digits = data.hex()
    return [int(digits[at : at + 2]) for at in range(0, len(digits), 2)] if digits.isdecimal() else None


def packed(value: int, length: int) -> bytes:
    """The digits of a number from 0 on in so many bytes. Raises ValueError when they do not suffice."""
    digits = f"{value:0{2 * length}d}"
    if value < 0 or len(digits) > 2 * length:
        raise ValueError(f"{value} does not fit into {2 * length} digits")
    return bytes.fromhex(digits)[::-1]


def day_number(year: int, month: int, day: int) -> int | None:
    """Days since 1970, of a day on any calendar; None when there is no such day."""
    try:
        return date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None


def seconds_of_day(hour: int, minute: int, second: int) -> int | None:
    """Seconds since midnight; None when there is no such time."""
    return 3600 * hour + 60 * minute + second if hour < 24 and minute < 60 and second < 60 else None


def calendar_seconds(fields: Sequence[int], utc_offset_h: float) -> int | None:
    """Seconds since 1970 (UTC) of second, minute, hour, day, month and year; None: no such moment."""
    second, minute, hour, day, month, year = fields
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return round(local.timestamp() - 3600 * utc_offset_h)
