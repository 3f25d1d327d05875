"""Numbers as packed decimal digits, low byte first, and the numbers that a reader takes from them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def packed(number: int, length: int, *, signed: bool = False) -> bytes:
    """The digits in so many bytes; a number that is too large shows the end stop.

    `signed`: the highest bit is the sign. Otherwise nothing is below zero.
    """
    most = 8 * 10 ** (2 * length - 1) - 1 if signed else 10 ** (2 * length) - 1
    size = min(abs(number), most) if signed else max(0, min(number, most))
    content = bytearray(int(f"{size:0{2 * length}d}"[at : at + 2], 16) for at in range(0, 2 * length, 2))
    if signed and number < 0 and size:
        content[0] |= 0x80
    return bytes(reversed(content))


def unpacked(content: bytes, *, signed: bool = False) -> int:
    """The number that `packed` has written."""
    digits = list(reversed(content))
    is_negative = signed and digits[0] >= 0x80
    if is_negative:
        digits[0] -= 0x80
    number = int("".join(f"{byte:02x}" for byte in digits))
    return -number if is_negative else number


def calendar(seconds: int, utc_offset_h: float) -> datetime:
    """What a wall clock shows so many seconds after 1970 (UTC)."""
    return _EPOCH + timedelta(seconds=seconds, hours=utc_offset_h)


def pair(number: int) -> int:
    """Two digits as one byte."""
    return number // 10 * 16 + number % 10
