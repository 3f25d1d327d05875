"""Reads BTHome v2 and v1, plain and encrypted. Pure.

Sources: bthome.io/format and bthome.io/v1; AES-CCM with a tag of 4 bytes.
"""

from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal
from models.profile.ble_formats import BTHOME_OBJECTS, MOST_OF_ONE_ID

V2 = 0xFCD2
V1_PLAIN, V1_SEALED = 0x181C, 0x181E

_ENCRYPTED, _HAS_ADDRESS = 0x01, 0x02
_VERSION = 2
_TAIL = 8  # counter and tag
_TAG = 4
_COMMAND = 0x3B  # its next byte has the number of arguments in its low 5 bits, then come opcode and arguments
_V1_UNSIGNED, _V1_SIGNED = 0, 1
_PACKET_ID = "0x00"


def decode(advert: Advert, key: bytes | None) -> Frame | None:
    """What the advertisement says; None when there is no BTHome in it. Raises FrameRefused.

    With a key, only what it proves is taken.
    """
    if (data := advert.services.get(V2)) is not None:
        return _v2(advert, data, key)
    if (data := advert.services.get(V1_SEALED)) is not None:
        return _sealed(data, advert.address_bytes + b"\x1e\x18", key, b"\x11", _v1_values)
    if (data := advert.services.get(V1_PLAIN)) is not None:
        return _plain(data, data, key, _v1_values)
    return None


_Values = Callable[[bytes], dict[str, int | None]]


def _v2(advert: Advert, data: bytes, key: bytes | None) -> Frame:
    if not data:
        raise FrameRefused(Refusal.MALFORMED, "nothing in it")
    info, body = data[0], data[1:]
    if info >> 5 != _VERSION:
        raise FrameRefused(Refusal.MALFORMED, f"version {info >> 5}")
    if info & _HAS_ADDRESS:
        if body[:6][::-1] != advert.address_bytes:
            raise FrameRefused(Refusal.MALFORMED, "names another address than its sender's")
        body = body[6:]
    if info & _ENCRYPTED:
        nonce = advert.address_bytes + b"\xd2\xfc" + bytes([info])
        return _sealed(body, nonce, key, None, _v2_values)
    return _plain(body, data, key, _v2_values)


def _plain(body: bytes, whole: bytes, key: bytes | None, values: _Values) -> Frame:
    if key is not None:
        raise FrameRefused(Refusal.DOWNGRADE, "plain, though the device has a key")
    found = values(body)
    has_packet_id = found.pop(_PACKET_ID, None) is not None
    return Frame(found, whole, is_numbered=has_packet_id)


def _sealed(body: bytes, nonce: bytes, key: bytes | None, associated: bytes | None, values: _Values) -> Frame:
    """`nonce` is what stands before the counter in it."""
    if key is None:
        raise FrameRefused(Refusal.NO_KEY, "encrypted, and no key is configured")
    if len(body) <= _TAIL:
        raise FrameRefused(Refusal.MALFORMED, f"{len(body)} bytes are too few")
    text, counter, tag = body[:-_TAIL], body[-_TAIL:-_TAG], body[-_TAG:]
    try:
        plain = AESCCM(key, tag_length=_TAG).decrypt(nonce + counter, text + tag, associated)
    except InvalidTag:
        raise FrameRefused(Refusal.WRONG_KEY, "its tag is not that of the configured key") from None
    found = values(plain)
    found.pop(_PACKET_ID, None)
    return Frame(found, nonce + body, int.from_bytes(counter, "little"))


def _v2_values(payload: bytes) -> dict[str, int | None]:
    """The objects up to the first unknown id. Ids ascend: where they do not, nothing can be relied on."""
    values: dict[str, int | None] = {}
    for number, content in _v2_objects(payload):
        found = BTHOME_OBJECTS[number]
        if found.length:
            name = _free_name(values, number)
            values[name] = int.from_bytes(content, "little", signed=found.signed)
    return values


def _v2_objects(payload: bytes) -> Iterator[tuple[int, bytes]]:
    at = before = 0
    while at < len(payload):
        number = payload[at]
        if number < before:
            raise FrameRefused(Refusal.MALFORMED, f"object {number:#04x} after {before:#04x}")
        at, before = at + 1, number
        if number == _COMMAND:
            at += 2 + (payload[at] & 0x1F) if at < len(payload) else 1
            _within(at, payload)
            continue
        found = BTHOME_OBJECTS.get(number)
        if found is None:
            return  # its length is not known, so nothing behind it can be found
        length = found.length
        if not length:
            _within(at + 1, payload)
            length, at = payload[at], at + 1
        _within(at + length, payload)
        yield number, payload[at : at + length]
        at += length


def _v1_values(payload: bytes) -> dict[str, int | None]:
    """Each object says its own length and type, so unknown ones are passed over."""
    values: dict[str, int | None] = {}
    at = 0
    while at < len(payload):
        length, form = payload[at] & 0x1F, payload[at] >> 5
        at += 1
        if not length:
            raise FrameRefused(Refusal.MALFORMED, "an object without an id")
        _within(at + length, payload)
        number, content = payload[at], payload[at + 1 : at + length]
        at += length
        found = BTHOME_OBJECTS.get(number)
        if found is not None and found.length and content and form in (_V1_UNSIGNED, _V1_SIGNED):
            name = _free_name(values, number)
            values[name] = int.from_bytes(content, "little", signed=form == _V1_SIGNED)
    return values


def _within(end: int, payload: bytes) -> None:
    if end > len(payload):
        raise FrameRefused(Refusal.MALFORMED, f"ends {end - len(payload)} bytes too early")


def _free_name(values: dict[str, int | None], number: int) -> str:
    name = f"0x{number:02X}"
    if name not in values:
        return name
    for nth in range(2, MOST_OF_ONE_ID + 1):
        if f"{name}#{nth}" not in values:
            return f"{name}#{nth}"
    raise FrameRefused(Refusal.MALFORMED, f"more than {MOST_OF_ONE_ID} objects {name}")
