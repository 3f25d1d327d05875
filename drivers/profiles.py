"""Finds the profiles of devices: those that are shipped, and those in a technician's own folder."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from models.document import DocumentMistakes, Problem
from models.profile import Profile, load_profile


def shipped_profiles() -> dict[str, Profile]:
    """The profiles that come with Gatehouse, by name."""
    return dict(_shipped())


def all_profiles(folder: Path | None = None) -> dict[str, Profile]:
    """The shipped profiles and those of `folder`, which take precedence where they have the same name.

    Raises DocumentMistakes with every mistake of every file in the folder.
    """
    return dict(_shipped()) if folder is None else {**_shipped(), **profiles_in(folder)}


def profiles_in(folder: Path) -> dict[str, Profile]:
    """The profiles in `folder` and its subfolders, by name. Raises DocumentMistakes."""
    paths = sorted(folder.rglob("*.yaml")) if folder.is_dir() else []
    if not folder.is_dir():
        raise DocumentMistakes([Problem(str(folder), 1, "", "is no folder", "make it, or correct the path")])
    return _loaded([(path, str(path)) for path in paths])


@cache
def _shipped() -> dict[str, Profile]:
    folder = files("firmware_configs") / "profiles"
    found = [
        (entry, f"{family.name}/{entry.name}")
        for family in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if family.is_dir()
        for entry in sorted(family.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    ]
    return _loaded(found)


def _loaded(found: list[tuple[Traversable, str]] | list[tuple[Path, str]]) -> dict[str, Profile]:
    profiles: dict[str, Profile] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for entry, shown in found:
        try:
            profile = load_profile(entry.read_bytes(), shown)
        except DocumentMistakes as err:
            problems += err.problems
            continue
        except OSError as err:
            problems.append(Problem(shown, 1, "", f"cannot be read: {err.strerror}", "check its permissions"))
            continue
        if profile.profile in profiles:
            what = f"'{profile.profile}' is also the name of {origins[profile.profile]}"
            problems.append(Problem(shown, 1, "profile", what, "give each profile its own name"))
        profiles[profile.profile] = profile
        origins[profile.profile] = shown
    if problems:
        raise DocumentMistakes(problems)
    return profiles
