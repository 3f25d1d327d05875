"""Puts what a profile says itself over what it takes from another one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from models.document import Document, Mistake, Path
from models.document_hints import suggest

NOT_INHERITED = frozenset({"profile", "extends", "golden", "fingerprints", "identifications"})
"""What a profile says of itself alone: its parent's frames came from another device, and tell that one."""

_EXTENDS = ("extends",)


class _Points(NamedTuple):
    """The points of both, and where each of the child's has come to lie."""

    merged: list[Any]
    moved: dict[int, int]


def inherited(child: Document, parent: dict[str, Any]) -> Document:
    """`child` with all that it does not say itself of `parent`, the data of a profile without mistakes.

    Mappings are joined key by key. Points are joined by name: a point of the child changes the keys that it
    names and adds what is new; `without` names points of the parent that the child does not have. Any other
    list is replaced as a whole. What is wrong with values that only the parent has is told at `extends`.
    """
    merged = {key: value for key, value in parent.items() if key not in NOT_INHERITED}
    taken: list[Path] = [(key,) for key in merged if key not in child.data]
    moved: dict[int, int] = {}
    for key, value in child.data.items():
        if key == "points" and isinstance(value, list):
            merged["points"], moved = _points(value, _left(child, parent))
        elif key != "without":
            merged[key] = _joined(merged.get(key), value)
    if "points" not in child.data:
        merged["points"] = _left(child, parent)
    if isinstance(merged["points"], list):
        own = set(moved.values())
        taken += [("points", index) for index in range(len(merged["points"])) if index not in own]
    brought: dict[Path, Path] = dict.fromkeys(taken, _EXTENDS)
    if "without" in child.data and "points" not in child.data:
        brought["points",] = ("without",)
    return child.with_data(
        merged,
        lambda path: _moved(path, moved),
        brought=brought,
        mistakes=[*_without_mistakes(child.data, parent), *_twice(child.data)],
    )


def _joined(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _joined(below.get(key), value) for key, value in above.items()}
    return above


def _left(child: Document, parent: dict[str, Any]) -> list[Any]:
    """The points of the parent that the child does not do without."""
    without = child.data.get("without")
    gone = without if isinstance(without, list) else ()
    return [point for point in parent.get("points", ()) if point["name"] not in gone]


def _points(above: list[Any], below: list[Any]) -> _Points:
    merged = list(below)
    places = {point["name"]: index for index, point in enumerate(below)}
    moved: dict[int, int] = {}
    for index, point in enumerate(above):
        name = _name(point)
        if name not in places:
            moved[index] = len(merged)
            merged.append(point)
            continue
        moved[index] = places[name]
        merged[places[name]] = _joined(merged[places[name]], point)
    return _Points(merged, moved)


def _name(point: Any) -> str:
    name = point.get("name") if isinstance(point, dict) else None
    return name if isinstance(name, str) else ""


def _without_mistakes(data: dict[str, Any], parent: dict[str, Any]) -> Iterator[Mistake]:
    without = data.get("without", [])
    if not isinstance(without, list):
        yield Mistake(("without",), "must be a list", "write it as [a, b] or as lines that begin with `-`")
        return
    have = [point["name"] for point in parent.get("points", ())]
    for index, name in enumerate(without):
        if name not in have:
            what = f"'{parent['profile']}' has no point '{name}'"
            yield Mistake(("without", index), what, suggest(str(name), have))


def _twice(data: dict[str, Any]) -> Iterator[Mistake]:
    """Points that the child names twice: the second would silently change the first."""
    points = data.get("points")
    seen: set[str] = set()
    for index, point in enumerate(points if isinstance(points, list) else ()):
        name = _name(point)
        if name in seen:
            yield Mistake(("points", index, "name"), f"a point '{name}' stands above already")
        elif name:
            seen.add(name)


def _moved(path: Path, moved: dict[int, int]) -> Path:
    if len(path) > 1 and path[0] == "points" and path[1] in moved:
        return ("points", moved[path[1]], *path[2:])
    return path
