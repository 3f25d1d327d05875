"""The profiles that ship with the project, by name, and anybody's own, by the path of its file."""

from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, TypeVar

from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile, as_family, load_profile

P = TypeVar("P", bound=Profile)

_ENDING: Final = ".yaml"  # a name has no dot


class UnknownProfile(NeedsAHuman):
    """No profile has that name."""

    def __init__(self, name: str, hint: str) -> None:
        self.name, self.hint = name, hint
        super().__init__(f"there is no profile '{name}' ({hint})")


def profile_names() -> list[str]:
    """Those of all families."""
    return sorted(_files())


def profile_of(name: str, model: type[P]) -> P:
    """Of a shipped profile, or of a file if `name` ends in .yaml.

    Raises UnknownProfile, WrongFamily, and DocumentMistakes when the file is wrong.
    """
    return as_family(_own(name) if name.endswith(_ENDING) else _named(name), model)


@lru_cache(maxsize=64)
def _own(path: str) -> Profile:
    def beside(name: str) -> tuple[bytes, str] | None:
        file = Path(path).with_name(f"{name}{_ENDING}")
        return (file.read_bytes(), str(file)) if file.is_file() else _found(name)

    try:
        data = Path(path).read_bytes()
    except OSError as err:
        raise UnknownProfile(path, f"the file cannot be read: {err.strerror}") from err
    return load_profile(data, path, beside)


@lru_cache(maxsize=64)
def _named(name: str) -> Profile:
    known = _files()
    if name not in known:
        raise UnknownProfile(name, suggest(name, profile_names()))
    return load_profile(known[name].read_bytes(), known[name].name, _found)


def _found(name: str) -> tuple[bytes, str] | None:
    file = _files().get(name)
    return None if file is None else (file.read_bytes(), file.name)


@lru_cache(maxsize=1)
def _files() -> dict[str, Traversable]:
    return {
        file.name.removesuffix(_ENDING): file
        for family in files("firmware_configs").joinpath("profiles").iterdir()
        if family.is_dir()
        for file in family.iterdir()
        if file.name.endswith(_ENDING)
    }
