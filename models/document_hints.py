"""Says in plain words what pydantic found wrong, with the name, value or range that would be right."""

import difflib
import re
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

Step = str | int


def suggest(wrong: str, right: Iterable[str]) -> str:
    """A hint that names the nearest of the `right` words, or all of them when none is near."""
    words = sorted(set(right))
    folded = {word.lower(): word for word in words}
    near = difflib.get_close_matches(wrong.lower(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    return "have: " + ", ".join(words) if words else ""


def told_by_pydantic(
    model: type[BaseModel], path: tuple[Step, ...], detail: Any, present: frozenset[str]
) -> tuple[str, str]:
    """What is wrong and a hint, for one entry of `ValidationError.errors()`.

    `path` is the place in the file, `present` the keys that stand beside it there.
    """
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = {name for found in _models(model, path[:-1]) for name in _names(found)}
        return f"unknown key '{last}'", suggest(last, known - present or known)
    if kind == "missing":
        return "is missing", _description(model, path)
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags") or "")
        value = value if kind != "union_tag_invalid" else context.get("tag")
        return _not_one_of(value, re.findall(r"'([^']*)'", expected) or [expected])
    if kind == "too_short":
        return f"must have at least {context['min_length']} of them", _description(model, path)
    if kind in _BOUNDS:
        return _sentence(detail["msg"]), _range(model, path)
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "must be text", 'put it in quotes: "…"'
    if kind in ("int_type", "float_type") and isinstance(value, str):
        hint = "write the number without quotes" if _number(value) else _description(model, path)
        return _sentence(detail["msg"]), hint
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a mapping", "write `key: value` lines below it, indented"
    if kind in ("list_type", "tuple_type", "set_type", "frozen_set_type"):
        return "must be a list", "write it as [a, b] or as lines that begin with `-`"
    return _sentence(detail["msg"]), _description(model, path)


def is_secret(model: type[BaseModel], path: tuple[Step, ...]) -> bool:
    """Whether the model keeps what stands at `path` as a secret."""
    return any(kind in (SecretStr, SecretBytes) for kind, _ in _types(model, path))


_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text.replace("Input should be", "must be", 1).replace("Input should", "must", 1)


def _not_one_of(value: Any, expected: list[str]) -> tuple[str, str]:
    if isinstance(value, str):
        return f"'{value}' is not known here", suggest(value, expected)
    return "is not known here", "have: " + ", ".join(expected)


def _number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+(\.\d*)?\s*", text) is not None


def _description(model: type[BaseModel], path: tuple[Step, ...]) -> str:
    for found in _models(model, path[:-1]):
        field = _field(found, path[-1]) if path else None
        if field is not None and field.description:
            return field.description
    return ""


def _range(model: type[BaseModel], path: tuple[Step, ...]) -> str:
    lower = upper = ""
    for _, metadata in _types(model, path):
        for item in metadata:
            if isinstance(item, Ge):
                lower = f"from {item.ge}"
            elif isinstance(item, Gt):
                lower = f"above {item.gt}"
            elif isinstance(item, Le):
                upper = f"up to {item.le}"
            elif isinstance(item, Lt):
                upper = f"below {item.lt}"
    return "allowed: " + " ".join(filter(None, (lower, upper))) if lower or upper else ""


def _models(model: type[BaseModel], path: tuple[Step, ...]) -> Iterator[type[BaseModel]]:
    for kind, _ in _types(model, path):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind


def _types(model: type[BaseModel], path: tuple[Step, ...]) -> list[tuple[Any, list[Any]]]:
    """The types that may stand at `path`, each with its constraints; several where there is a union."""
    found = list(_members(model, []))
    for step in path:
        below: list[tuple[Any, list[Any]]] = []
        for kind, _ in found:
            below += _step(kind, step)
        found = below
    return found


def _step(kind: Any, step: Step) -> Iterator[tuple[Any, list[Any]]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = _field(kind, step)
        if field is not None:
            yield from _members(field.annotation, list(field.metadata))
        return
    inner = [arg for arg in get_args(kind) if arg is not Ellipsis]
    if get_origin(kind) is tuple and len(inner) > 1:
        if isinstance(step, int) and step < len(inner):
            yield from _members(inner[step], [])
    elif inner:
        yield from _members(inner[-1], [])  # of a list the item, of a mapping the value


def _members(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        for item in more:
            metadata = metadata + (list(item.metadata) if isinstance(item, FieldInfo) else [item])
        yield from _members(inner, metadata)
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member, metadata)
    else:
        yield annotation, metadata


def _field(model: type[BaseModel], step: Step) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        if step in (field.alias, name):
            return field
    return None


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
