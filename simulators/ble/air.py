"""What is on the air: advertisements, and what can be asked of a device over GATT."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_BASE = "-0000-1000-8000-00805f9b34fb"
_FLAGS, _UUIDS, _SERVICE_DATA, _MANUFACTURER = 0x01, 0x03, 0x16, 0xFF
_GENERAL_DISCOVERABLE = b"\x06"


def long_uuid(short: int) -> str:
    """A UUID of 16 bits, as BlueZ writes it."""
    return f"0000{short:04x}{_BASE}"


class Advert(NamedTuple):
    """One advertisement."""

    services: Mapping[int, bytes] = {}  # service data by 16-bit UUID
    makers: Mapping[int, bytes] = {}  # manufacturer data by company
    uuids: tuple[int, ...] = ()  # the services that the device says it has
    rssi: int = -60

    def parts(self) -> list[tuple[int, bytes]]:
        """The parts that it is sent as: kind and content (Core Specification Supplement, part A)."""
        parts = [(_FLAGS, _GENERAL_DISCOVERABLE)]
        if self.uuids:
            parts.append((_UUIDS, b"".join(uuid.to_bytes(2, "little") for uuid in self.uuids)))
        parts += [(_SERVICE_DATA, uuid.to_bytes(2, "little") + data) for uuid, data in self.services.items()]
        parts += [(_MANUFACTURER, maker.to_bytes(2, "little") + data) for maker, data in self.makers.items()]
        return parts


@dataclass(slots=True)
class Characteristic:
    """One thing that can be read, written or subscribed to."""

    uuid: int
    read: Callable[[], bytes] | None = None
    write: Callable[[bytes], Awaitable[None]] | None = None
    notifies: bool = False


@dataclass(slots=True)
class Gatt:
    """What a device has when it is connected to."""

    services: Mapping[int, list[Characteristic]] = field(default_factory=dict)
    refuses: Callable[[], bool] = lambda: False  # asked at each attempt to connect
