"""Puts a file that cannot be used out of the way, for salvage and for somebody to look at."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.times import utc_text

MOST_KEPT: Final = 3
KEPT_BYTES: Final = 256 << 20
"""Of files set aside the newest stay, as many as both allow; the very newest always."""

_SIDE_FILES: Final = ("", "-wal", "-shm")
_INFIX: Final = ".damaged-"


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that could not be used, where it is now and why."""

    path: Path
    reason: str


def set_aside(path: Path, reason: str, now_ms: int) -> SetAside:
    """Rename the file and what belongs to it. Raise OSError."""
    stamp = utc_text(now_ms).replace(":", "").replace("-", "").partition(".")[0]
    kept = path.with_name(f"{path.name}{_INFIX}{stamp}")
    attempt = 1
    while kept.exists():
        attempt += 1
        kept = path.with_name(f"{path.name}{_INFIX}{stamp}-{attempt}")
    for side in _SIDE_FILES:
        source = path.with_name(path.name + side)
        if source.exists():
            source.rename(kept.with_name(kept.name + side))
    return SetAside(kept, reason)


def newest_aside(path: Path) -> Path | None:
    """The file that was set aside last, if any is there."""
    return max(_set_aside_files(path), key=_age, default=None)


def remove_oldest(path: Path, *, needed: Collection[str] = ()) -> list[str]:
    """Delete the oldest files beyond what may be kept; their names. Raise OSError."""
    removed: list[str] = []
    room = KEPT_BYTES
    for place, file in enumerate(sorted(_set_aside_files(path), key=_age, reverse=True)):
        sides = [side for name in _SIDE_FILES if (side := file.with_name(file.name + name)).exists()]
        room -= sum(side.stat().st_size for side in sides)
        if place and file.name not in needed and (place >= MOST_KEPT or room < 0):
            for side in sides:
                side.unlink()
            removed.append(file.name)
    return removed


def _set_aside_files(path: Path) -> Iterator[Path]:
    for file in path.parent.glob(f"{path.name}{_INFIX}*"):
        if not file.name.endswith(_SIDE_FILES[1:]):
            yield file


def _age(file: Path) -> tuple[int, str]:
    return file.stat().st_ctime_ns, file.name  # when it was renamed
