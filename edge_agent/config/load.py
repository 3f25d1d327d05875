"""The gateway's configuration: one YAML file, checked as a whole before anything is opened."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_agent.catalogue import Catalogue, ProfilesUnreadable, UnknownProfile
from edge_agent.config.bundle import read_bundle
from edge_agent.config.checks import DeviceMistake, device_mistakes, file_mistakes
from edge_agent.config.collectors import CollectorSettings, collector_settings, settings_of
from edge_agent.config.device_list import devices_in, read_devices
from edge_agent.config.sections import BUFFER_FILE, ConfigFile, DeviceSection, ReportSection, Section
from edge_agent.identity.lock import TokenPlace
from models.configuration import MAIN, digest_of
from models.document import Document, DocumentMistakes, Mistake, Problem, parse_document
from models.inventory import DeviceDescription
from models.profile import Profile, describe

_DIGEST_KEY: Final = secrets.token_bytes(32)
"""Of this process: what it remembers of a secret file says nothing to anybody else."""


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration without mistakes, with the profiles that its devices use.

    `settings.devices` are all devices, those of the CSV file after those of the file itself.
    """

    file: Path
    settings: ConfigFile
    profiles: dict[str, Profile]
    digests: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Of what stood in each file that a bus or a device names, when this was read."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """All that it was read from, as `read_bundle` has it."""

    @property
    def state_dir(self) -> Path:
        return self.file.parent / self.settings.gateway.state_dir

    @property
    def digest(self) -> str:
        """Of all its files: the same in two configurations that are the same byte for byte."""
        return digest_of(self.files)

    @property
    def buffer_file(self) -> Path:
        return self.state_dir / BUFFER_FILE

    @property
    def collectors(self) -> list[CollectorSettings]:
        return collector_settings(self.settings, self.file.parent)

    def collector(self, name: str) -> CollectorSettings:
        """How the collector of that name is reached, also before the file names it."""
        return settings_of(name, self.settings, self.file.parent)

    @property
    def key_token(self) -> TokenPlace | None:
        """What locks the private keys of this gateway."""
        section = self.settings.gateway.key_token
        if section is None:
            return None
        pin_file = str(self.beside(section.pin_file).resolve())
        return TokenPlace(module=section.module, token=section.token, pin_file=pin_file)

    def beside(self, name: str) -> Path:
        """A file that the configuration names, relative to itself."""
        return self.file.parent / name

    def digest_beside(self, name: str) -> bytes:
        """Tells whether a file beside says what it said in another reading; b"" when it could not be read."""
        return self.digests.get(name, b"")

    @property
    def report_rules(self) -> dict[str, dict[str, ReportSection]]:
        """By device and point, when a reading is kept; devices without rules keep all."""
        return {device.id: device.report for device in self.settings.devices if device.report}

    def profile_of(self, device: DeviceSection) -> Profile:
        return self.profiles[device.profile]

    def description_of(self, device: DeviceSection) -> DeviceDescription:
        """What the collector is told of a device."""
        return describe(
            self.profile_of(device),
            device_id=device.id,
            name=device.name or device.id,
            period_s=max(device.period_s, *(rule.max_interval_s for rule in device.report.values()), 0),
            parameters=device.parameters,
        )


def load_config(path: Path) -> Config:
    """Read and check `path`. Opens no device. Raise DocumentMistakes with all that is wrong."""
    return check_bundle(path, read_bundle(path))


def check_bundle(path: Path, files: Mapping[str, bytes], *, called: str = "") -> Config:
    """As `load_config`, of files as `read_bundle` has them, which may be others than those beside `path`.

    Those that are not given are read from there. `called` is the main file in messages, if it is not `path`.
    """
    document = parse_document(files[MAIN], file=called or str(path))
    settings = document.validate(ConfigFile)
    in_list: list[tuple[int, DeviceSection]] = []
    problems: list[Problem] = []
    if settings.devices_csv is not None:
        try:
            in_list = _devices_of(path.parent, settings.devices_csv, files)
        except DocumentMistakes as err:
            problems += err.problems
    devices = (*settings.devices, *(device for _, device in in_list))
    profiles: dict[str, Profile] = {}
    try:
        catalogue = _catalogue_of(settings, path.parent, files)
    except ProfilesUnreadable as err:
        what, hint = f"{err.folder}: {err.detail}", "make the folder, or correct this"
        problems.append(document.problem(Mistake(("gateway", "profiles_dir"), what, hint)))
        catalogue = None
    found = [] if catalogue is None else [*_profile_mistakes(catalogue, devices, profiles)]
    problems += [document.problem(mistake) for mistake in file_mistakes(settings)]
    for mistake in (*found, *device_mistakes(settings.buses, devices, profiles)):
        problems.append(_problem(mistake, document, settings, in_list, path.parent))
    if problems:
        raise DocumentMistakes(problems)
    settings = settings.model_copy(update={"devices": devices})
    return Config(path, settings, profiles, _digests(settings, path.parent), dict(files))


def _devices_of(folder: Path, name: str, files: Mapping[str, bytes]) -> list[tuple[int, DeviceSection]]:
    return devices_in(files[name], str(folder / name)) if name in files else read_devices(folder / name)


def _catalogue_of(settings: ConfigFile, folder: Path, files: Mapping[str, bytes]) -> Catalogue:
    own = settings.gateway.profiles_dir
    if own is None:
        return Catalogue()
    inside = f"{own.rstrip('/')}/"
    given = {name.removeprefix(inside): text for name, text in files.items() if name.startswith(inside)}
    return Catalogue(folder / own, given)


def files_of(section: Section) -> list[str]:
    """The files that a bus or a device names."""
    fields: dict[str, Any] = dict(section)
    named = [value for name, value in fields.items() if name.endswith("_file") and value is not None]
    return named + [
        name for value in fields.values() if isinstance(value, Section) for name in files_of(value)
    ]


def _digests(settings: ConfigFile, folder: Path) -> dict[str, bytes]:
    found = {}
    for name in {name for section in (*settings.buses, *settings.devices) for name in files_of(section)}:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue  # whoever needs it will say so
        found[name] = hashlib.blake2b(content, key=_DIGEST_KEY, digest_size=16).digest()
    return found


def _profile_mistakes(
    catalogue: Catalogue, devices: tuple[DeviceSection, ...], profiles: dict[str, Profile]
) -> Iterator[DeviceMistake]:
    """Read the profiles of all devices into `profiles`; what cannot be read is a mistake of the device."""
    for index, device in enumerate(devices):
        try:
            profiles[device.profile] = catalogue.load(device.profile)
        except UnknownProfile as err:
            yield DeviceMistake(index, ("profile",), f"no profile '{device.profile}'", err.hint)
        except ProfilesUnreadable as err:
            yield DeviceMistake(index, ("profile",), f"{err.folder}: {err.detail}", "check its rights")
        except DocumentMistakes as err:
            yield DeviceMistake(index, ("profile",), f"has mistakes: {err.problems[0]}", "correct it first")


def _problem(
    mistake: DeviceMistake,
    document: Document,
    settings: ConfigFile,
    in_list: list[tuple[int, DeviceSection]],
    folder: Path,
) -> Problem:
    own = len(settings.devices)
    if mistake.at < own:
        return document.problem(Mistake(("devices", mistake.at, *mistake.path), mistake.what, mistake.hint))
    line, device = in_list[mistake.at - own]
    where = ".".join((device.id, *map(str, mistake.path)))
    return Problem(str(folder / (settings.devices_csv or "")), line, where, mistake.what, mistake.hint)
