"""Reads RuuviTag's data format 5. Pure. It is plain: nothing proves who sent it.

Source: ruuvi/ruuvi-sensor-protocols dataformat_05.md, with its test vectors.
"""

import struct

from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal

COMPANY = 0x0499

_FORMAT = 5
_LAYOUT = struct.Struct(">BhHHhhhHBH6s")
_NO_ADDRESS = b"\xff" * 6
_NO_SIGNED, _NO_WORD, _NO_BYTE = -0x8000, 0xFFFF, 0xFF


def decode(advert: Advert) -> Frame | None:
    """What the advertisement says; None when it is not data format 5. Raises FrameRefused."""
    data = advert.makers.get(COMPANY)
    if data is None or data[:1] != bytes([_FORMAT]):
        return None
    if len(data) != _LAYOUT.size:
        raise FrameRefused(Refusal.MALFORMED, f"{len(data)} bytes and not {_LAYOUT.size}")
    (_, temperature, humidity, pressure, x, y, z, power, movements, sequence, address) = _LAYOUT.unpack(data)
    if address not in (advert.address_bytes, _NO_ADDRESS):
        raise FrameRefused(Refusal.MALFORMED, "names another address than its sender's")
    battery, tx_power = power >> 5, power & 0x1F
    values = {
        "temperature": _unless(temperature, _NO_SIGNED),
        "humidity": _unless(humidity, _NO_WORD),
        "pressure": None if pressure == _NO_WORD else pressure + 50_000,
        "acceleration_x": _unless(x, _NO_SIGNED),
        "acceleration_y": _unless(y, _NO_SIGNED),
        "acceleration_z": _unless(z, _NO_SIGNED),
        "battery": None if battery == 0x7FF else battery + 1600,
        "tx_power": None if tx_power == 0x1F else 2 * tx_power - 40,
        "movements": _unless(movements, _NO_BYTE),
        "sequence": _unless(sequence, _NO_WORD),
    }
    return Frame(values, data)


def _unless(raw: int, sentinel: int) -> int | None:
    return None if raw == sentinel else raw
