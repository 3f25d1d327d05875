"""The gateway's configuration: one YAML file, checked as a whole before anything is opened."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from edge_agent.catalogue import Catalogue, DocumentMistakes, ProfilesUnreadable, UnknownProfile
from models.document import Mistake, Problem, load_document
from models.document_hints import suggest
from models.inventory import DeviceDescription
from models.profile import Profile, describe, parameter_mistakes

MIN_BUFFER_MB: Final = 16
LAST_UNIT: Final = 247  # 248 to 254 are reserved by the standard; 255 means the TCP device itself


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySection(_Section):
    state_dir: str = Field(default="state", min_length=1, description="folder for buffer and identity")
    profiles_dir: str | None = Field(default=None, min_length=1, description="folder with your own profiles")


class HealthSection(_Section):
    host: str = Field(default="127.0.0.1", description="a loopback address: 127.0.0.1 or ::1")
    port: int = Field(default=9464, ge=0, le=65535, description="0 takes any free port")


class BufferSection(_Section):
    retention_days: float = Field(
        default=30,
        ge=0,
        le=3650,
        description="how long delivered batches stay, for a collector that was restored",
    )
    max_mb: int = Field(
        default=512, ge=MIN_BUFFER_MB, le=1 << 20, description="the most that the buffer takes on disk"
    )


class UplinkSection(_Section):
    live_every_s: float = Field(
        default=10, ge=1, le=86_400, description="how long a reading may wait to be sent"
    )
    max_items: int = Field(default=5000, ge=1, le=50_000, description="readings and events in one batch")


class ModbusTcp(_Section):
    host: str = Field(min_length=1, description="name or address")
    port: int = Field(default=502, ge=1, le=65535)


class BusSection(_Section):
    id: str = Field(min_length=1, max_length=64)
    modbus_tcp: ModbusTcp = Field(description="host and port of the device or converter")


class DeviceSection(_Section):
    id: str = Field(
        min_length=1, max_length=64, description="never change it: the collector knows the device by it"
    )
    name: str = Field(default="", max_length=200, description="what people call it")
    bus: str = Field(description="the id of a bus above")
    unit: int = Field(default=1, ge=1, le=255, description="its unit id (slave address) on the bus")
    profile: str = Field(description="what kind of device it is; see `edge-agent profiles`")
    period_s: float = Field(ge=1, le=86_400, description="how often it is read")
    parameters: dict[str, float] = Field(default={}, description="such as transformer ratios")


class ConfigFile(_Section):
    """What stands in gateway.yaml."""

    gateway: GatewaySection = GatewaySection()
    health: HealthSection = HealthSection()
    buffer: BufferSection = BufferSection()
    uplink: UplinkSection = UplinkSection()
    buses: tuple[BusSection, ...] = Field(default=(), description="what devices are connected to")
    devices: tuple[DeviceSection, ...] = Field(default=(), description="what is read")


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration without mistakes, with the profiles that its devices use."""

    file: Path
    settings: ConfigFile
    profiles: dict[str, Profile]

    @property
    def state_dir(self) -> Path:
        return self.file.parent / self.settings.gateway.state_dir

    @property
    def buffer_file(self) -> Path:
        return self.state_dir / "buffer.db"

    def profile_of(self, device: DeviceSection) -> Profile:
        return self.profiles[device.profile]

    def description_of(self, device: DeviceSection) -> DeviceDescription:
        """What the collector is told of a device."""
        return describe(
            self.profile_of(device),
            device_id=device.id,
            name=device.name or device.id,
            period_s=device.period_s,
            parameters=device.parameters,
        )


def load_config(path: Path) -> Config:
    """Read and check `path`. Opens no device. Raise DocumentMistakes with all that is wrong."""
    try:
        text = path.read_bytes()
    except OSError as err:
        hint = "edge-agent init makes one" if isinstance(err, FileNotFoundError) else "check its rights"
        raise DocumentMistakes([Problem(str(path), 1, "", err.strerror or str(err), hint)]) from err
    profiles: dict[str, Profile] = {}
    settings = load_document(
        text, ConfigFile, file=str(path), check=lambda settings: _mistakes(settings, path.parent, profiles)
    )
    return Config(path, settings, profiles)


def _mistakes(settings: ConfigFile, folder: Path, profiles: dict[str, Profile]) -> Iterator[Mistake]:
    """All that is wrong with the file as a whole; what profiles its devices use goes into `profiles`."""
    yield from _loopback(settings.health)
    yield from _ids("buses", [bus.id for bus in settings.buses])
    yield from _ids("devices", [device.id for device in settings.devices])
    yield from _endpoints(settings)
    catalogue: Catalogue | None = None
    try:
        own = settings.gateway.profiles_dir
        catalogue = Catalogue(folder / own if own else None)
    except ProfilesUnreadable as err:
        yield Mistake(
            ("gateway", "profiles_dir"), f"{err.folder}: {err.detail}", "make the folder, or correct this"
        )
    units: dict[tuple[str, int], str] = {}
    for index, device in enumerate(settings.devices):
        yield from _place(settings, index, device, units)
        if catalogue is not None:
            yield from _kind(catalogue, index, device, profiles)


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


def _ids(section: str, ids: list[str]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for index, name in enumerate(ids):
        path = (section, index, "id")
        if name in seen:
            yield Mistake(path, f"'{name}' is the id of another one above", "each id once")
        seen.add(name)
        if name.startswith("@"):
            yield Mistake(path, "ids that begin with @ are reserved for the gateway itself", "choose another")
        elif not name.isprintable() or any(char.isspace() for char in name):
            yield Mistake(path, "has a space or a control character", "use letters, digits, - and _")


def _endpoints(settings: ConfigFile) -> Iterator[Mistake]:
    seen: dict[tuple[str, int], str] = {}
    for index, bus in enumerate(settings.buses):
        endpoint = (bus.modbus_tcp.host.lower(), bus.modbus_tcp.port)
        if endpoint in seen:
            yield Mistake(
                ("buses", index, "modbus_tcp"),
                f"is the same endpoint as bus '{seen[endpoint]}', and two would talk at once",
                "put the devices of both on one bus",
            )
        seen.setdefault(endpoint, bus.id)


def _place(
    settings: ConfigFile, index: int, device: DeviceSection, units: dict[tuple[str, int], str]
) -> Iterator[Mistake]:
    buses = [bus.id for bus in settings.buses]
    if device.bus not in buses:
        yield Mistake(
            ("devices", index, "bus"),
            f"no bus '{device.bus}'",
            suggest(device.bus, buses) or "add it to buses",
        )
    if LAST_UNIT < device.unit < 255:
        yield Mistake(
            ("devices", index, "unit"),
            f"{device.unit} is reserved",
            "1 to 247; 255 for a TCP device without a unit id",
        )
    other = units.setdefault((device.bus, device.unit), device.id)
    if other != device.id:
        yield Mistake(
            ("devices", index, "unit"),
            f"unit {device.unit} of bus '{device.bus}' is device '{other}' already",
        )


def _kind(
    catalogue: Catalogue, index: int, device: DeviceSection, profiles: dict[str, Profile]
) -> Iterator[Mistake]:
    try:
        profile = catalogue.load(device.profile)
    except UnknownProfile as err:
        yield Mistake(("devices", index, "profile"), f"no profile '{device.profile}'", err.hint)
        return
    except ProfilesUnreadable as err:
        yield Mistake(("devices", index, "profile"), f"{err.folder}: {err.detail}", "check its rights")
        return
    except DocumentMistakes as err:
        yield Mistake(("devices", index, "profile"), f"has mistakes: {err.problems[0]}", "correct it first")
        return
    profiles[device.profile] = profile
    for mistake in parameter_mistakes(profile, device.parameters):
        yield Mistake(("devices", index, *mistake.path), mistake.what, mistake.hint)


__all__ = ["Config", "ConfigFile", "DeviceSection", "DocumentMistakes", "load_config"]
