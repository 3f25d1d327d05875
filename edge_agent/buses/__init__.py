"""Makes the buses of a configuration."""

from collections.abc import Callable, Collection
from typing import Final

from edge_agent.buses.ble import make_ble
from edge_agent.buses.chirpstack import make_chirpstack
from edge_agent.buses.contract import Bus, ChangeSteps, LivingBus, Tools
from edge_agent.buses.doors import make_doors
from edge_agent.buses.osdp import make_osdp
from edge_agent.buses.parking import make_zones
from edge_agent.buses.polled import make_polled
from edge_agent.config import BusSection, Config, DeviceSection

Maker = Callable[[Config, BusSection, list[DeviceSection], Tools], Bus]

_MAKERS: dict[str, Maker] = {
    "ble": make_ble,
    "chirpstack": make_chirpstack,
    "door_controller": make_doors,
    "modbus_tcp": make_polled,
    "osdp": make_osdp,
    "parking": make_zones,
    "serial": make_polled,
    "serial_server": make_polled,
}
"""By kind of bus."""


LIVING: Final = ("modbus_tcp", "parking", "serial", "serial_server")
"""The kinds whose buses are a `LivingBus`."""


def make_buses(config: Config, tools: Tools, only: Collection[str] | None = None) -> list[Bus]:
    """One for each bus that has devices, of all or of those that `only` names. Nothing is opened yet."""
    made = []
    for bus in config.settings.buses:
        devices = [device for device in config.settings.devices if device.bus == bus.id]
        if devices and (only is None or bus.id in only):
            made.append(_MAKERS[bus.kind](config, bus, devices, tools))
    return made


def is_asked(bus: BusSection) -> bool:
    """Whether its devices answer questions; others speak by themselves."""
    return _MAKERS[bus.kind] is make_polled


__all__ = ["LIVING", "Bus", "ChangeSteps", "LivingBus", "Tools", "is_asked", "make_buses"]
