"""The profiles that ship with the project, by name."""

from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile, as_family, load_profile

P = TypeVar("P", bound=Profile)


class UnknownProfile(NeedsAHuman):
    """No profile has that name."""

    def __init__(self, name: str) -> None:
        self.name, self.hint = name, suggest(name, profile_names())
        super().__init__(f"there is no profile '{name}' ({self.hint})")


def profile_names() -> list[str]:
    """Those of all families."""
    return sorted(_files())


def profile_of(name: str, model: type[P]) -> P:
    """Raises UnknownProfile, WrongFamily, and DocumentMistakes when the file is wrong."""
    return as_family(_named(name), model)


@lru_cache(maxsize=64)
def _named(name: str) -> Profile:
    known = _files()
    if name not in known:
        raise UnknownProfile(name)
    return load_profile(known[name].read_bytes(), known[name].name, _found)


def _found(name: str) -> tuple[bytes, str] | None:
    file = _files().get(name)
    return None if file is None else (file.read_bytes(), file.name)


@lru_cache(maxsize=1)
def _files() -> dict[str, Traversable]:
    return {
        file.name.removesuffix(".yaml"): file
        for family in files("firmware_configs").joinpath("profiles").iterdir()
        if family.is_dir()
        for file in family.iterdir()
        if file.name.endswith(".yaml")
    }
