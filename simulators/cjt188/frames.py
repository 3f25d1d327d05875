"""CJ/T 188 frames as a meter reads and writes them, from CJ/T 188-2004.

    68  T  A0 … A6  C  L  DI DI SER …  CS  16

Nothing is added to the data. A0 holds the last two digits of the address.
"""

from typing import NamedTuple

READ, READ_ADDRESS = 0x01, 0x03
ANSWER, ABNORMAL = 0x80, 0x40

_FIXED = 13  # 68, T, the address, C, L, CS and 16
_LONGEST = _FIXED + 255


class Request(NamedTuple):
    """A frame from the master."""

    meter_type: int
    address: str  # 14 digits as people write them; A for a wildcard
    control: int
    data: bytes
    frame: bytes


def take_requests(stream: bytearray) -> list[Request]:
    """Remove the requests from `stream`, with everything before them and whatever can become none.

    A meter finds its frame behind any noise, also behind the head of a frame that never ended.
    """
    found: list[Request] = []
    at = 0
    while (at := stream.find(0x68, at)) >= 0:
        size = _FIXED + stream[at + 10] if len(stream) > at + 10 else 0
        whole = bytes(stream[at : at + size])
        if not size or len(whole) < size or sum(whole[:-2]) % 256 != whole[-2] or whole[-1] != 0x16:
            at += 1
            continue
        del stream[: at + size]
        at = 0
        meter_type, address, control, data = parts(whole)
        if control < ANSWER:
            found.append(Request(meter_type, address, control, data, whole))
    del stream[:-_LONGEST]
    return found


def frame(meter_type: int, address: str, control: int, data: bytes) -> bytes:
    """A whole frame; `address` is 14 digits."""
    digits = [int(address[at : at + 2], 16) for at in range(12, -1, -2)]
    content = [0x68, meter_type, *digits, control, len(data), *data]
    return bytes([*content, sum(content) % 256, 0x16])


def parts(whole: bytes) -> tuple[int, str, int, bytes]:
    """Type, address, control code and data of a whole frame."""
    address = "".join(f"{byte:02X}" for byte in reversed(whole[2:9]))
    return whole[1], address, whole[9], whole[11:-2]
