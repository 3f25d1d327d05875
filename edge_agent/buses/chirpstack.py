"""Buses of LoRaWAN devices, by the MQTT broker of their network server."""

from pathlib import Path

from drivers.contract import ProfileMismatch
from drivers.parking.broker import Broker
from drivers.parking.listener import ChirpStackListener
from drivers.parking.sensor import Sensor
from edge_agent.buses.contract import Tools
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.listening import ListeningBus
from models.profile.parking_sensor import ParkingSensorProfile


def make_chirpstack(
    config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools
) -> ListeningBus:
    """Nothing is opened yet."""
    section = bus.chirpstack
    if section is None:
        raise NotImplementedError(bus.kind)
    broker = Broker(
        host=section.host,
        port=section.port,
        username=section.username,
        password_file=_beside(config, section.password_file),
        ca_file=_beside(config, section.ca_file),
    )
    sensors = [_sensor(config, device) for device in devices]
    listener = ChirpStackListener(bus.id, broker, section.application, sensors, clock=tools.clock)
    return ListeningBus(bus.id, listener, tools.sink, clock=tools.clock)


def _beside(config: Config, name: str | None) -> Path | None:
    return None if name is None else config.beside(name)


def _sensor(config: Config, device: DeviceSection) -> Sensor:
    profile = config.profile_of(device)
    if not isinstance(profile, ParkingSensorProfile) or device.address is None:
        raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} is no LoRaWAN device")
    return Sensor(device.id, device.address, profile, device.parameters, device.period_s)
