"""Modbus TCP frames, from the MODBUS Application Protocol and the Messaging on TCP/IP specifications."""

import struct
from typing import NamedTuple

HEADER = struct.Struct(">HHHB")  # transaction, protocol (0), length of what follows it, unit
MAX_PDU = 253

READ_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
"""The table that each reading function code reads."""

MAX_BITS = 2000
MAX_REGISTERS = 125

ILLEGAL_FUNCTION = 0x01
ILLEGAL_ADDRESS = 0x02
ILLEGAL_VALUE = 0x03
DEVICE_BUSY = 0x06
NO_PATH = 0x0A
NO_TARGET = 0x0B


class Request(NamedTuple):
    """One frame from a client."""

    transaction: int
    unit: int
    pdu: bytes
    frame: bytes  # as it came

    @property
    def function(self) -> int:
        return self.pdu[0]


class Read(NamedTuple):
    """What a reading request asks for."""

    table: str
    first: int
    size: int  # how many registers or bits


class NotModbus(Exception):
    """The stream cannot be split into frames any more; only a new connection helps."""


def take_requests(stream: bytearray) -> list[Request]:
    """Remove the whole frames from the front of `stream`.

    Frames of another protocol are dropped, as the specification asks. Raises NotModbus when the length
    in a header is impossible.
    """
    found = []
    while len(stream) >= HEADER.size:
        transaction, protocol, length, unit = HEADER.unpack_from(stream)
        if not 2 <= length <= MAX_PDU + 1:
            raise NotModbus(f"a header that announces {length} bytes")
        end = 6 + length
        if len(stream) < end:
            break
        frame = bytes(stream[:end])
        del stream[:end]
        if protocol == 0:
            found.append(Request(transaction, unit, frame[7:], frame))
    return found


def frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    return HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


def exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def asked_for(pdu: bytes, *, max_registers: int = MAX_REGISTERS, max_bits: int = MAX_BITS) -> Read | int:
    """What a request wants to read, or the exception code that refuses it.

    A meter takes no writes: function codes 5, 6, 15 and 16, and all that it does not know, are refused
    as an illegal function.
    """
    table = READ_TABLES.get(pdu[0])
    if table is None:
        return ILLEGAL_FUNCTION
    if len(pdu) != 5:
        return ILLEGAL_VALUE
    first, size = struct.unpack(">HH", pdu[1:])
    most = max_bits if pdu[0] <= 2 else max_registers
    if not 1 <= size <= most:
        return ILLEGAL_VALUE
    if first + size > 0x10000:
        return ILLEGAL_ADDRESS
    return Read(table, first, size)


def answer(function: int, content: bytes) -> bytes:
    """The reply PDU that carries registers or packed bits."""
    return bytes((function, len(content))) + content


def packed_bits(bits: list[bool]) -> bytes:
    """Bits as function codes 1 and 2 send them: the first asked is the lowest of the first byte."""
    content = bytearray((len(bits) + 7) // 8)
    for place, on in enumerate(bits):
        if on:
            content[place // 8] |= 1 << place % 8
    return bytes(content)
