"""What is on trial, on disk before anything is changed: whatever ends the agent, nothing half remains.

A configuration that was pushed and not yet confirmed is undone by the next start, before it reads any
configuration. It does not wait for what is left of the time: that the agent has ended may well be the doing
of that configuration, and after a reboot nobody knows how much time has passed.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from edge_agent.config.bundle import file_of, places_in
from edge_agent.config.sections import BUFFER_FILE
from edge_agent.files import is_locked, rewrite_durably, sync_folder, write_durably
from models.configuration import MAIN

RESTARTED: Final = "restarted"
_NAME: Final = "trial"

_log = logging.getLogger(__name__)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A pushed configuration with what it replaces."""

    id: str
    collector: str  # by its name here
    number: int
    by: str
    why: str
    confirm_s: float
    before: dict[str, bytes]  # the files of the whole configuration
    after: dict[str, bytes]
    state: Literal["trying", "kept", "reverted"] = "trying"
    code: str = ""  # why it was reverted, for programs
    detail: str = ""  # and for people

    def __repr__(self) -> str:
        return f"Trial(id={self.id!r}, number={self.number}, state={self.state!r})"


class Journal:
    """The one trial of a gateway, if there is one."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "config"
        self._file = self._folder / _NAME

    def read(self) -> Trial | None:
        """None also for what nobody can read: it was written in one step, so it is none of ours."""
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=Trial)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, trial: Trial) -> None:
        """On disk when this returns. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._file, msgspec.msgpack.encode(trial), mode=0o600)

    def remove(self) -> None:
        """All of it has been told."""
        self._file.unlink(missing_ok=True)
        sync_folder(self._folder)


def put_files(path: Path, old: Mapping[str, bytes], new: Mapping[str, bytes]) -> None:
    """Bring those files on disk that are as in `old` to what they are in `new`.

    A file that is neither was changed by somebody meanwhile, and stays. The main file comes last: what it
    names is there then. May be repeated after any interruption. Raises OSError.
    """
    for name in sorted(old.keys() | new.keys(), key=lambda name: name == MAIN):
        file = file_of(path, name)
        if old.get(name) == new.get(name) or _content(file) != old.get(name):
            continue
        if name in new:
            rewrite_durably(file, new[name])
        else:
            file.unlink(missing_ok=True)
            sync_folder(file.parent)


def can_write(path: Path, names: Mapping[str, bytes]) -> str:
    """Why these files beside `path` cannot be written; "" when they can."""
    for folder in {file_of(path, name).parent for name in names}:
        probe = folder / ".push-probe"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(probe, b"")
            probe.unlink()
        except OSError as err:
            return f"{folder}: {err.strerror}; the agent must be allowed to write there"
    return ""


def recover(path: Path) -> None:
    """Undo what was on trial when the agent ended. Before the configuration is read."""
    try:
        state_dir = places_in(path.read_bytes(), path.name).state_dir or "state"
    except OSError:
        return  # reading the configuration will tell
    folder = path.parent / state_dir
    journal = Journal(folder)
    trial = journal.read()
    if trial is None or trial.state != "trying":
        return
    if is_locked(folder / f"{BUFFER_FILE}.lock"):
        return  # by an agent that runs: the trial is its own, and whoever starts a second one is told so
    detail = "the agent ended while it was being tried"
    try:
        put_files(path, trial.after, trial.before)
        journal.write(msgspec.structs.replace(trial, state="reverted", code=RESTARTED, detail=detail))
    except OSError as err:
        _log.error("a configuration that was on trial cannot be undone: %s", err)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
