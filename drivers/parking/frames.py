"""Frames of zone controllers: start byte, address, control, length, data, CRC-16, as the profile has them."""

from typing import Final, NamedTuple

from models.profile.parking_controller import ControllerSection, Crc

MOST_DATA: Final = 1024  # no controller has so many detectors; a longer length is no length


class _Way(NamedTuple):
    """How a CRC-16 is worked out. All four have the polynomials 8005 or 1021."""

    polynomial: int  # as it is shifted: reflected where the lowest bit goes first
    start: int
    lowest_first: bool


_WAYS: Final[dict[Crc, _Way]] = {
    "modbus": _Way(0xA001, 0xFFFF, True),
    "arc": _Way(0xA001, 0x0000, True),
    "ccitt-false": _Way(0x1021, 0xFFFF, False),
    "xmodem": _Way(0x1021, 0x0000, False),
}


class Frame(NamedTuple):
    """A whole frame with the right checksum."""

    address: int
    control: int
    data: bytes
    size: int  # of all its bytes


class Codec:
    """Makes and finds the frames of one kind of controller."""

    def __init__(self, section: ControllerSection) -> None:
        self._section = section
        self._way = _WAYS[section.crc]
        self._head = 3 + section.length_bytes

    def request(self, unit: int) -> bytes:
        """That which asks a controller for the states of all its bays."""
        section = self._section
        data = bytes.fromhex(section.request_data)
        length = len(data).to_bytes(section.length_bytes, section.length_order)
        body = bytes([section.start, unit, section.function]) + length + data
        return body + self._crc(body)

    def find(self, received: bytes, at: int) -> Frame | None | bool:
        """The frame that begins at `at`; None: none can; True: one may, once more has come."""
        section = self._section
        if received[at] != section.start:
            return None
        if len(received) < at + self._head:
            return True
        length = int.from_bytes(received[at + 3 : at + self._head], section.length_order)
        if length > MOST_DATA:
            return None
        end = at + self._head + length
        if len(received) < end + 2:
            return True
        if received[end : end + 2] != self._crc(received[at:end]):
            return None
        return Frame(received[at + 1], received[at + 2], received[at + self._head : end], end + 2 - at)

    def _crc(self, body: bytes) -> bytes:
        crc = self._way.start
        for byte in body[self._section.crc_skips_start :]:
            crc ^= byte if self._way.lowest_first else byte << 8
            for _ in range(8):
                if self._way.lowest_first:
                    crc = crc >> 1 ^ (self._way.polynomial if crc & 1 else 0)
                else:
                    crc = (crc << 1 ^ (self._way.polynomial if crc & 0x8000 else 0)) & 0xFFFF
        return crc.to_bytes(2, self._section.crc_order)
