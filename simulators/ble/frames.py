"""Frames as devices send them, written from the descriptions of the formats and not from any reader.

Sources: bthome.io/format; Xiaomi's MiBeacon as xiaomi-ble describes it; ruuvi dataformat_05.md; Victron's
extra manufacturer data; Atorch's protocol-design.md; syssi/esphome-jbd-bms.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

BTHOME, MIBEACON = 0xFCD2, 0xFE95
RUUVI, VICTRON = 0x0499, 0x02E1
PLAIN_INFO, SEALED_INFO = 0x40, 0x41

_BTHOME_FORMS: Final = {  # object id to the format of its value; u24 has none of its own
    0x00: "<B", 0x01: "<B", 0x02: "<h", 0x03: "<H", 0x0A: "u24", 0x0B: "u24", 0x0C: "<H", 0x43: "<H",
    0x45: "<h", 0x4A: "<H", 0x4D: "<I", 0x4F: "<I", 0x5C: "<i", 0x5D: "<h",
}  # fmt: skip


def address_bytes(address: str) -> bytes:
    """The six bytes in the order in which people write them."""
    return bytes.fromhex(address.replace(":", ""))


def bthome_objects(objects: Mapping[int, int]) -> bytes:
    """Object ids with their raw numbers, in ascending order as the format wants it."""
    content = bytearray()
    for number, raw in sorted(objects.items()):
        form = _BTHOME_FORMS[number]
        content.append(number)
        content += raw.to_bytes(3, "little") if form == "u24" else struct.pack(form, raw)
    return bytes(content)


def bthome_plain(objects: Mapping[int, int]) -> bytes:
    return bytes([PLAIN_INFO]) + bthome_objects(objects)


def bthome_sealed(objects: Mapping[int, int], *, address: str, key: bytes, counter: int) -> bytes:
    """Nonce: address, UUID and device information as on the air, counter; no associated data."""
    head, count = bytes([SEALED_INFO]), struct.pack("<I", counter & 0xFFFFFFFF)
    nonce = address_bytes(address) + struct.pack("<H", BTHOME) + head + count
    sealed = AESCCM(key, tag_length=4).encrypt(nonce, bthome_objects(objects), None)
    return head + sealed[:-4] + count + sealed[-4:]


def bthome_v1_sealed(payload: bytes, *, address: str, key: bytes, counter: int) -> bytes:
    """What stands under 0x181E. `payload` is the list of objects of version 1."""
    count = struct.pack("<I", counter & 0xFFFFFFFF)
    sealed = AESCCM(key, tag_length=4).encrypt(address_bytes(address) + b"\x1e\x18" + count, payload, b"\x11")
    return sealed[:-4] + count + sealed[-4:]


def mibeacon_object(number: int, content: bytes) -> bytes:
    return struct.pack("<HB", number, len(content)) + content


def mibeacon_plain(payload: bytes, *, address: str, product: int, counter: int, version: int = 5) -> bytes:
    control = version << 12 | 0x0050  # an object, and the address
    head = struct.pack("<HHB", control, product, counter & 0xFF)
    return head + address_bytes(address)[::-1] + payload


def mibeacon_sealed(payload: bytes, *, address: str, product: int, key: bytes, counter: int) -> bytes:
    """Version 5. The lowest byte of the counter is the frame counter, the others stand before the tag."""
    head = struct.pack("<HHB", 0x5858, product, counter & 0xFF)
    high = (counter >> 8 & 0xFFFFFF).to_bytes(3, "little")
    nonce = address_bytes(address)[::-1] + head[2:] + high
    sealed = AESCCM(key, tag_length=4).encrypt(nonce, payload, b"\x11")
    return head + address_bytes(address)[::-1] + sealed[:-4] + high + sealed[-4:]


def ruuvi_df5(
    *,
    temperature: int,
    humidity: int,
    pressure: int,
    battery: int,
    movements: int,
    sequence: int,
    address: str,
    tx_power: int = 4,
) -> bytes:
    """Raw numbers of the fields; pressure in Pa, battery in mV."""
    power = (battery - 1600) << 5 | (tx_power + 40) // 2
    return struct.pack(
        ">BhHHhhhHBH6s", 5, temperature, humidity, pressure - 50_000, 4, -4, 1036, power, movements, sequence,
        address_bytes(address),
    )  # fmt: skip


def victron_bmv(
    *,
    key: bytes,
    counter: int,
    remaining: int,
    voltage: int,
    alarm: int,
    current: int,
    consumed: int,
    charge: int,
    model: int = 0xA389,
) -> bytes:
    """Raw numbers of the fields; `consumed` in -0.1 Ah. The auxiliary input is not used."""
    fields: Sequence[tuple[int, int]] = (
        (remaining, 16), (voltage, 16), (alarm, 16), (0xFFFF, 16), (3, 2), (current, 22), (consumed, 20),
        (charge, 10),
    )  # fmt: skip
    bits = at = 0
    for raw, size in fields:
        bits |= (raw & ((1 << size) - 1)) << at
        at += size
    iv = struct.pack("<H", counter & 0xFFFF)
    encryptor = Cipher(AES(key), CTR(iv + bytes(14))).encryptor()
    hidden = encryptor.update(bits.to_bytes(15, "little")) + encryptor.finalize()
    return struct.pack("<HHB", 0x0210, model, 2) + iv + key[:1] + hidden


def atorch_ac(
    *,
    voltage: int,
    current: int,
    power: int,
    energy: int,
    frequency: int,
    power_factor: int,
    temperature: int,
    on_s: int,
) -> bytes:
    """A report of a meter for alternating current, from raw numbers."""

    def three(raw: int) -> bytes:
        return raw.to_bytes(3, "big")

    hours, rest = divmod(on_s, 3600)
    report = b"\xff\x55\x01\x01" + three(voltage) + three(current) + three(power)
    report += struct.pack(">I", energy) + three(100)
    report += struct.pack(">HHHH", frequency, power_factor, temperature, hours & 0xFFFF)
    report += bytes([rest // 60, rest % 60, 60, 0, 0, 0, 0])
    return report + bytes([sum(report[2:]) & 0xFF ^ 0x44])


def jbd_basic(
    *,
    voltage: int,
    current: int,
    remaining: int,
    capacity: int,
    cycles: int,
    charge: int,
    temperatures: Sequence[int],
) -> bytes:
    """The answer to a question for the basic information; temperatures in 0.1 °C."""
    data = struct.pack(">HhHHHH", voltage, current, remaining, capacity, cycles, 0x2C7C)
    data += bytes(4) + bytes(2) + bytes([0x80, charge, 3, 4, len(temperatures)])
    data += b"".join(struct.pack(">H", tenths + 2731) for tenths in temperatures)
    body = bytes([0, len(data)]) + data
    return b"\xdd\x03" + body + struct.pack(">H", -sum(body) & 0xFFFF) + b"\x77"
