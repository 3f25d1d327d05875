"""The formats that Bluetooth devices speak: what their frames can say, and whether it is proven who said it.

Units and factors are those of the formats' own documents. A *field* is one value of a frame; its name is
what a point of a profile asks for. A field of BTHome is called by its object id, `0x4D`; the second object
of one id in a frame is `0x4D#2`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

BleFormatName = Literal["bthome", "mibeacon", "ruuvi_df5", "victron_bmv", "atorch", "jbd"]

RSSI = "rssi"
"""The strength at which an advertisement was heard, dBm; every format that is advertised has it."""


class Field(NamedTuple):
    """One value of a frame, which is a whole number: what one of it is worth."""

    factor: str  # a decimal number, kept as text so that it stays exact
    unit: str  # "" for a state


class BTHomeObject(NamedTuple):
    """One object id of BTHome v2."""

    length: int  # in bytes, without the id; 0: the next byte says how many follow
    signed: bool
    factor: str
    unit: str
    title: str


class BleFormat(NamedTuple):
    """One way to say something."""

    over: Literal["advert", "gatt"]
    proof: bool  # whether a key can prove who sent a frame
    key: Literal["never", "allowed", "required"]  # when it is not used as a proof
    key_bytes: tuple[int, ...]
    fields: Mapping[str, Field]


def _unsigned(length: int, factor: str, unit: str, title: str) -> BTHomeObject:
    return BTHomeObject(length, False, factor, unit, title)


def _signed(length: int, factor: str, unit: str, title: str) -> BTHomeObject:
    return BTHomeObject(length, True, factor, unit, title)


def _state(title: str) -> BTHomeObject:
    return BTHomeObject(1, False, "1", "", title)


# Source: bthome.io/format, and Bluetooth-Devices/bthome-ble const.py 3.25.
BTHOME_OBJECTS: Mapping[int, BTHomeObject] = {
    0x00: _unsigned(1, "1", "1", "packet id"),
    0x01: _unsigned(1, "1", "%", "battery"),
    0x02: _signed(2, "0.01", "°C", "temperature"),
    0x03: _unsigned(2, "0.01", "%", "humidity"),
    0x04: _unsigned(3, "0.01", "hPa", "pressure"),
    0x05: _unsigned(3, "0.01", "lx", "illuminance"),
    0x06: _unsigned(2, "0.01", "kg", "mass"),
    0x07: _unsigned(2, "0.01", "lb", "mass"),
    0x08: _signed(2, "0.01", "°C", "dew point"),
    0x09: _unsigned(1, "1", "1", "count"),
    0x0A: _unsigned(3, "0.001", "kWh", "energy"),
    0x0B: _unsigned(3, "0.01", "W", "power"),
    0x0C: _unsigned(2, "0.001", "V", "voltage"),
    0x0D: _unsigned(2, "1", "ug/m3", "PM2.5"),
    0x0E: _unsigned(2, "1", "ug/m3", "PM10"),
    0x0F: _state("generic"),
    0x10: _state("power on"),
    0x11: _state("opening"),
    0x12: _unsigned(2, "1", "ppm", "CO2"),
    0x13: _unsigned(2, "1", "ug/m3", "volatile organic compounds"),
    0x14: _unsigned(2, "0.01", "%", "moisture"),
    0x15: _state("battery low"),
    0x16: _state("battery charging"),
    0x17: _state("carbon monoxide"),
    0x18: _state("cold"),
    0x19: _state("connectivity"),
    0x1A: _state("door open"),
    0x1B: _state("garage door open"),
    0x1C: _state("gas"),
    0x1D: _state("heat"),
    0x1E: _state("light"),
    0x1F: _state("unlocked"),
    0x20: _state("wet"),
    0x21: _state("motion"),
    0x22: _state("moving"),
    0x23: _state("occupancy"),
    0x24: _state("plugged in"),
    0x25: _state("presence"),
    0x26: _state("problem"),
    0x27: _state("running"),
    0x28: _state("safety"),
    0x29: _state("smoke"),
    0x2A: _state("sound"),
    0x2B: _state("tamper"),
    0x2C: _state("vibration"),
    0x2D: _state("window open"),
    0x2E: _unsigned(1, "1", "%", "humidity"),
    0x2F: _unsigned(1, "1", "%", "moisture"),
    0x3A: _state("button"),
    0x3C: _unsigned(2, "1", "", "dimmer"),
    0x3D: _unsigned(2, "1", "1", "count"),
    0x3E: _unsigned(4, "1", "1", "count"),
    0x3F: _signed(2, "0.1", "°", "rotation"),
    0x40: _unsigned(2, "1", "mm", "distance"),
    0x41: _unsigned(2, "0.1", "m", "distance"),
    0x42: _unsigned(3, "0.001", "s", "duration"),
    0x43: _unsigned(2, "0.001", "A", "current"),
    0x44: _unsigned(2, "0.01", "m/s", "speed"),
    0x45: _signed(2, "0.1", "°C", "temperature"),
    0x46: _unsigned(1, "0.1", "1", "UV index"),
    0x47: _unsigned(2, "0.1", "L", "volume"),
    0x48: _unsigned(2, "1", "mL", "volume"),
    0x49: _unsigned(2, "0.001", "m3/h", "flow"),
    0x4A: _unsigned(2, "0.1", "V", "voltage"),
    0x4B: _unsigned(3, "0.001", "m3", "gas"),
    0x4C: _unsigned(4, "0.001", "m3", "gas"),
    0x4D: _unsigned(4, "0.001", "kWh", "energy"),
    0x4E: _unsigned(4, "0.001", "L", "volume"),
    0x4F: _unsigned(4, "0.001", "L", "water"),
    0x50: _unsigned(4, "1", "s", "timestamp, seconds since 1970"),
    0x51: _unsigned(2, "0.001", "m/s2", "acceleration"),
    0x52: _unsigned(2, "0.001", "°/s", "gyroscope"),
    0x53: _unsigned(0, "1", "", "text"),
    0x54: _unsigned(0, "1", "", "raw"),
    0x55: _unsigned(4, "0.001", "L", "volume storage"),
    0x56: _unsigned(2, "1", "uS/cm", "conductivity"),
    0x57: _signed(1, "1", "°C", "temperature"),
    0x58: _signed(1, "0.35", "°C", "temperature"),
    0x59: _signed(1, "1", "1", "count"),
    0x5A: _signed(2, "1", "1", "count"),
    0x5B: _signed(4, "1", "1", "count"),
    0x5C: _signed(4, "0.01", "W", "power"),
    0x5D: _signed(2, "0.001", "A", "current"),
    0x5E: _unsigned(2, "0.01", "°", "direction"),
    0x5F: _unsigned(2, "0.1", "mm", "precipitation"),
    0x60: _unsigned(1, "1", "", "channel"),
    0x61: _unsigned(2, "1", "rpm", "rotational speed"),
    0x62: _signed(4, "0.000001", "m/s", "speed"),
    0x63: _signed(4, "0.000001", "m/s2", "acceleration"),
    0x64: _unsigned(1, "1", "", "light level"),
    0x65: _unsigned(1, "1", "", "settings revision"),
    0xF0: _unsigned(2, "1", "", "device type"),
    0xF1: _unsigned(4, "1", "", "firmware version"),
    0xF2: _unsigned(3, "1", "", "firmware version"),
}

_MIBEACON = {
    "temperature": Field("0.01", "°C"),
    "humidity": Field("0.01", "%"),
    "battery": Field("1", "%"),
    "illuminance": Field("1", "lx"),
    "moisture": Field("1", "%"),
    "conductivity": Field("1", "uS/cm"),
    "open": Field("1", ""),
    "leak": Field("1", ""),
    "smoke": Field("1", ""),
    "idle": Field("1", "s"),
}

_RUUVI_DF5 = {
    "temperature": Field("0.005", "°C"),
    "humidity": Field("0.0025", "%"),
    "pressure": Field("1", "Pa"),
    "acceleration_x": Field("0.001", "g"),
    "acceleration_y": Field("0.001", "g"),
    "acceleration_z": Field("0.001", "g"),
    "battery": Field("0.001", "V"),
    "tx_power": Field("1", "dBm"),
    "movements": Field("1", "1"),
    "sequence": Field("1", "1"),
}

_VICTRON_BMV = {
    "remaining": Field("1", "min"),
    "voltage": Field("0.01", "V"),
    "alarm": Field("1", ""),
    "starter_voltage": Field("0.01", "V"),
    "midpoint_voltage": Field("0.01", "V"),
    "temperature": Field("0.01", "°C"),
    "current": Field("0.001", "A"),
    "consumed": Field("0.1", "Ah"),
    "charge": Field("0.1", "%"),
}

_ATORCH = {
    "voltage": Field("0.1", "V"),
    "current": Field("0.001", "A"),
    "power": Field("0.1", "W"),
    "charge": Field("0.01", "Ah"),
    "energy": Field("0.01", "kWh"),
    "frequency": Field("0.1", "Hz"),
    "power_factor": Field("0.001", "1"),
    "temperature": Field("1", "°C"),
    "on_time": Field("1", "s"),
}

_JBD = {
    "voltage": Field("0.01", "V"),
    "current": Field("0.01", "A"),
    "remaining": Field("0.01", "Ah"),
    "capacity": Field("0.01", "Ah"),
    "cycles": Field("1", "1"),
    "protection": Field("1", ""),
    "charge": Field("1", "%"),
    "charging": Field("1", ""),
    "discharging": Field("1", ""),
    "temperature_1": Field("0.1", "°C"),
    "temperature_2": Field("0.1", "°C"),
    "temperature_3": Field("0.1", "°C"),
    "temperature_4": Field("0.1", "°C"),
}

_HEARD = {RSSI: Field("1", "dBm")}

_BTHOME = {
    f"0x{number:02X}": Field(found.factor, found.unit)
    for number, found in BTHOME_OBJECTS.items()
    if number and found.length > 0 and number < 0xF0
}

FORMATS: Mapping[str, BleFormat] = {
    "bthome": BleFormat("advert", True, "never", (16,), _BTHOME | _HEARD),
    "mibeacon": BleFormat("advert", True, "allowed", (12, 16), _MIBEACON | _HEARD),
    "ruuvi_df5": BleFormat("advert", False, "never", (), _RUUVI_DF5 | _HEARD),
    "victron_bmv": BleFormat("advert", False, "required", (16,), _VICTRON_BMV | _HEARD),
    "atorch": BleFormat("gatt", False, "never", (), _ATORCH),
    "jbd": BleFormat("gatt", False, "never", (), _JBD),
}

MOST_OF_ONE_ID = 9
"""How often one object id may stand in a frame, for the names of fields: `0x02#9`."""


def field_of(format_name: str, field: str) -> Field | None:
    """What a field of a format is worth; None when the format has no such field."""
    name, _, number = field.partition("#")
    if number and not (
        format_name == "bthome"
        and number.isascii()
        and number.isdigit()
        and 2 <= int(number) <= MOST_OF_ONE_ID
    ):
        return None
    return FORMATS[format_name].fields.get(name)
