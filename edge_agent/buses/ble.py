"""Buses that are a Bluetooth radio."""

from drivers.ble.device import BleDevice
from drivers.ble.formats import patterns
from drivers.ble.listener import BleListener
from drivers.ble.radio import Radio
from drivers.contract import ProfileMismatch
from edge_agent.buses.contract import Tools
from edge_agent.buses.late import LateListener
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.listening import ListeningBus
from edge_agent.secret_files import read_secret_bytes
from models.profile.ble import BleProfile
from models.profile.ble_formats import FORMATS


def make_ble(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> ListeningBus:
    """Nothing is opened yet, and no key read."""
    section = bus.ble
    if section is None:
        raise NotImplementedError(bus.kind)

    def make() -> BleListener:
        made = [_device(config, device) for device in devices]
        formats = sorted({device.profile.ble.format for device in made})
        sought = [pattern for name in formats for pattern in patterns(name)]
        radio = Radio(section.adapter, section.scanning, sought, tools.clock)
        return BleListener(bus.id, radio, made, tools.clock)

    listener = LateListener([device.id for device in devices], make)
    return ListeningBus(bus.id, listener, tools.sink, clock=tools.clock)


def _device(config: Config, device: DeviceSection) -> BleDevice:
    profile = config.profile_of(device)
    if not isinstance(profile, BleProfile) or device.address is None:
        raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} is no Bluetooth device")
    return BleDevice(
        device_id=device.id,
        address=device.address,
        profile=profile,
        key=_key(config, device, profile),
        period_s=device.period_s,
        parameters=device.parameters,
    )


def _key(config: Config, device: DeviceSection, profile: BleProfile) -> bytes | None:
    if device.key_file is None:
        return None
    sizes = FORMATS[profile.ble.format].key_bytes
    if profile.ble.authenticated:  # the short keys of MiBeacon are for versions without a proof
        sizes = (max(sizes),)
    return read_secret_bytes(config.beside(device.key_file), *sizes)
