"""The files that a configuration is made of, read once, so that what is checked is what is kept on record."""

from pathlib import Path
from typing import Any, NamedTuple

from edge_agent.catalogue import SUFFIX
from models.configuration import MAIN, MOST_FILES
from models.document import MAX_BYTES, DocumentMistakes, Problem, parse_document


class Places(NamedTuple):
    """Where the main file says that the others are; None where it says nothing."""

    devices_csv: str | None
    profiles_dir: str | None
    state_dir: str | None


def read_bundle(path: Path) -> dict[str, bytes]:
    """All files by the name that the main file has for them, itself under `MAIN`.

    What is missing or cannot be read is left out: checking the configuration will tell. Raises
    DocumentMistakes when the main file cannot be read.
    """
    try:
        main = path.read_bytes()
    except OSError as err:
        hint = "edge-agent init makes one" if isinstance(err, FileNotFoundError) else "check its rights"
        raise DocumentMistakes([Problem(str(path), 1, "", err.strerror or str(err), hint)]) from err
    found = {MAIN: main}
    places = places_in(main, path.name)
    if places.devices_csv is not None:
        _add(found, path.parent, places.devices_csv)
    if places.profiles_dir is not None:
        for name in _profiles_in(path.parent / places.profiles_dir):
            _add(found, path.parent, f"{places.profiles_dir.rstrip('/')}/{name}")
    return found


def places_in(main: bytes, name: str) -> Places:
    """Of a main file that may have any mistake. `name` is what messages call it."""
    try:
        data = parse_document(main, file=name).data
    except DocumentMistakes:
        return Places(None, None, None)
    return Places(
        _text(data, "devices_csv"),
        _text(data, "gateway", "profiles_dir"),
        _text(data, "gateway", "state_dir"),
    )


def file_of(path: Path, name: str) -> Path:
    """Where a file of the bundle of `path` is on disk."""
    return path if name == MAIN else path.parent / name


def _text(data: Any, *keys: str) -> str | None:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) and data else None


def _profiles_in(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if file.name.endswith(SUFFIX))[:MOST_FILES]
    except OSError:
        return []


def _add(found: dict[str, bytes], folder: Path, name: str) -> None:
    try:
        with (folder / name).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return
    found[name] = content  # more than `MAX_BYTES`: a mistake, as who reads it will say
