"""Reads the instant readout of Victron's battery monitors. Pure. AES-CTR hides it and proves nothing.

Source: keshavdv/victron-ble devices/base.py and battery_monitor.py; Victron's extra manufacturer data
of 2022-12-14 as quoted there.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal

COMPANY = 0x02E1

_PRODUCT = 0x10  # the kind of record
_BATTERY_MONITOR = 0x02
_HEADER = 8  # record, model, kind of readout, initial value, first byte of the key
_BITS = 118
_STARTER, _MIDPOINT, _TEMPERATURE = 0, 1, 2
_ZERO_C = 27_315  # hundredths of a kelvin


def decode(advert: Advert, key: bytes | None) -> Frame | None:
    """What the advertisement says; None when it is no readout of a battery monitor. Raises FrameRefused."""
    data = advert.makers.get(COMPANY)
    if data is None or len(data) < 5 or data[0] != _PRODUCT or data[4] != _BATTERY_MONITOR:
        return None
    text = data[_HEADER:]
    if not _BITS <= 8 * len(text) <= 128:
        raise FrameRefused(Refusal.MALFORMED, f"{len(data)} bytes")
    if key is None:
        raise FrameRefused(Refusal.NO_KEY, "encrypted, and no key is configured")
    if data[7] != key[0]:
        raise FrameRefused(Refusal.WRONG_KEY, "it was made with a key that begins otherwise")
    # One block at most, so it does not matter that the counter of Victron counts from its low end.
    decryptor = Cipher(AES(key), CTR(data[5:7] + bytes(14))).decryptor()
    plain = decryptor.update(text) + decryptor.finalize()
    # Whether the initial value changes while the readings do not is not known, so it is no number.
    return Frame(_values(plain), data[5:], is_numbered=False)


def _values(plain: bytes) -> dict[str, int | None]:
    bits = int.from_bytes(plain, "little")

    def take(count: int) -> int:
        nonlocal bits
        found = bits & ((1 << count) - 1)
        bits >>= count
        return found

    remaining, voltage, alarm, auxiliary = take(16), take(16), take(16), take(16)
    mode, current, consumed, charge = take(2), take(22), take(20), take(10)
    values: dict[str, int | None] = {
        "remaining": None if remaining == 0xFFFF else remaining,
        "voltage": None if voltage == 0x7FFF else _signed(voltage, 16),
        "alarm": alarm,
        # Of two readings of this pattern, "not available" and -0.001 A, the first invents nothing.
        "current": None if current == 0x3FFFFF else _signed(current, 22),
        "consumed": None if consumed == 0xFFFFF else -consumed,
        "charge": None if charge == 0x3FF else charge,
    }
    if mode == _STARTER:
        values["starter_voltage"] = None if auxiliary == 0x7FFF else _signed(auxiliary, 16)
    elif mode == _MIDPOINT:
        values["midpoint_voltage"] = None if auxiliary == 0xFFFF else auxiliary
    elif mode == _TEMPERATURE:
        values["temperature"] = None if auxiliary == 0xFFFF else auxiliary - _ZERO_C
    return values


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw
