"""Replies that no reader may take: made from the right one, visibly wrong."""

from simulators.modbus.frames import HEADER

_GARBLED_WAYS = 4


def foreign_unit(frame: bytes) -> bytes:
    """The same answer from a neighbour on the line."""
    transaction, protocol, length, unit = HEADER.unpack_from(frame)
    return HEADER.pack(transaction, protocol, length, unit % 247 + 1) + frame[HEADER.size :]


def foreign_transaction(frame: bytes) -> bytes:
    """The same answer to another question: far from the numbers that the reader uses next."""
    transaction, protocol, length, unit = HEADER.unpack_from(frame)
    return HEADER.pack(transaction ^ 0x8000, protocol, length, unit) + frame[HEADER.size :]


def truncated(frame: bytes) -> bytes:
    """The first half, at least the header: the length promises more than will come."""
    return frame[: max(HEADER.size, len(frame) // 2)]


def garbled(frame: bytes, roll: float) -> bytes:
    """Wrong in protocol number, length, function code or byte count, as `roll` in [0, 1) chooses.

    Never in the data: TCP guards them, so no reader would expect it and none could see it.
    """
    wrong = bytearray(frame)
    way = int(roll * _GARBLED_WAYS)
    if way == 0:
        wrong[2] ^= 0x5A
    elif way == 1:
        wrong[5] = (wrong[5] + 5) & 0xFF  # the reader waits for bytes that never come
    elif way == 2 or len(wrong) == HEADER.size + 2:  # an exception has no byte count
        wrong[7] ^= 0x15
    else:
        wrong[8] ^= 0x55
    return bytes(wrong)
