"""Bluetooth in a scenario: the devices around one adapter."""

from collections.abc import Iterator

from pydantic import Field

from models.document import DocumentMistakes, Mistake
from models.profile import WrongFamily
from models.profile.ble import ADDRESS, BleProfile
from models.profile.ble_formats import FORMATS
from simulators.ble.faults import AdapterFault, BleFault
from simulators.fields import DurationMs, Section
from simulators.profiles import UnknownProfile, profile_of

_PROVEN = ("replayed", "wrong_key", "downgrade")
"""Faults that no reader could notice of a device that proves nothing."""
_ADVERTISED = ("duplicate", "foreign", "counter_reset")
"""Faults of advertisements, which mean nothing to a device that is asked."""


class BleDeviceSection(Section):
    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    address: str = Field(pattern=rf"^{ADDRESS}$", description="as A4:C1:38:00:00:01")
    profile: str = Field(description="name of a Bluetooth profile; its format is what the device speaks")
    key: str | None = Field(
        default=None, pattern=r"^([0-9a-fA-F]{2}){16}$", description="hex, where its format has a key"
    )
    every_ms: DurationMs = Field(default=5_000, ge=100, description="between two measurements, as 5s")
    load_kw: float = Field(default=2.0, gt=0, le=30, description="of a meter, on a usual working day")
    counter: int = Field(default=1, ge=0, lt=1 << 32, description="where its frame counter begins")
    faults: tuple[BleFault, ...] = ()


class BleSection(Section):
    adapter: str = Field(default="hci0", pattern=r"^[a-z]+[0-9]+$", description="its name")
    devices: tuple[BleDeviceSection, ...] = Field(min_length=1, description="at least one")
    socket: str | None = Field(
        default=None, min_length=1, description="where the bus listens; without it, in a folder of its own"
    )
    strangers: int = Field(default=0, ge=0, le=500, description="devices around that nobody has configured")
    faults: tuple[AdapterFault, ...] = Field(default=(), description="of the adapter")


def find_mistakes(section: BleSection) -> Iterator[Mistake]:
    """What is wrong though each value is right by itself."""
    ids: set[str] = set()
    addresses: set[str] = set()
    for index, device in enumerate(section.devices):
        path = ("devices", index)
        if device.id in ids:
            yield Mistake((*path, "id"), f"a device '{device.id}' stands above already")
        if device.address.upper() in addresses:
            yield Mistake((*path, "address"), f"{device.address} stands above already")
        ids.add(device.id)
        addresses.add(device.address.upper())
        try:
            profile = profile_of(device.profile, BleProfile)
        except UnknownProfile as err:
            yield Mistake((*path, "profile"), f"there is no profile '{device.profile}'", err.hint)
        except DocumentMistakes as err:
            yield Mistake((*path, "profile"), f"the profile is wrong: {err.problems[0]}")
        except WrongFamily as err:
            yield Mistake(
                (*path, "profile"), f"'{device.profile}' is no Bluetooth device but one of {err.family}"
            )
        else:
            if device.profile != profile.profile:
                yield Mistake((*path, "profile"), "only shipped Bluetooth profiles are simulated", "its name")
            needs_key = profile.addressing.key == "required"
            if needs_key != (device.key is not None) and profile.addressing.key != "allowed":
                what = "is missing" if needs_key else f"{device.profile} has no key"
                yield Mistake((*path, "key"), what, "32 hex digits" if needs_key else "remove it")
            is_asked = FORMATS[profile.ble.format].over == "gatt"
            for fault in device.faults:
                if fault.kind in _PROVEN and not profile.ble.authenticated:
                    what = f"'{fault.kind}' cannot be noticed, for {device.profile} proves nothing"
                    yield Mistake((*path, "faults"), what)
                if fault.kind in _ADVERTISED and is_asked:
                    what = f"'{fault.kind}' is of advertisements, and {device.profile} is asked"
                    yield Mistake((*path, "faults"), what)
