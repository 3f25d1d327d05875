"""Frames of zone controllers, from the side of the controller. Written from 停车场管理系统协议说明 V1.1."""

from typing import Final, NamedTuple

from models.profile.parking_controller import ControllerSection

_MOST = 1100

_WAYS: Final = {  # polynomial, start, whether each byte and the sum are mirrored
    "modbus": (0x8005, 0xFFFF, True),
    "arc": (0x8005, 0x0000, True),
    "ccitt-false": (0x1021, 0xFFFF, False),
    "xmodem": (0x1021, 0x0000, False),
}


class Request(NamedTuple):
    address: int
    control: int
    frame: bytes


def frame(section: ControllerSection, address: int, control: int, data: bytes) -> bytes:
    """A whole frame."""
    length = len(data).to_bytes(section.length_bytes, section.length_order)
    body = bytes((section.start, address, control)) + length + data
    summed = body[1:] if section.crc_skips_start else body
    return body + checksum(section.crc, summed).to_bytes(2, section.crc_order)


def take_requests(section: ControllerSection, stream: bytearray) -> list[Request]:
    """Remove whole frames, and all that cannot be the beginning of one, from the front."""
    found = []
    head = 3 + section.length_bytes
    while stream:
        if stream[0] != section.start:
            del stream[0]
            continue
        if len(stream) < head:
            break
        size = head + int.from_bytes(stream[3:head], section.length_order) + 2
        if size > _MOST:
            del stream[0]
            continue
        if len(stream) < size:
            break
        whole = bytes(stream[:size])
        if frame(section, whole[1], whole[2], whole[head:-2]) != whole:
            del stream[0]
            continue
        found.append(Request(whole[1], whole[2], whole))
        del stream[:size]
    return found


def checksum(name: str, data: bytes) -> int:
    """By division of the whole message, bit after bit."""
    polynomial, register, is_mirrored = _WAYS[name]
    for byte in data:
        register ^= (_mirrored(byte, 8) if is_mirrored else byte) << 8
        for _ in range(8):
            register <<= 1
            if register > 0xFFFF:
                register = (register ^ polynomial) & 0xFFFF
    return _mirrored(register, 16) if is_mirrored else register


def _mirrored(number: int, bits: int) -> int:
    return int(f"{number:0{bits}b}"[::-1], 2)
