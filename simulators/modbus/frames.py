"""Modbus TCP frames, from the MODBUS Application Protocol and the Messaging on TCP/IP specifications."""

import struct
from typing import NamedTuple

HEADER = struct.Struct(">HHHB")  # transaction, protocol (0), length of what follows it, unit
MAX_PDU = 253

READ_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
"""The table that each reading function code reads."""

WRITE_TABLES = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
"""The table that each writing function code writes."""

IDENTIFY = 0x2B

MAX_BITS = 2000
MAX_REGISTERS = 125
MAX_WRITE_BITS = 1968
MAX_WRITE_REGISTERS = 123

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


class Write(NamedTuple):
    """What a writing request wants the table to hold, from `first` on: registers, or bits as 0 and 1."""

    table: str
    first: int
    values: tuple[int, ...]


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


def asked_for(
    pdu: bytes, *, max_registers: int = MAX_REGISTERS, max_bits: int = MAX_BITS
) -> Read | Write | int:
    """What a request wants to read or write, or the exception code that refuses it.

    Functions 1 to 6, 15 and 16; all others are refused as illegal.
    """
    if pdu[0] in WRITE_TABLES:
        return _write(pdu)
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


def _write(pdu: bytes) -> Write | int:
    table = WRITE_TABLES[pdu[0]]
    if len(pdu) < 5:
        return ILLEGAL_VALUE
    first, word = struct.unpack(">HH", pdu[1:5])
    if pdu[0] == 5:
        if len(pdu) != 5 or word not in (0x0000, 0xFF00):
            return ILLEGAL_VALUE
        return Write(table, first, (word >> 8 & 1,))
    if pdu[0] == 6:
        return Write(table, first, (word,)) if len(pdu) == 5 else ILLEGAL_VALUE
    is_bits = pdu[0] == 15
    size = (word + 7) // 8 if is_bits else 2 * word
    most = MAX_WRITE_BITS if is_bits else MAX_WRITE_REGISTERS
    if not 1 <= word <= most or len(pdu) != 6 + size or pdu[5] != size:
        return ILLEGAL_VALUE
    if first + word > 0x10000:
        return ILLEGAL_ADDRESS
    content = pdu[6:]
    if is_bits:
        return Write(table, first, tuple(content[n // 8] >> n % 8 & 1 for n in range(word)))
    return Write(table, first, struct.unpack(f">{word}H", content))


def written(pdu: bytes) -> bytes:
    """The reply to a write that was done: functions 5 and 6 say it again, 15 and 16 what and how many."""
    return pdu[:5]


def identification(pdu: bytes, said: tuple[str, str, str] | None) -> bytes | int:
    """The reply to function 43, type 14, or the code that refuses it. `said`: vendor, product, revision."""
    if said is None or len(pdu) != 4 or pdu[1] != 0x0E:
        return ILLEGAL_FUNCTION
    code, first = pdu[2], pdu[3]
    if code not in (1, 4):  # the basic ones as a stream, or one of them
        return ILLEGAL_VALUE
    if first > 2:
        return ILLEGAL_ADDRESS
    chosen = [first] if code == 4 else range(first, 3)
    objects = b"".join(bytes((n, len(said[n].encode()))) + said[n].encode() for n in chosen)
    return bytes((IDENTIFY, 0x0E, code, 0x81, 0, 0, len(chosen))) + objects


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
