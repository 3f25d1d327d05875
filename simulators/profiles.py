"""The profiles that ship with the project, by name."""

from functools import lru_cache
from importlib.resources import files

from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile, load_profile

_FOLDER = ("profiles", "modbus")


class UnknownProfile(NeedsAHuman):
    """No profile has that name."""

    def __init__(self, name: str) -> None:
        self.name, self.hint = name, suggest(name, profile_names())
        super().__init__(f"there is no profile '{name}' ({self.hint})")


def profile_names() -> list[str]:
    folder = files("firmware_configs").joinpath(*_FOLDER)
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


@lru_cache(maxsize=64)
def named_profile(name: str) -> Profile:
    """Raises UnknownProfile, and DocumentMistakes when the file is wrong."""
    if name not in profile_names():
        raise UnknownProfile(name)
    file = files("firmware_configs").joinpath(*_FOLDER, f"{name}.yaml")
    return load_profile(file.read_bytes(), file.name)
