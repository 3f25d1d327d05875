"""Finds profiles by name: those of the gateway's own folder first, then those that are shipped."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from models.document import DocumentMistakes
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile, load_profile


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


class Catalogue:
    """All profiles that a gateway can use, each read at most once."""

    def __init__(self, own: Path | None = None) -> None:
        """Raise ProfilesUnreadable when `own` is given and cannot be read."""
        self._files: dict[str, Traversable] = {}
        self._read: dict[str, Profile] = {}
        self.own: set[str] = set()
        for family in files("firmware_configs").joinpath("profiles").iterdir():
            if family.is_dir():
                self._add(family)
        if own is not None:
            try:
                self.own = self._add(own)
            except OSError as err:
                raise ProfilesUnreadable(own, err.strerror or str(err)) from err

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

    def _add(self, folder: Traversable) -> set[str]:
        found = {
            file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")
        }
        self._files.update(found)
        return set(found)


__all__ = ["Catalogue", "DocumentMistakes", "ProfilesUnreadable", "UnknownProfile"]
