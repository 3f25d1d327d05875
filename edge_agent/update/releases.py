"""The releases on a gateway, and which of them is in use: one folder, one file that says it.

The file alone decides, and is replaced in one step: a loss of power leaves the state before or after it.
"" stands for the version that was installed, which is always there.
"""

import fcntl
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from edge_agent.files import write_durably
from edge_agent.update.archive import check_files, read_manifest, unpack
from edge_agent.update.formats import buffer_formats
from edge_agent.version import agent_version
from models.errors import NeedsAHuman
from models.release import Formats, Manifest, ReleaseRefused, check_fits, version_key

STATE: Final = "state.json"
LOCK: Final = "launcher.lock"
KEY_FILE: Final = "release.pub"
"""Beside gateway.yaml: 64 hex digits, pinned by whoever installs the gateway. No command over the network
changes it, and neither does a configuration that the collector sends."""

MOST_ATTEMPTS: Final = 2
"""A trial that was begun so often and never came to an end took the machine down with it."""

HISTORY: Final = 30
INSTALLED: Final = ""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A release that has to show that it is well. What worked before it must work under it."""

    version: str
    attempts: int = 0  # begun
    devices_answered: bool = False
    collector_reached: bool = False


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One change of what is in use."""

    at_ms: int
    what: str  # staged, tried, taken, failed, rolled-back
    version: str
    detail: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is in use."""

    current: str = INSTALLED
    previous: str | None = None  # where `rollback` leads
    trial: Trial | None = None
    highest: str = "0.0"  # ever taken into use
    failed: dict[str, str] = {}
    history: tuple[Happened, ...] = ()

    @property
    def wanted(self) -> str:
        """The version that is to run now."""
        return self.current if self.trial is None else self.trial.version

    def noted(self, what: str, version: str, detail: str = "") -> "State":
        happened = Happened(at_ms=time.time_ns() // 1_000_000, what=what, version=version, detail=detail)
        return msgspec.structs.replace(self, history=(*self.history, happened)[-HISTORY:])

    def begun(self) -> "State":
        """The trial is begun once more."""
        if self.trial is None:
            return self
        trial = msgspec.structs.replace(self.trial, attempts=self.trial.attempts + 1)
        return msgspec.structs.replace(self, trial=trial).noted("tried", trial.version)

    def taken(self) -> "State":
        """The trial went well."""
        if self.trial is None:
            return self
        version = self.trial.version
        highest = max(self.highest, version, key=version_key)
        return msgspec.structs.replace(
            self, current=version, previous=self.current, trial=None, highest=highest
        ).noted("taken", version)

    def gone_back(self, why: str) -> "State":
        """The trial did not."""
        if self.trial is None:
            return self
        version = self.trial.version
        failed = {**self.failed, version: why}
        return msgspec.structs.replace(self, trial=None, failed=failed).noted("failed", version, why)


class NoReleaseKey(NeedsAHuman):
    """The gateway trusts nobody's releases."""


class NothingToDo(NeedsAHuman):
    """There is no such release, or none to go back to."""


class Releases:
    """Those of one gateway."""

    def __init__(self, config_file: Path, state_dir: Path) -> None:
        self.folder = state_dir / "releases"
        self._key_file = config_file.parent / KEY_FILE

    def public_key(self) -> bytes:
        """The release key that is trusted here. Raise NoReleaseKey."""
        try:
            key = bytes.fromhex(self._key_file.read_text("ascii").strip())
        except (OSError, ValueError):
            key = b""
        if len(key) != 32:
            raise NoReleaseKey(
                f"{self._key_file}: holds no release key, so no release is trusted; who publishes releases "
                "gives it: 64 hex digits"
            )
        return key

    def state(self) -> State:
        """Raise NeedsAHuman when it cannot be read."""
        path = self.folder / STATE
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.MsgspecError) as err:
            raise NeedsAHuman(
                f"{path}: cannot be read ({err}); remove it, and the installed version is used"
            ) from err

    def save(self, state: State) -> None:
        """Survives a loss of power."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.folder / STATE, msgspec.json.encode(state), mode=0o600)

    def place(self, version: str) -> Path:
        return self.folder / version

    def staged(self) -> list[str]:
        """What is here, the oldest first."""
        found = [path.name for path in self.folder.glob("[0-9]*") if path.is_dir() and path.suffix != ".new"]
        return sorted(found, key=version_key)

    def stage(self, file: Path) -> Manifest:
        """Bring a release here. Nothing that runs is touched.

        Raise ReleaseRefused, StagingFailed; NothingToDo while one is tried, which may be the same.
        """
        key, state = self.public_key(), self.state()
        if state.trial is not None:
            raise NothingToDo(f"{state.trial.version} is being tried; stage again when that has ended")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        manifest = read_manifest(file, key)
        self._check_fits(manifest, state)
        target = self.place(manifest.version)
        if target.exists():
            shutil.rmtree(target)  # it is newer than all that was ever in use, so nothing runs from it
        unpack(file, target, key)
        state = self.state()  # unpacking takes time
        failed = {version: why for version, why in state.failed.items() if version != manifest.version}
        self.save(msgspec.structs.replace(state, failed=failed).noted("staged", manifest.version))
        return manifest

    def begin_trial(self, version: str | None, *, devices_answered: bool, collector_reached: bool) -> str:
        """Have the newest release, or the one that is named, tried. Raise NothingToDo, ReleaseRefused."""
        state = self.state()
        newer = [name for name in self.staged() if name not in (state.current, state.previous)]
        wanted = version or (newer[-1] if newer else None)
        if wanted is None or wanted not in newer:
            raise NothingToDo(f"{version or 'a newer release'}: is not staged; edge-agent update stage FILE")
        if wanted in state.failed:
            raise NothingToDo(
                f"{wanted} was not well here ({state.failed[wanted]}); to try it all the same, stage it again"
            )
        self._check_fits(check_files(self.place(wanted), self.public_key()), state)
        trial = Trial(version=wanted, devices_answered=devices_answered, collector_reached=collector_reached)
        self.save(msgspec.structs.replace(state, trial=trial))
        return wanted

    def roll_back(self) -> str:
        """Use what was used before. Raise NothingToDo."""
        state = self.state()
        if state.trial is not None:
            self.save(state.gone_back("somebody went back to the version before it"))
            return state.current
        if state.previous is None:
            raise NothingToDo("there is no version before this one")
        changed = msgspec.structs.replace(state, current=state.previous, previous=state.current)
        self.save(changed.noted("rolled-back", state.previous))
        return state.previous

    def prune(self, state: State) -> None:
        """Keep what is in use, what was before it, and what is newer."""
        keep = {state.current, state.previous, state.wanted}
        for version in self.staged():
            if version not in keep and version_key(version) <= version_key(state.highest):
                shutil.rmtree(self.place(version), ignore_errors=True)

    @contextmanager
    def only_launcher(self) -> Iterator[None]:
        """Hold the lock that says that a launcher runs. Raise NeedsAHuman when another does."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            if not _locked(lock):
                raise NeedsAHuman(
                    f"{self.folder}: another launcher runs for this gateway; stop that one first"
                )
            yield

    def is_launched(self) -> bool:
        """Whether a launcher runs, which does what the state says."""
        try:
            with (self.folder / LOCK).open("rb") as lock:
                return not _locked(lock)
        except OSError:
            return False

    def version_of(self, version: str) -> str:
        """The number of a version, also of the installed one."""
        return version or installed_version()

    def _check_fits(self, manifest: Manifest, state: State) -> None:
        check_fits(
            manifest,
            running=self.version_of(state.current),
            highest=state.highest,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            machine=platform.machine(),
            formats=self._formats(state.current),
        )

    def _formats(self, version: str) -> Formats:
        if version == INSTALLED:
            return buffer_formats()
        return check_files(self.place(version), self.public_key()).buffer


def installed_version() -> str:
    """In a form that can be compared."""
    version = agent_version()
    try:
        version_key(version)
    except ReleaseRefused:
        return "0.0"
    return version


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
