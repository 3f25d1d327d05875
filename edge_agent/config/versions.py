"""Keeps every configuration that became active: what it said, when, and who made it so."""

from pathlib import Path
from typing import Final, Literal

import msgspec

from edge_agent.files import write_durably
from models.configuration import digest_of
from models.errors import NeedsAHuman

MOST_VERSIONS: Final = 100
MOST_BYTES: Final = 64_000_000
"""Of all versions together. The oldest go first; the two newest stay, whatever they take."""

_SUFFIX: Final = ".version"


class NoSuchVersion(NeedsAHuman):
    """The history does not have it, or not any more."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration, at the time when it became active."""

    number: int = 0  # from 1, and never used again; 0: not kept
    digest: str
    at_ms: int
    origin: Literal["on-site", "collector", "gateway"]
    by: str
    why: str = ""
    collector: str = ""  # which one has pushed it
    pushed: int = 0  # the number that it has there
    files: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Version(number={self.number}, digest={self.digest[:12]!r}, by={self.by!r})"


class Versions:
    """The folder of all versions, one file each. Reads what is there at each call; one process writes."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "config"

    def all(self) -> list[Version]:
        """Those that can be read, the oldest first."""
        found = (self._read(number) for number in self._numbers())
        return [version for version in found if version is not None]

    def latest(self) -> Version | None:
        """The newest that can be read."""
        for number in reversed(self._numbers()):
            if (version := self._read(number)) is not None:
                return version
        return None

    def get(self, number: int) -> Version:
        """Raise NoSuchVersion."""
        if (version := self._read(number)) is None:
            raise NoSuchVersion(f"there is no version {number}; see: edge-agent config history")
        return version

    def keep(self, version: Version) -> Version:
        """The same with its number, on disk when this returns. Raises OSError."""
        numbers = self._numbers()
        kept = msgspec.structs.replace(version, number=max(numbers, default=0) + 1)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self._path(kept.number), msgspec.msgpack.encode(kept), mode=0o600)
        self._tidy([*numbers, kept.number])
        return kept

    def _tidy(self, numbers: list[int]) -> None:
        sizes = {number: self._path(number).stat().st_size for number in numbers}
        for number in numbers[:-2]:
            if len(sizes) <= MOST_VERSIONS and sum(sizes.values()) <= MOST_BYTES:
                return
            self._path(number).unlink(missing_ok=True)
            del sizes[number]

    def _numbers(self) -> list[int]:
        try:
            names = [file.name.removesuffix(_SUFFIX) for file in self._folder.glob(f"*{_SUFFIX}")]
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def _read(self, number: int) -> Version | None:
        try:
            version = msgspec.msgpack.decode(self._path(number).read_bytes(), type=Version)
        except (OSError, msgspec.MsgspecError):
            return None
        return version if version.digest == digest_of(version.files) else None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}{_SUFFIX}"
