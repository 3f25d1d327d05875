"""Which of the modules reads a format, and what the radio must look out for."""

from collections.abc import Callable
from typing import NamedTuple

from drivers.ble import atorch, bthome, jbd, mibeacon, ruuvi, victron
from drivers.ble.frames import Advert, Frame
from models.profile.ble import BleSection

Decode = Callable[[Advert, bytes | None], Frame | None]

_SERVICE_DATA, _MANUFACTURER, _SOME_UUIDS, _ALL_UUIDS = 0x16, 0xFF, 0x02, 0x03


class Pattern(NamedTuple):
    """How an advertisement begins that a passive scan must report."""

    kind: int  # of a part of the advertisement
    start: bytes


class Conversation(NamedTuple):
    """How a device is asked over GATT."""

    notify: int  # 16-bit UUID of the characteristic that notifies
    write: int | None  # that takes questions; None: it talks by itself
    question: bytes
    take: Callable[[bytearray], bytes | None]  # remove and return the first whole frame of a stream
    decode: Callable[[bytes], Frame]


def advert_decoder(section: BleSection) -> Decode | None:
    """What reads the advertisements of a device; None for one that is asked over GATT."""
    if section.format == "bthome":
        return bthome.decode
    if section.format == "mibeacon":
        return lambda advert, key: mibeacon.decode(advert, key, proof=section.authenticated)
    if section.format == "ruuvi_df5":
        return lambda advert, key: ruuvi.decode(advert)
    if section.format == "victron_bmv":
        return victron.decode
    return None


def conversation(section: BleSection) -> Conversation | None:
    """How a device is asked; None for one that advertises."""
    if section.format == "atorch":

        def take(stream: bytearray) -> bytes | None:
            return atorch.take(stream, checksum=section.checksum)

        return Conversation(atorch.NOTIFY, None, b"", take, atorch.decode)
    if section.format == "jbd":
        return Conversation(jbd.NOTIFY, jbd.WRITE, jbd.ASK, jbd.take, jbd.decode)
    return None


def patterns(format_name: str) -> list[Pattern]:
    """What a passive scan must look out for, for devices of a format."""
    services = {
        "bthome": (bthome.V2, bthome.V1_PLAIN, bthome.V1_SEALED),
        "mibeacon": (mibeacon.UUID,),
    }
    makers = {"ruuvi_df5": ruuvi.COMPANY, "victron_bmv": victron.COMPANY}
    asked = {"atorch": 0xFFE0, "jbd": 0xFF00}
    found = [Pattern(_SERVICE_DATA, _two(uuid)) for uuid in services.get(format_name, ())]
    if format_name in makers:
        found.append(Pattern(_MANUFACTURER, _two(makers[format_name])))
    if format_name in asked:
        found += [Pattern(kind, _two(asked[format_name])) for kind in (_SOME_UUIDS, _ALL_UUIDS)]
    return found


def _two(number: int) -> bytes:
    return number.to_bytes(2, "little")
