"""Buses whose devices are asked: the wire of the bus, and for each device the driver of its family."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from drivers.cjt188.driver import make_driver as make_cjt188_driver
from drivers.contract import ProfileMismatch, TracedDriver
from drivers.dlt645.driver import make_driver as make_dlt645_driver
from drivers.line import Line, SerialLine, StreamLine
from drivers.modbus.driver import make_driver as make_modbus_driver
from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.tcp import ModbusTcpLink
from drivers.parking.controller import ParkingControllerDriver
from edge_agent.buses.contract import ChangeSteps, Tools
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.polling import Arbiter
from edge_agent.schedule import Device
from models.profile.cjt188 import Cjt188Profile
from models.profile.dlt645 import Dlt645Profile
from models.profile.modbus import ModbusProfile
from models.profile.parking_controller import ParkingControllerProfile
from models.times import Clock


class LineWire(NamedTuple):
    """A line, and what Modbus units on it share beside it."""

    line: Line
    modbus: RtuLink


Wire = ModbusTcpLink | LineWire


class PolledBus(Arbiter):
    """A `LivingBus` of devices that are asked over one wire."""

    def __init__(self, bus: str, wire: Wire, devices: Sequence[Device], tools: Tools) -> None:
        super().__init__(
            bus, devices, tools.sink, clock=tools.clock, on_poll=tools.on_poll, on_missed=tools.on_missed
        )
        self._wire, self._tools = wire, tools

    def prepare(self, config: Config, gone: Collection[str], put: Sequence[DeviceSection]) -> ChangeSteps:
        """See `LivingBus`."""
        devices = [_device(config, device, self._wire, self._tools.clock) for device in put]
        return ChangeSteps(lambda: self.let_go(gone), lambda: self.take(devices))


def make_polled(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> PolledBus:
    """Nothing is opened yet."""
    wire = make_wire(bus, tools.clock)
    return PolledBus(bus.id, wire, [_device(config, device, wire, tools.clock) for device in devices], tools)


def make_wire(bus: BusSection, clock: Clock) -> Wire:
    """What the drivers of a bus share."""
    if bus.modbus_tcp is not None:
        return ModbusTcpLink(bus.modbus_tcp.host, bus.modbus_tcp.port, clock=clock)
    line: Line
    if bus.serial is not None:
        line = SerialLine(
            bus.serial.port,
            baud=bus.serial.baud,
            parity=bus.serial.parity,
            stop_bits=bus.serial.stop_bits,
            turnaround_s=bus.serial.turnaround_s,
            clock=clock,
        )
    elif bus.serial_server is not None:
        line = StreamLine(
            bus.serial_server.host,
            bus.serial_server.port,
            turnaround_s=bus.serial_server.turnaround_s,
            clock=clock,
        )
    else:
        raise NotImplementedError(bus.kind)
    return LineWire(line, RtuLink(line))


def make_driver(config: Config, device: DeviceSection, wire: Wire, clock: Clock) -> TracedDriver:
    """The driver of one device, by the family of its profile."""
    profile = config.profile_of(device)
    if isinstance(profile, ModbusProfile):
        return make_modbus_driver(
            device_id=device.id,
            profile=profile,
            unit=device.unit_number,
            link=wire.modbus if isinstance(wire, LineWire) else wire,
            parameters=device.parameters,
            clock=clock,
        )
    if isinstance(profile, ParkingControllerProfile) and isinstance(wire, LineWire):
        return ParkingControllerDriver(
            device_id=device.id,
            profile=profile,
            unit=device.unit_number,
            line=wire.line,
            parameters=device.parameters,
            clock=clock,
        )
    if isinstance(profile, Dlt645Profile) and isinstance(wire, LineWire):
        return make_dlt645_driver(
            device_id=device.id,
            profile=profile,
            address=device.address or "",
            line=wire.line,
            parameters=device.parameters,
            clock=clock,
        )
    if isinstance(profile, Cjt188Profile) and isinstance(wire, LineWire):
        return make_cjt188_driver(
            device_id=device.id,
            profile=profile,
            address=device.address or "",
            line=wire.line,
            parameters=device.parameters,
            clock=clock,
        )
    raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} cannot be polled")


def _device(config: Config, device: DeviceSection, wire: Wire, clock: Clock) -> Device:
    points = tuple(point.name for point in config.profile_of(device).points)
    driver = make_driver(config, device, wire, clock)
    return Device(id=device.id, driver=driver, points=points, period_s=device.period_s)
