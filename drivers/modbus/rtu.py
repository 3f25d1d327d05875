"""RTU frames: unit, function code, data, CRC. Pure; the same on a serial line and through a serial server.

The standard ends a frame by silence, which neither USB adapters nor TCP keep. So a frame is known here by
its length and its checksum, wherever among noise it stands, and is always taken as a whole: what lies
inside of one frame is never looked at as another one.

Source: MODBUS over Serial Line, specification and implementation guide V1.02, 2.5.1 and 6.2.2; MODBUS
Application Protocol V1.1b3, 6.
"""

import struct
from array import array
from functools import cache
from typing import Final

from drivers.line import Found, Look
from drivers.modbus.link import Question

SHORTEST: Final = 4
READ_DEVICE_IDENTIFICATION: Final = 0x2B

_EXCEPTION_SIZE: Final = 5
_REQUEST_SIZE: Final = 8  # of functions 1 to 6; the replies of 5, 6, 15 and 16 have it too


def crc(data: bytes) -> bytes:
    """The checksum of a frame, as it follows on the wire."""
    table = _table()
    value = 0xFFFF
    even = len(data) & ~1
    for pair in struct.unpack_from(f"<{even >> 1}H", data):
        value = table[value ^ pair]
    if even != len(data):
        value ^= data[-1]
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def frame(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc(body)


def look_for(
    unit: int, question: Question, *, is_echoed: bool = False, is_exception_ours: bool = True
) -> Look:
    """Finds the reply to a question.

    `is_echoed`: the line is known to repeat what is sent on it, so that the first frame that equals the
    request is no reply. `is_exception_ours`: an exception can only be the reply to this question, and
    not a late one to another; otherwise exceptions are passed over.
    """
    request = frame(unit, question.pdu)
    normal = bytes((unit,)) + question.begins
    size = 1 + question.size + 2 if question.size else 0
    exception = bytes((unit, question.function | 0x80))
    may_equal_request = question.begins == question.pdu

    def answers(whole: bytes) -> bool:
        if whole.startswith(normal) and (not size or len(whole) == size):
            return True
        return is_exception_ours and len(whole) == _EXCEPTION_SIZE and whole.startswith(exception)

    def look(heard: bytes) -> Found:
        strays: list[bytes] = []
        noise_from = at = 0
        echo_is_due = is_echoed or not may_equal_request
        unfinished = -1  # where what may be a longer frame begins
        while len(heard) - at >= SHORTEST:
            sizes = _sizes(heard, at)
            whole = _whole(heard, at, sizes)
            if not whole:
                if unfinished < 0 and any(at + size > len(heard) for size in sizes):
                    unfinished = at
                at += 1
                continue
            is_echo = echo_is_due and whole == request
            if is_echo:
                echo_is_due = not may_equal_request
            is_answer = answers(whole) and not is_echo
            if unfinished < 0:
                strays += filter(None, (heard[noise_from:at],))
                at = noise_from = at + len(whole)
                if is_answer:
                    return Found(whole, tuple(strays), heard[at:])
                strays.append(whole)
            elif is_answer:
                strays += filter(None, (heard[noise_from:unfinished],))
                return Found(None, tuple(strays), heard[unfinished:], likely=whole)
            else:
                at += len(whole)
        rest_from = at if unfinished < 0 else unfinished
        strays += filter(None, (heard[noise_from:rest_from],))
        return Found(None, tuple(strays), heard[rest_from:])

    return look


def unit_of(whole: bytes) -> int | None:
    """Whose frame this is; None when it is no whole frame with a right checksum."""
    return whole[0] if len(whole) >= SHORTEST and crc(whole[:-2]) == whole[-2:] else None


def _whole(heard: bytes, at: int, sizes: tuple[int, ...]) -> bytes:
    for size in sizes:
        candidate = heard[at : at + size]
        if len(candidate) == size and crc(candidate[:-2]) == candidate[-2:]:
            return candidate
    return b""


def _sizes(heard: bytes, at: int) -> tuple[int, ...]:
    """How long a frame that begins there can be, as a reply or as a request; none when it cannot be one."""
    function, third = heard[at + 1], heard[at + 2]
    if 1 <= function <= 4:
        return (3 + third + 2, _REQUEST_SIZE) if third <= 250 else (_REQUEST_SIZE,)
    if function in (5, 6):
        return (_REQUEST_SIZE,)
    if function in (15, 16):
        data_bytes = heard[at + 6] if len(heard) > at + 6 else 0
        return (_REQUEST_SIZE, 7 + data_bytes + 2)
    if function == READ_DEVICE_IDENTIFICATION:
        return (_identification_size(heard, at), 7)
    if 0x81 <= function <= 0xAB:
        return (_EXCEPTION_SIZE,)
    return ()


def _identification_size(heard: bytes, at: int) -> int:
    """Of a reply with identification, as far as that is known; longer than `heard` when it is not yet.

    Unit, 2B, 0E, code, conformity, more, next, count; then for each object id, length and bytes; CRC.
    """
    end = at + 8
    if len(heard) < end:
        return 8 + 2
    for _ in range(heard[at + 7]):
        if len(heard) < end + 2 or end - at > 256:
            return end - at + 2 + 2
        end += 2 + heard[end + 1]
    return end - at + 2


@cache
def _table() -> "array[int]":
    """What 16 bits become in 16 steps of the CRC; made when the first serial line is used."""
    one = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        one.append(value)
    half = [pair >> 8 ^ one[pair & 0xFF] for pair in range(0x10000)]
    return array("H", [value >> 8 ^ one[value & 0xFF] for value in half])
