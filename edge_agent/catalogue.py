"""Finds profiles by name: those of the gateway's own folder first, then those that are shipped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

from models.document import DocumentMistakes
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile, load_profile

SUFFIX: Final = ".yaml"


class UnknownProfile(NeedsAHuman):
    """No profile has that name."""

    def __init__(self, name: str, hint: str) -> None:
        super().__init__(f"no profile '{name}' ({hint})")
        self.name, self.hint = name, hint


class ProfilesUnreadable(NeedsAHuman):
    """The gateway's own folder of profiles cannot be read."""

    def __init__(self, folder: Path, detail: str) -> None:
        super().__init__(f"{folder}: {detail}; it must be a folder of profiles that can be read")
        self.folder, self.detail = folder, detail


class _File(Protocol):
    """What is read of a file, wherever it is."""

    @property
    def name(self) -> str: ...

    def read_bytes(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Given:
    """A file of our own folder whose content is at hand."""

    path: Path
    content: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.name

    def read_bytes(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return str(self.path)


class Catalogue:
    """All profiles that a gateway can use, each read at most once."""

    def __init__(self, own: Path | None = None, given: Mapping[str, bytes] | None = None) -> None:
        """Raise ProfilesUnreadable when `own` is given and cannot be read.

        `given` are files of that folder, by name, which are taken in place of what it has.
        """
        self._files: dict[str, _File] = {}
        self._read: dict[str, Profile] = {}
        self.own: set[str] = set()
        for family in files("firmware_configs").joinpath("profiles").iterdir():
            if family.is_dir():
                self._add_all(family.iterdir())
        if own is not None:
            try:
                self.own = self._add_all(own.iterdir())
            except OSError as err:
                raise ProfilesUnreadable(own, err.strerror or str(err)) from err
            self.own |= self._add_all(_Given(own / name, text) for name, text in (given or {}).items())

    def names(self) -> list[str]:
        return sorted(self._files)

    def load(self, name: str) -> Profile:
        """Raise UnknownProfile, or DocumentMistakes when the file is wrong or cannot be read."""
        if name not in self._files:
            raise UnknownProfile(name, suggest(name, self._files))
        if name not in self._read:
            self._read[name] = load_profile(*self._text(name), self.find)
        return self._read[name]

    def find(self, name: str) -> tuple[bytes, str] | None:
        """The text of a profile that another one extends, and what messages call its file.

        Raises ProfilesUnreadable.
        """
        return self._text(name) if name in self._files else None

    def _text(self, name: str) -> tuple[bytes, str]:
        file = self._files[name]
        try:
            return file.read_bytes(), str(file) if name in self.own else file.name
        except OSError as err:
            raise ProfilesUnreadable(Path(str(file)), err.strerror or str(err)) from err

    def _add_all(self, found: Iterable[_File]) -> set[str]:
        named = {file.name.removesuffix(SUFFIX): file for file in found if file.name.endswith(SUFFIX)}
        self._files.update(named)
        return set(named)


__all__ = ["Catalogue", "DocumentMistakes", "ProfilesUnreadable", "UnknownProfile"]
