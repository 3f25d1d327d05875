"""What LoRaWAN parking sensors put into their payloads, written from the documents of their makers.

Bosch: TheThingsNetwork/lorawan-devices, vendor/bosch. Milesight: SensorDecoders, em-series/em310-udl.
Libelium: Smart Parking Technical Guide, chapter Frames, firmware 2.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Why = Literal["change", "alive", "started", "fault"]
"""Why a sensor speaks."""

FLOOR_MM: Final = 2500  # the distance to the floor that the profile has, unless told otherwise
CAR_MM: Final = 1450


class Said(NamedTuple):
    """A payload, and what an ideal reader takes from it; `occupied` None: the sensor cannot tell."""

    port: int
    payload: bytes
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Bay:
    """How it is around a sensor at a moment."""

    occupied: bool
    temperature_c: int = 20
    battery_pct: int = 100
    jitter_mm: int = 0
    count: int = 0  # of its frames


def bosch(bay: Bay, why: Why) -> Said:
    """It has no way to say that it is faulty."""
    status = int(bay.occupied)
    if why == "started":
        firmware, power_on = bytes((0, 29, 2)), 2
        return Said(3, bytes(12) + firmware + bytes((power_on, status)), {"occupied": status})
    values: dict[str, float | None] = {"occupied": status, "temperature_c": bay.temperature_c}
    payload = struct.pack("Bb", status, bay.temperature_c)
    return Said(2 if why == "alive" else 1, payload, values)


def milesight(bay: Bay, why: Why) -> Said:
    """It measures every few minutes; a fault of it is that somebody has tilted it."""
    distance = FLOOR_MM - (CAR_MM if bay.occupied else 0) + bay.jitter_mm
    tilted = why == "fault"
    payload = bytes((0x01, 0x75, bay.battery_pct))
    payload += bytes((0x03, 0x82)) + distance.to_bytes(2, "little") + bytes((0x04, 0x00, tilted))
    if why == "started":
        payload = bytes.fromhex("ff0b01 ff0101 ff166136b32160340000 ff090100 ff0a0102 ff0f00") + payload
    values = {
        "occupied": None if tilted else float(bay.occupied),
        "distance_mm": float(distance),
        "battery_pct": float(bay.battery_pct),
        "tilted": float(tilted),
    }
    return Said(85, payload, values)


def libelium(bay: Bay, why: Why) -> Said:
    kind = {"change": 0, "alive": 1, "fault": 3, "started": 4}[why]
    battery_low = bay.battery_pct < 10
    head = bytes((bay.occupied << 7 | battery_low << 6 | kind, bay.count % 256))
    axes = struct.pack(">hhh", 120, -340, 560)
    temperature = struct.pack("b", bay.temperature_c)
    values: dict[str, float | None] = {"occupied": float(bay.occupied), "battery_low": float(battery_low)}
    if why == "change":
        return Said(3, head + temperature + axes + bytes(2), {**values, "temperature_c": bay.temperature_c})
    if why == "alive":
        clock = bytes((13, 30))
        return Said(3, head + clock + temperature + axes, {**values, "temperature_c": bay.temperature_c})
    if why == "fault":
        return Said(3, head + bytes((4,)) + axes, {**values, "occupied": None, "sensor_error": 4.0})
    return Said(3, head + temperature + axes + b"\x0e\x10", values)


@dataclass(frozen=True, slots=True)
class Model:
    """One model of sensor."""

    says: Callable[[Bay, Why], Said]
    alive_every_ms: int  # as it is sold
    tells_changes: bool = True  # at once; else only with its next measurement
    tells_battery: bool = True  # in its payloads; else the network server asks for it


MODELS: Final[dict[str, Model]] = {
    "bosch-parking-lot-sensor": Model(bosch, 24 * 3_600_000, tells_battery=False),
    "milesight-em310-udl": Model(milesight, 10 * 60_000, tells_changes=False),
    "libelium-smart-parking": Model(libelium, 2 * 3_600_000),
}
"""By the name of the profile."""
