"""DL/T 645 frames as a meter reads and writes them, from DL/T 645-2007 chapter 5 and 7.

    68  A0 … A5  68  C  L  DATA  CS  16

Every byte of DATA travels with 33H added. A0 holds the last two digits of the address.
"""

from typing import NamedTuple

READ_1997, READ_2007 = 0x01, 0x11
FOLLOWING_1997, FOLLOWING_2007 = 0x02, 0x12
READ_ADDRESS = 0x13
BROADCAST_TIME = 0x08

ANSWER, ABNORMAL, HAS_MORE = 0x80, 0x40, 0x20
NO_SUCH_DATA = 0x02  # the bit of the error word

_OFFSET = 0x33
_FIXED = 12  # both 68, address, C, L, CS and 16
_LONGEST = _FIXED + 255


class Request(NamedTuple):
    """A frame from the master."""

    address: str  # 12 digits as people write them; A for a wildcard
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
        size = _FIXED + stream[at + 9] if len(stream) > at + 9 else 0
        whole = bytes(stream[at : at + size])
        if not size or len(whole) < size or whole[7] != 0x68 or not _is_sound(whole):
            at += 1
            continue
        del stream[: at + size]
        at = 0
        address, control, data = parts(whole)
        if control < ANSWER:
            found.append(Request(address, control, data, whole))
    del stream[:-_LONGEST]
    return found


def _is_sound(whole: bytes) -> bool:
    return sum(whole[:-2]) % 256 == whole[-2] and whole[-1] == 0x16


def frame(address: str, control: int, data: bytes) -> bytes:
    """A whole frame; `address` is 12 digits."""
    digits = [int(address[at : at + 2], 16) for at in range(10, -1, -2)]
    shifted = [(byte + _OFFSET) % 256 for byte in data]
    content = [0x68, *digits, 0x68, control, len(data), *shifted]
    return bytes([*content, sum(content) % 256, 0x16])


def parts(whole: bytes) -> tuple[str, int, bytes]:
    """Address, control code and data of a whole frame."""
    address = "".join(f"{byte:02X}" for byte in reversed(whole[1:7]))
    return address, whole[8], bytes((byte - _OFFSET) % 256 for byte in whole[10:-2])


def is_meant(asked: str, address: str) -> bool:
    """Whether a meter with this address takes a frame with that one; AA stands for any two digits."""
    pairs = range(0, 12, 2)
    return all(asked[at : at + 2] in ("AA", address[at : at + 2]) for at in pairs)
