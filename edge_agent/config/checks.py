"""Finds the mistakes of a configuration that only show when it is looked at as a whole."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from edge_agent.config.collectors import collector_mistakes
from edge_agent.config.sections import BUS_KINDS, BusSection, ConfigFile, DeviceSection, HealthSection
from edge_agent.config.zones import zone_mistakes
from edge_agent.identity.folder import MAIN
from models.document import Mistake
from models.document_hints import suggest
from models.profile import Profile, parameter_mistakes

_KEYS = ("unit", "address")  # by which most devices are told apart


class DeviceMistake(NamedTuple):
    """A mistake in the device of that place in the list; the path begins at one of its keys."""

    at: int
    path: tuple[str | int, ...]
    what: str
    hint: str = ""


def file_mistakes(settings: ConfigFile) -> Iterator[Mistake]:
    """What is wrong with everything but the devices."""
    yield from _loopback(settings.health)
    yield from collector_mistakes(settings)
    known = list(settings.collectors) or [MAIN]
    for index, name in enumerate(settings.configuration.allow_push):
        if name not in known:
            path = ("configuration", "allow_push", index)
            yield Mistake(path, f"no collector '{name}'", suggest(name, known))
    for index, name in _twice([bus.id for bus in settings.buses]):
        yield Mistake(("buses", index, "id"), f"'{name}' is the id of another one above", "each id once")
    for index, bus in enumerate(settings.buses):
        for what, hint in _name(bus.id):
            yield Mistake(("buses", index, "id"), what, hint)
    yield from _wires(settings.buses)


def device_mistakes(
    buses: Sequence[BusSection], devices: Sequence[DeviceSection], profiles: Mapping[str, Profile]
) -> Iterator[DeviceMistake]:
    """What is wrong with the devices; `profiles` holds those that could be read."""
    for index, name in _twice([device.id for device in devices]):
        yield DeviceMistake(index, ("id",), f"'{name}' is the id of another one above", "each id once")
    kinds = {bus.id: bus.kinds for bus in buses}
    places: dict[tuple[str, int | str], str] = {}
    for index, device in enumerate(devices):
        for what, hint in _name(device.id):
            yield DeviceMistake(index, ("id",), what, hint)
        if device.bus not in kinds:
            hint = suggest(device.bus, kinds) or "add it to buses"
            yield DeviceMistake(index, ("bus",), f"no bus '{device.bus}'", hint)
        profile = profiles.get(device.profile)
        if profile is None:
            continue
        yield from _place(index, device, profile, kinds.get(device.bus, []), places)
        for mistake in parameter_mistakes(profile, device.parameters):
            yield DeviceMistake(index, mistake.path, mistake.what, mistake.hint)
        yield from _report(index, device, profile)
        for what, hint in zone_mistakes(device, profile, devices, profiles):
            yield DeviceMistake(index, ("zone",), what, hint)


def address_of(device: DeviceSection) -> int | str:
    """What tells a device from the others on its bus."""
    return device.address.upper() if device.address is not None else device.unit_number


def _loopback(health: HealthSection) -> Iterator[Mistake]:
    try:
        is_loopback = health.host == "localhost" or ipaddress.ip_address(health.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        yield Mistake(
            ("health", "host"),
            f"'{health.host}' is no loopback address, and these pages ask for no password",
            "use 127.0.0.1; to reach it from elsewhere, put a proxy before it",
        )


def _twice(ids: Sequence[str]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for index, name in enumerate(ids):
        if name in seen:
            yield index, name
        seen.add(name)


def _name(name: str) -> Iterator[tuple[str, str]]:
    if name.startswith("@"):
        yield "ids that begin with @ are reserved for the gateway itself", "choose another"
    elif not name.isprintable() or any(char.isspace() for char in name):
        yield "has a space or a control character", "use letters, digits, - and _"


def _wires(buses: Sequence[BusSection]) -> Iterator[Mistake]:
    """Buses that are none, or that would talk over the same wire."""
    seen: dict[tuple[object, ...], str] = {}
    for index, bus in enumerate(buses):
        if len(bus.kinds) != 1:
            what = f"says {' and '.join(bus.kinds)}" if bus.kinds else "does not say what it is"
            yield Mistake(("buses", index), what, "one of: " + ", ".join(BUS_KINDS))
            continue
        wire = _wire(bus)
        if wire in seen:
            yield Mistake(
                ("buses", index, bus.kind),
                f"is the same endpoint as bus '{seen[wire]}', and two would talk at once",
                "put the devices of both on one bus",
            )
        seen.setdefault(wire, bus.id)


def _wire(bus: BusSection) -> tuple[object, ...]:
    section = getattr(bus, bus.kind)
    if bus.kind in ("serial", "osdp"):
        return ("serial", section.port)
    if bus.kind in ("modbus_tcp", "serial_server"):
        return ("tcp", section.host.lower(), section.port)
    if bus.kind == "door_controller":
        return ("url", section.url.lower())
    if bus.kind == "chirpstack":
        return ("broker", section.host.lower(), section.port, section.application)
    if bus.kind == "parking":
        return ("parking", bus.id)
    return (bus.kind, section.adapter)


def _place(
    index: int,
    device: DeviceSection,
    profile: Profile,
    kinds: list[str],
    places: dict[tuple[str, int | str], str],
) -> Iterator[DeviceMistake]:
    addressing = profile.addressing
    if len(kinds) == 1 and kinds[0] not in profile.buses:
        what = f"'{device.bus}' is a {kinds[0]}, but {profile.profile} is read over " + " or ".join(
            profile.buses
        )
        yield DeviceMistake(index, ("bus",), what, "choose another bus, or another profile")
    for key in _KEYS:
        if getattr(device, key) is not None and addressing.by != key:
            what = f"{profile.profile} has no {key}"
            yield DeviceMistake(
                index, (key,), what, f"write {addressing.by}" if addressing.by in _KEYS else "remove it"
            )
    if addressing.by == "address" and not re.fullmatch(addressing.pattern, device.address or ""):
        what = "is missing" if device.address is None else f"'{device.address}' is no address of this kind"
        yield DeviceMistake(index, ("address",), what, addressing.told)
        return
    if addressing.by == "unit" and not any(device.unit_number in units for units in addressing.units):
        yield DeviceMistake(index, ("unit",), f"{device.unit_number} is reserved", addressing.told)
    if (device.key_file is not None) and addressing.key == "never":
        yield DeviceMistake(index, ("key_file",), f"{profile.profile} has no key", "remove it")
    if device.key_file is None and addressing.key == "required":
        yield DeviceMistake(index, ("key_file",), "is missing", "a file with its key in hex")
    if addressing.by == "id":
        return
    place: int | str = "" if addressing.by == "nothing" else address_of(device)
    other = places.setdefault((device.bus, place), device.id)
    if other == device.id:
        return
    if addressing.by == "nothing":
        what = f"bus '{device.bus}' is device '{other}' already, and has place for one"
        yield DeviceMistake(index, ("bus",), what)
    else:
        what = f"{addressing.by} {place} of bus '{device.bus}' is device '{other}' already"
        yield DeviceMistake(index, (addressing.by,), what)


def _report(index: int, device: DeviceSection, profile: Profile) -> Iterator[DeviceMistake]:
    names = [point.name for point in profile.points]
    for name, report in device.report.items():
        if name != "*" and name not in names:
            hint = suggest(name, names)
            yield DeviceMistake(index, ("report", name), f"{profile.profile} has no point '{name}'", hint)
        if report.dead_band is not None and report.dead_band_pct is not None:
            what = "has both dead_band and dead_band_pct"
            yield DeviceMistake(index, ("report", name), what, "choose one")
        if report.min_interval_s > report.max_interval_s:
            what = f"is above max_interval_s, {report.max_interval_s:g}"
            yield DeviceMistake(index, ("report", name, "min_interval_s"), what)
