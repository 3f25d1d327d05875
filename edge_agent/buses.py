"""Makes the arbiters of a configuration: for each bus its link, and for each device its driver."""

from collections.abc import Callable, Sequence

from drivers.modbus.driver import make_driver
from drivers.modbus.link import ModbusTcpLink
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.polling import Arbiter, Device
from edge_agent.sink import Sink
from models.reading import Reading
from models.times import Clock


def make_arbiters(
    config: Config,
    sink: Sink,
    *,
    clock: Clock,
    on_poll: Callable[[str, float, Sequence[Reading]], None],
    on_missed: Callable[[str, int], None],
) -> list[Arbiter]:
    """One for each bus that has devices. Nothing is opened yet."""
    arbiters = []
    for bus in config.settings.buses:
        link = make_link(bus, clock)
        devices = [
            make_device(config, device, link, clock)
            for device in config.settings.devices
            if device.bus == bus.id
        ]
        if devices:
            arbiters.append(Arbiter(bus.id, devices, sink, clock=clock, on_poll=on_poll, on_missed=on_missed))
    return arbiters


def make_link(bus: BusSection, clock: Clock) -> ModbusTcpLink:
    return ModbusTcpLink(bus.modbus_tcp.host, bus.modbus_tcp.port, clock=clock)


def make_device(config: Config, device: DeviceSection, link: ModbusTcpLink, clock: Clock) -> Device:
    profile = config.profile_of(device)
    driver = make_driver(
        device_id=device.id,
        profile=profile,
        unit=device.unit,
        link=link,
        parameters=device.parameters,
        clock=clock,
    )
    points = tuple(point.name for point in profile.points)
    return Device(id=device.id, driver=driver, points=points, period_s=device.period_s)
