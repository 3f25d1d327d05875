"""Buses that are a door controller with HTTP."""

import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from drivers.access.controller import DoorController, PushAddress
from drivers.access.isapi import Isapi, certificates_from
from drivers.access.normalise import Site
from drivers.contract import ProfileMismatch
from edge_agent.buses.contract import Tools
from edge_agent.buses.late import LateListener
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.config.sections import DoorController as DoorSection
from edge_agent.listening import ListeningBus
from edge_agent.pseudonym_key import pseudonym_key
from edge_agent.secret_files import SecretUnusable, read_secret
from models.profile.access import AccessProfile
from models.pseudonym import Pseudonymiser


def make_doors(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> ListeningBus:
    """Nothing is opened yet, and no file read."""
    section, device = bus.door_controller, devices[0]
    profile = config.profile_of(device)
    if section is None or not isinstance(profile, AccessProfile):
        raise ProfileMismatch(device.id, profile.profile, f"a {profile.family} is no door controller")

    def make() -> DoorController:
        controller = Isapi(
            section.url,
            username=section.username,
            password=read_secret(config.beside(section.password_file)),
            certificates=_certificates(None if section.ca_file is None else config.beside(section.ca_file)),
            reply_timeout_s=profile.isapi.reply_timeout_s,
        )
        given = section.pseudonym_key_file
        key = pseudonym_key(config.state_dir, None if given is None else config.beside(given))
        return DoorController(
            device_id=device.id,
            profile=profile,
            controller=controller,
            site=Site(_numbered(section.doors), _numbered(section.readers)),
            push=_push(config, section),
            pseudonyms=Pseudonymiser(key, section.pseudonyms),
            period_s=device.period_s,
            clock=tools.clock,
        )

    return ListeningBus(bus.id, LateListener([device.id], make), tools.sink, clock=tools.clock)


def _push(config: Config, section: DoorSection) -> PushAddress | None:
    if section.listen_host is None or section.listen_port is None or section.listen_path_file is None:
        return None
    file = config.beside(section.listen_path_file)
    path = read_secret(file).strip("/")
    if not re.fullmatch(r"[A-Za-z0-9/_-]{16,200}", path):
        raise SecretUnusable(file, "it must hold 16 or more letters, digits, - or _")
    return PushAddress(section.listen_host, section.listen_port, f"/{path}")


def _certificates(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return certificates_from(None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as err:
        raise SecretUnusable(ca_file or Path(), f"no certificate can be read from it ({err})") from err


def _numbered(names: Mapping[str, str]) -> dict[int, str]:
    return {int(number): name for number, name in names.items()}
