"""Reads MiBeacon, which Xiaomi's sensors speak: v4 and v5 with a proof, v2 and v3 without. Pure.

Sources: Bluetooth-Devices/xiaomi-ble parser.py; Xiaomi's MiBeacon document as far as it is public.
The frame control and the product's capabilities are not covered by the tag of an encrypted frame: they
say nothing about values, and two frames that differ only in them are the same frame.
"""

import math
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal

UUID = 0xFE95

_ENCRYPTED, _HAS_ADDRESS, _HAS_CAPABILITY, _HAS_OBJECT, _MESH = 0x08, 0x10, 0x20, 0x40, 0x80
_HAS_IO = 0x20  # in the capability
_HEADER = 5  # frame control, product, frame counter
_TAG = 4
_LEGACY_MIDDLE = bytes.fromhex("8d3d3c97")  # of a key of v2 and v3, which has 12 bytes on paper
_ASSOCIATED = b"\x11"


def decode(advert: Advert, key: bytes | None, *, proof: bool) -> Frame | None:
    """What the advertisement says; None when there is no object in it. Raises FrameRefused.

    With `proof`, only what the key proves is taken.
    """
    data = advert.services.get(UUID)
    if data is None:
        return None
    if len(data) < _HEADER:
        raise FrameRefused(Refusal.MALFORMED, f"{len(data)} bytes are too few")
    control = data[0] | data[1] << 8
    version = control >> 12
    if control & _MESH or not 2 <= version <= 5:
        raise FrameRefused(Refusal.MALFORMED, f"version {version}, or of a mesh")
    start = _start(advert, data, control)
    if not control & _HAS_OBJECT:
        return None
    if not control & _ENCRYPTED:
        if proof or key is not None:
            raise FrameRefused(Refusal.DOWNGRADE, "plain, though the device has a key")
        return Frame(_values(data[start:]), data[2:])
    if key is None:
        raise FrameRefused(Refusal.NO_KEY, "encrypted, and no key is configured")
    if version >= 4:
        return _proven(advert, data, start, key)
    if proof:
        raise FrameRefused(Refusal.DOWNGRADE, f"version {version} has no proof of its sender")
    return _unproven(advert, data, start, key)


def _start(advert: Advert, data: bytes, control: int) -> int:
    """Where the objects begin."""
    at = _HEADER
    if control & _HAS_ADDRESS:
        if data[at : at + 6][::-1] != advert.address_bytes:
            raise FrameRefused(Refusal.MALFORMED, "names another address than its sender's")
        at += 6
    if control & _HAS_CAPABILITY:
        at += 2 if at < len(data) and data[at] & _HAS_IO else 1
    if at > len(data):
        raise FrameRefused(Refusal.MALFORMED, "ends inside its header")
    return at


def _proven(advert: Advert, data: bytes, start: int, key: bytes) -> Frame:
    """The frame counter and the three bytes before the tag are one counter of 32 bits."""
    if len(data) < start + 1 + 3 + _TAG:
        raise FrameRefused(Refusal.MALFORMED, f"{len(data)} bytes are too few")
    text, high, tag = data[start:-7], data[-7:-4], data[-_TAG:]
    nonce = advert.address_bytes[::-1] + data[2:_HEADER] + high
    try:
        plain = AESCCM(_whole(key), tag_length=_TAG).decrypt(nonce, text + tag, _ASSOCIATED)
    except InvalidTag:
        raise FrameRefused(Refusal.WRONG_KEY, "its tag is not that of the configured key") from None
    counter = int.from_bytes(high, "little") << 8 | data[4]
    return Frame(_values(plain), nonce + text + tag, counter)


def _unproven(advert: Advert, data: bytes, start: int, key: bytes) -> Frame:
    """CCM without a tag is CTR with a nonce of 13 bytes. A wrong key shows only in what comes out."""
    if len(data) < start + 1 + 4:
        raise FrameRefused(Refusal.MALFORMED, f"{len(data)} bytes are too few")
    nonce = data[:_HEADER] + data[-4:-1] + advert.address_bytes[::-1][:-1]
    decryptor = Cipher(AES(_whole(key)), CTR(b"\x01" + nonce + b"\x00\x01")).decryptor()
    try:
        values = _values(decryptor.update(data[start:-4]) + decryptor.finalize())
    except FrameRefused:
        raise FrameRefused(Refusal.WRONG_KEY, "what comes out is not a list of objects") from None
    return Frame(values, data)


def _whole(key: bytes) -> bytes:
    return key if len(key) == 16 else key[:6] + _LEGACY_MIDDLE + key[6:]


def _values(payload: bytes) -> dict[str, int | None]:
    values: dict[str, int | None] = {}
    at = 0
    while at < len(payload):
        if at + 3 > len(payload) or at + 3 + payload[at + 2] > len(payload):
            raise FrameRefused(Refusal.MALFORMED, "an object is not whole")
        number, end = payload[at] | payload[at + 1] << 8, at + 3 + payload[at + 2]
        values |= _object(number, payload[at + 3 : end])
        at = end
    return values


def _object(number: int, content: bytes) -> dict[str, int | None]:
    """The fields of an object; none for one that is not known or has another length than it should."""
    if number == 0x100D and len(content) == 4:  # tenths of both
        temperature, humidity = struct.unpack("<hH", content)
        return {"temperature": 10 * temperature, "humidity": 10 * humidity}
    if number == 0x1019 and content[:1] in (b"\x00", b"\x01", b"\x02"):  # open, closed, left open
        return {"open": int(content[0] != 1)}
    if number in _FLOATS and len(content) == 4:
        (value,) = struct.unpack("<f", content)
        is_number = math.isfinite(value) and abs(value) < 1e6
        return {_FLOATS[number]: round(100 * value) if is_number else None}
    name, length, signed, factor = _NUMBERS.get(number, ("", -1, False, 1))
    if len(content) != length:
        return {}
    return {name: factor * int.from_bytes(content, "little", signed=signed)}


_FLOATS = {0x4801: "temperature", 0x4C01: "temperature", 0x4C08: "humidity"}

_NUMBERS = {  # name, length, signed, and how many of the field's units one is
    0x1004: ("temperature", 2, True, 10),
    0x1006: ("humidity", 2, False, 10),
    0x1007: ("illuminance", 3, False, 1),
    0x1008: ("moisture", 1, False, 1),
    0x1009: ("conductivity", 2, False, 1),
    0x100A: ("battery", 1, False, 1),
    0x1014: ("leak", 1, False, 1),
    0x1015: ("smoke", 1, False, 1),
    0x1017: ("idle", 4, False, 1),
    0x4802: ("humidity", 1, False, 100),
    0x4803: ("battery", 1, False, 1),
    0x4818: ("idle", 2, False, 1),
    0x4C02: ("humidity", 1, False, 100),
    0x4C03: ("battery", 1, False, 1),
}
