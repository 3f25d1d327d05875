"""Makes the buses of a configuration."""

from collections.abc import Callable

from edge_agent.buses.ble import make_ble
from edge_agent.buses.chirpstack import make_chirpstack
from edge_agent.buses.contract import Bus, Tools
from edge_agent.buses.doors import make_doors
from edge_agent.buses.osdp import make_osdp
from edge_agent.buses.parking import make_zones, with_bays
from edge_agent.buses.polled import make_arbiter
from edge_agent.config import BusSection, Config, DeviceSection

Maker = Callable[[Config, BusSection, list[DeviceSection], Tools], Bus]

_MAKERS: dict[str, Maker] = {
    "ble": make_ble,
    "chirpstack": make_chirpstack,
    "door_controller": make_doors,
    "modbus_tcp": make_arbiter,
    "osdp": make_osdp,
    "parking": make_zones,
    "serial": make_arbiter,
    "serial_server": make_arbiter,
}
"""By kind of bus."""


def make_buses(config: Config, tools: Tools) -> list[Bus]:
    """One for each bus that has devices. Nothing is opened yet."""
    tools = with_bays(config, tools)
    made = []
    for bus in config.settings.buses:
        devices = [device for device in config.settings.devices if device.bus == bus.id]
        if devices:
            made.append(_MAKERS[bus.kind](config, bus, devices, tools))
    return made


def is_asked(bus: BusSection) -> bool:
    """Whether its devices answer questions; others speak by themselves."""
    return _MAKERS[bus.kind] is make_arbiter


__all__ = ["Bus", "Tools", "is_asked", "make_buses"]
