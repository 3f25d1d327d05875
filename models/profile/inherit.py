"""Puts what a profile says itself over what it takes from another one."""

from collections.abc import Iterable
from typing import Any

from models.document import Document

NOT_INHERITED = frozenset({"profile", "golden", "extends"})
"""What a profile says of itself alone: the frames of its parent were sent by another device."""


def inherited(child: Document, parent: Any) -> Document:
    """`child` with everything of the data `parent` that it does not say itself.

    Mappings are joined key by key. Points are joined by name: a point of the child changes the keys that it
    names and adds what is new; `without` names points of the parent that the child does not have. Any other
    list is replaced as a whole.
    """
    merged = {key: value for key, value in parent.items() if key not in NOT_INHERITED}
    moved: dict[int, int] = {}
    for key, value in child.data.items():
        if key == "points" and isinstance(value, list) and isinstance(merged.get("points"), list):
            merged["points"], moved = _points(value, merged["points"], child.data.get("without", ()))
        elif key != "without":
            merged[key] = _joined(merged.get(key), value)
    if "without" in child.data and "points" not in child.data:
        merged["points"], _ = _points([], merged.get("points", []), child.data["without"])
    return child.with_data(merged, lambda path: _moved(path, moved))


def _joined(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _joined(below.get(key), value) for key, value in above.items()}
    return above


def _points(above: list[Any], below: list[Any], without: Iterable[Any]) -> tuple[list[Any], dict[int, int]]:
    """The points of both, and where each of the child's has come to lie."""
    left_out = set(without) if isinstance(without, list | tuple) else set()
    merged = [point for point in below if point.get("name") not in left_out]
    places = {point.get("name"): index for index, point in enumerate(merged)}
    moved: dict[int, int] = {}
    for index, point in enumerate(above):
        name = point.get("name") if isinstance(point, dict) else None
        place = places.get(name) if isinstance(name, str) else None
        if place is None:
            moved[index] = len(merged)
            merged.append(point)
        else:
            moved[index] = place
            merged[place] = merged[place] | point
    return merged, moved


def _moved(path: tuple[Any, ...], moved: dict[int, int]) -> tuple[Any, ...]:
    if len(path) > 1 and path[0] == "points" and path[1] in moved:
        return ("points", moved[path[1]], *path[2:])
    return path
