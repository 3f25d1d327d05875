"""Buses whose devices are asked: the wire of the bus, and for each device the driver of its family."""

from drivers.contract import ProfileMismatch, TracedDriver
from drivers.modbus.driver import make_driver as make_modbus_driver
from drivers.modbus.link import ModbusTcpLink
from edge_agent.buses.contract import Tools
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.polling import Arbiter, Device
from models.profile.modbus import ModbusProfile
from models.times import Clock

Wire = ModbusTcpLink


def make_arbiter(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> Arbiter:
    """Nothing is opened yet."""
    wire = make_wire(bus, tools.clock)
    return Arbiter(
        bus.id,
        [_device(config, device, wire, tools.clock) for device in devices],
        tools.sink,
        clock=tools.clock,
        on_poll=tools.on_poll,
        on_missed=tools.on_missed,
    )


def make_wire(bus: BusSection, clock: Clock) -> Wire:
    """What the drivers of a bus share."""
    if bus.modbus_tcp is None:
        raise NotImplementedError(bus.kind)
    return ModbusTcpLink(bus.modbus_tcp.host, bus.modbus_tcp.port, clock=clock)


def make_driver(config: Config, device: DeviceSection, wire: Wire, clock: Clock) -> TracedDriver:
    """The driver of one device, by the family of its profile."""
    profile = config.profile_of(device)
    if isinstance(profile, ModbusProfile):
        return make_modbus_driver(
            device_id=device.id,
            profile=profile,
            unit=device.unit or 1,
            link=wire,
            parameters=device.parameters,
            clock=clock,
        )
    raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} cannot be polled")


def _device(config: Config, device: DeviceSection, wire: Wire, clock: Clock) -> Device:
    points = tuple(point.name for point in config.profile_of(device).points)
    driver = make_driver(config, device, wire, clock)
    return Device(id=device.id, driver=driver, points=points, period_s=device.period_s)
