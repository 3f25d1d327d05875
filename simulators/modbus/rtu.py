"""Modbus RTU frames, from the MODBUS over Serial Line specification."""

import struct
from typing import NamedTuple

MAX_FRAME = 256


class RtuRequest(NamedTuple):
    """One frame from a master."""

    unit: int
    pdu: bytes
    frame: bytes  # as it came


def crc(data: bytes) -> int:
    """CRC-16 with the polynomial A001, bit by bit; the low byte goes first on the wire."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


def frame(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + struct.pack("<H", crc(body))


def take_requests(stream: bytearray) -> list[RtuRequest]:
    """Remove the whole requests from the front of `stream`, with all that is none.

    A device tells frames apart by silence; here they are known by length and checksum. What may still
    become a request stays.
    """
    found = []
    at = 0
    while at < len(stream):
        size = _size(stream, at)
        if size and at + size > len(stream):
            if len(stream) - at < MAX_FRAME:
                break
        elif size and _is_sound(stream[at : at + size]):
            whole = bytes(stream[at : at + size])
            found.append(RtuRequest(whole[0], whole[1:-2], whole))
            del stream[: at + size]
            at = 0
            continue
        at += 1
    del stream[:at]
    return found


def _size(stream: bytearray, at: int) -> int:
    """How long a request that begins there is; 0 when none begins there. Unknown functions end the stream."""
    left = len(stream) - at
    if left < 2:
        return left + 1
    function = stream[at + 1]
    if 1 <= function <= 6:
        return 8
    if function in (15, 16):
        return 9 + stream[at + 6] if left > 6 else left + 1
    if function == 43:
        return 7
    return left if 4 <= left <= MAX_FRAME and _is_sound(stream[at:]) else 0


def _is_sound(whole: bytearray) -> bool:
    return crc(bytes(whole[:-2])) == int.from_bytes(whole[-2:], "little")
