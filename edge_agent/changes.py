"""Finds out what a new configuration touches of what is running: no more than what is another than before."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.config.load import files_of

# Of a device: what the one who talks to it need not know.
_BESIDE_THE_BUS: Final = ("name", "zone", "report")

# Sections that are read at the start only. What they keep open (a store, its folder) outlives every reload.
AT_THE_START: Final = ("gateway", "buffer")


@dataclass(frozen=True, slots=True)
class DeviceChanges:
    """What is to be done with the devices of a bus that runs on."""

    gone: tuple[str, ...] = ()
    put: tuple[str, ...] = ()
    """New ones, and those that are to take the place of what has the same id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is touched, by ids. What is not named here goes on as if nothing had happened."""

    ended: tuple[str, ...] = ()
    """Buses that stop: they are gone, have no devices any more, or begin again as another."""
    begun: tuple[str, ...] = ()
    """Buses that start, in the order of the new configuration."""
    changed: Mapping[str, DeviceChanges] = field(default_factory=dict)
    """Buses that run on, and what becomes of their devices."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Devices, wherever they are or were."""
    described: tuple[str, ...] = ()
    """Devices of which the collector is to be told: what it knows of them is not so any more."""
    sections: tuple[str, ...] = ()
    """Sections other than buses and devices that say something else than before."""

    @property
    def is_nothing(self) -> bool:
        return self == NO_CHANGES

    @property
    def waits_for_a_start(self) -> tuple[str, ...]:
        """Sections whose change is not followed before the next start."""
        return tuple(name for name in self.sections if name in AT_THE_START)


NO_CHANGES: Final = Changes()


def find_changes(old: Config, new: Config, *, living: Collection[str]) -> Changes:
    """`living` are the kinds of buses whose devices may come, change and go while they run."""
    before, after = _buses(old), _buses(new)
    ended: list[str] = []
    changed: dict[str, DeviceChanges] = {}
    for name, (bus, devices) in before.items():
        if name not in after:
            ended.append(name)
            continue
        its, theirs = after[name]
        between = _between(old, devices, new, theirs)
        if _wire(old, bus) != _wire(new, its) or (between != DeviceChanges() and bus.kind not in living):
            ended.append(name)
        elif between != DeviceChanges():
            changed[name] = between
    begun = [name for name in after if name not in before or name in ended]
    known = {device.id: device for device in old.settings.devices}
    now = {device.id: device for device in new.settings.devices}
    return Changes(
        ended=tuple(ended),
        begun=tuple(begun),
        changed=changed,
        added=tuple(name for name in now if name not in known),
        removed=tuple(name for name in known if name not in now),
        described=tuple(
            name
            for name, device in now.items()
            if name not in known or old.description_of(known[name]) != new.description_of(device)
        ),
        sections=tuple(
            name
            for name in type(new.settings).model_fields
            if name not in ("buses", "devices", "devices_csv") and _section(old, name) != _section(new, name)
        )
        + (("report",) if old.report_rules != new.report_rules else ()),
    )


def _section(config: Config, name: str) -> Any:
    """What it says. Which folder own profiles are in shows in the devices, if at all."""
    section = getattr(config.settings, name)
    return section.model_copy(update={"profiles_dir": None}) if name == "gateway" else section


def _buses(config: Config) -> dict[str, tuple[BusSection, dict[str, DeviceSection]]]:
    """Those that run: a bus without devices does not."""
    found = {}
    for bus in config.settings.buses:
        devices = {device.id: device for device in config.settings.devices if device.bus == bus.id}
        if devices:
            found[bus.id] = bus, devices
    return found


def _between(
    old: Config, before: Mapping[str, DeviceSection], new: Config, after: Mapping[str, DeviceSection]
) -> DeviceChanges:
    return DeviceChanges(
        gone=tuple(name for name in before if name not in after),
        put=tuple(
            name
            for name, device in after.items()
            if name not in before or _at_the_bus(old, before[name]) != _at_the_bus(new, device)
        ),
    )


def _wire(config: Config, bus: BusSection) -> tuple[Any, ...]:
    """All that a bus is made of, the content of its files included."""
    return bus, [config.digest_beside(name) for name in files_of(bus)]


def _at_the_bus(config: Config, device: DeviceSection) -> tuple[Any, ...]:
    """All that the driver of a device is made of."""
    fields = device.model_dump(exclude=set(_BESIDE_THE_BUS))
    return fields, config.profile_of(device), [config.digest_beside(name) for name in files_of(device)]
