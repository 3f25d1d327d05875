"""Makes the buses of a configuration.

What a kind of bus needs is imported with the first bus of it: radio and broker take a tenth of a small
gateway's memory, and most gateways have neither.
"""

from collections.abc import Callable, Collection
from typing import Final

from edge_agent.buses.contract import Bus, ChangeSteps, LivingBus, Tools
from edge_agent.config import BusSection, Config, DeviceSection

Maker = Callable[[Config, BusSection, list[DeviceSection], Tools], Bus]

ASKED: Final = ("modbus_tcp", "serial", "serial_server")
"""The kinds whose devices answer questions; others speak by themselves."""

LIVING: Final = ("modbus_tcp", "parking", "serial", "serial_server")
"""The kinds whose buses are a `LivingBus`."""


def make_buses(config: Config, tools: Tools, only: Collection[str] | None = None) -> list[Bus]:
    """One for each bus that has devices, of all or of those that `only` names. Nothing is opened yet."""
    made = []
    for bus in config.settings.buses:
        devices = [device for device in config.settings.devices if device.bus == bus.id]
        if devices and (only is None or bus.id in only):
            made.append(_maker(bus.kind)(config, bus, devices, tools))
    return made


def is_asked(bus: BusSection) -> bool:
    """Whether its devices answer questions; others speak by themselves."""
    return bus.kind in ASKED


def _maker(kind: str) -> Maker:
    match kind:
        case "ble":
            from edge_agent.buses.ble import make_ble

            return make_ble
        case "chirpstack":
            from edge_agent.buses.chirpstack import make_chirpstack

            return make_chirpstack
        case "door_controller":
            from edge_agent.buses.doors import make_doors

            return make_doors
        case "osdp":
            from edge_agent.buses.osdp import make_osdp

            return make_osdp
        case "parking":
            from edge_agent.buses.parking import make_zones

            return make_zones
        case _:
            from edge_agent.buses.polled import make_polled

            return make_polled


__all__ = ["LIVING", "Bus", "ChangeSteps", "LivingBus", "Tools", "is_asked", "make_buses"]
