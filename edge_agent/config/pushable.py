"""What a collector may push, once a technician has allowed it, and what is the site's own for ever.

A push may change what is read and how it reaches the collector. It may not change what is allowed here, where
the gateway keeps its data, or its doors; and it may not send a secret of the site anywhere: whatever names a
file with a secret stays as the technician has written it.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from edge_agent.catalogue import SUFFIX
from edge_agent.config.bundle import places_in
from edge_agent.config.load import Config, files_of
from edge_agent.config.sections import BusSection, CollectorSection, DeviceSection, UplinkSection
from models.configuration import FILE_NAME, MAIN
from models.document import Mistake, Problem, parse_document

SECTIONS: Final = ("uplink", "collectors", "buses", "devices", "devices_csv")
"""What a push may change. Of the main file, all else must say what it says on the gateway."""

DOORS: Final = ("door_controller", "osdp")

_ON_SITE: Final = "only somebody on site can change it"


def file_problems(current: Config, files: Mapping[str, bytes]) -> list[Problem]:
    """What is wrong with the files of a push by their names, before any of them is believed.

    A list of devices must look like one: mistakes in it are told, and no secret must be told as a mistake.
    """
    found = []
    csv = places_in(files.get(MAIN, current.files[MAIN]), MAIN).devices_csv
    if csv is not None and not _is_list(csv, current):
        hint = "a name such as devices.csv, inside of the folder of the configuration"
        found.append(Problem(MAIN, 1, "devices_csv", f"'{csv[:100]}' cannot be pushed", hint))
    own = current.settings.gateway.profiles_dir
    for name in files:
        path = PurePosixPath(name)
        is_profile = own is not None and path.parent == PurePosixPath(own) and name.endswith(SUFFIX)
        if name != MAIN and name != csv and not is_profile:
            hint = f"{MAIN}, its devices_csv, and profiles in its profiles_dir, if it has one, can be pushed"
            found.append(Problem(name, 1, "", "is no file of this configuration", hint))
    return found


def push_problems(current: Config, new: Config, collector: str) -> list[Problem]:
    """What in a configuration without mistakes is not for a push of this collector to change, by name."""
    document = parse_document(new.files[MAIN], file=MAIN)
    own = len(document.data.get("devices") or ()) if isinstance(document.data, dict) else 0
    found = [document.problem(mistake) for mistake in _sections(current, new)]
    found += [document.problem(mistake) for mistake in _proxies(current, new)]
    found += [document.problem(mistake) for mistake in _others(current, new, collector)]
    found += [document.problem(mistake) for mistake in _buses(current, new)]
    for index, device, what in _devices(current, new):
        if index < own:
            found.append(document.problem(Mistake(("devices", index), what, _ON_SITE)))
        else:
            found.append(Problem(new.settings.devices_csv or "", 1, device, what, _ON_SITE))
    return found


def _is_list(name: str, current: Config) -> bool:
    state = PurePosixPath(current.settings.gateway.state_dir)
    return (
        FILE_NAME.fullmatch(name) is not None
        and name.endswith(".csv")
        and not PurePosixPath(name).is_relative_to(state)
    )


def _sections(current: Config, new: Config) -> Iterator[Mistake]:
    for name in type(new.settings).model_fields:
        if name not in SECTIONS and getattr(current.settings, name) != getattr(new.settings, name):
            yield Mistake((name,), f"'{name}' is not for a push to change", f"leave it as it is; {_ON_SITE}")


def _proxies(current: Config, new: Config) -> Iterator[Mistake]:
    """The login of a proxy goes to that proxy and no other."""

    def logins(config: Config) -> dict[tuple[str, ...], UplinkSection | CollectorSection]:
        sections: dict[tuple[str, ...], UplinkSection | CollectorSection] = {
            ("uplink",): config.settings.uplink
        }
        return sections | {("collectors", n): section for n, section in config.settings.collectors.items()}

    before = logins(current)
    for path, section in logins(new).items():
        if section.proxy_login_file is None:
            continue
        known = before.get(path)
        if known is None or (known.proxy, known.proxy_login_file) != (
            section.proxy,
            section.proxy_login_file,
        ):
            yield Mistake((*path, "proxy_login_file"), "is for a proxy that a push has chosen", _ON_SITE)


def _others(current: Config, new: Config, collector: str) -> Iterator[Mistake]:
    """Nobody pushes how another collector is reached."""
    before, after = ({each.name: each for each in config.collectors} for config in (current, new))
    for name in before.keys() | after.keys():
        if name != collector and before.get(name) != after.get(name):
            what = f"changes collector '{name}', and is pushed by '{collector}'"
            yield Mistake(("collectors", name), what, _ON_SITE)
    if collector not in after:
        yield Mistake(("collectors",), f"lacks '{collector}', which pushes it", "it could never be confirmed")


def _buses(current: Config, new: Config) -> Iterator[Mistake]:
    before = {bus.id: bus for bus in current.settings.buses}
    after = {bus.id: bus for bus in new.settings.buses}
    for index, bus in enumerate(new.settings.buses):
        if bus != before.get(bus.id) and (what := _guard_of(bus)):
            yield Mistake(("buses", index), f"{what}, and is not for a push to add or change", _ON_SITE)
    for name, bus in before.items():
        if bus.kind in DOORS and (name not in after or after[name].kind != bus.kind):
            yield Mistake(("buses",), f"'{name}' is a bus of doors, and not for a push to remove", _ON_SITE)


def _guard_of(bus: BusSection) -> str:
    if bus.kind in DOORS:
        return f"'{bus.id}' is a bus of doors"
    return f"'{bus.id}' names a file with a secret" if files_of(bus) else ""


def _devices(current: Config, new: Config) -> Iterator[tuple[int, str, str]]:
    doors = {bus.id for config in (current, new) for bus in config.settings.buses if bus.kind in DOORS}
    before = {device.id: device for device in current.settings.devices}
    after = {device.id for device in new.settings.devices}
    for index, device in enumerate(new.settings.devices):
        known = before.get(device.id)
        if device.bus in doors and device != known:
            yield index, device.id, f"'{device.id}' is a door, and is not for a push to add or change"
        elif device.key_file is not None and not _has_the_same_key(device, known):
            yield index, device.id, f"'{device.id}' names a file with a key, and is not for a push to add"
        elif known is not None and known.bus in doors and device.bus not in doors:
            yield index, device.id, f"'{device.id}' is a door, and is not for a push to move"
    for name, device in before.items():
        if device.bus in doors and name not in after:
            yield 0, name, f"'{name}' is a door, and is not for a push to remove"


def _has_the_same_key(device: DeviceSection, known: DeviceSection | None) -> bool:
    return known is not None and (known.key_file, known.bus) == (device.key_file, device.bus)
