"""Buses that are an OSDP line of door readers."""

from drivers.access.osdp import OsdpReader, OsdpReaders
from drivers.contract import ProfileMismatch
from edge_agent.buses.contract import Tools
from edge_agent.buses.late import LateListener
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.listening import ListeningBus
from edge_agent.pseudonym_key import pseudonym_key
from edge_agent.secret_files import read_secret_bytes
from models.profile.access import OsdpProfile
from models.pseudonym import Pseudonymiser

KEY_BYTES = 16  # SCBK: AES-128


def make_osdp(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> ListeningBus:
    """Nothing is opened yet, and no file read."""
    section = bus.osdp
    if section is None:
        raise NotImplementedError(bus.kind)

    def make() -> OsdpReaders:
        given = section.pseudonym_key_file
        key = pseudonym_key(config.state_dir, None if given is None else config.beside(given))
        return OsdpReaders(
            section.port,
            section.baud,
            [_reader(config, device) for device in devices],
            pseudonyms=Pseudonymiser(key, section.pseudonyms),
            clock=tools.clock,
        )

    listener = LateListener([device.id for device in devices], make)
    return ListeningBus(bus.id, listener, tools.sink, clock=tools.clock)


def _reader(config: Config, device: DeviceSection) -> OsdpReader:
    profile = config.profile_of(device)
    if not isinstance(profile, OsdpProfile):
        raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} is no OSDP reader")
    key = None
    if device.key_file is not None:
        key = read_secret_bytes(config.beside(device.key_file), KEY_BYTES)
    return OsdpReader(device.id, device.unit_number, profile, key)
