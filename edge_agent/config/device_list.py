"""Reads devices from a CSV file: one line each, for buildings with hundreds of the same kind.

The first line names the columns: `id`, `bus`, `profile` and `period_s`, and where needed `name`, `unit`,
`address`, `key_file`, `zone` and parameters of the profile as `parameters.ct`. An empty field counts as not
given.
"""

import csv
import io
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_agent.config.sections import DeviceSection
from models.document import DocumentMistakes, Problem
from models.document_hints import suggest, told_by_pydantic

PARAMETER = "parameters."
COLUMNS = ("id", "name", "bus", "unit", "address", "key_file", "profile", "period_s", "zone")
_INTEGERS, _NUMBERS = ("unit",), ("period_s",)


def read_devices(path: Path) -> list[tuple[int, DeviceSection]]:
    """Each device with the line that it stands on. Raises DocumentMistakes with all that is wrong."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets put a mark at the beginning
    except UnicodeDecodeError as err:
        raise DocumentMistakes(
            [Problem(str(path), 1, "", "is not UTF-8 text", "save it as CSV UTF-8")]
        ) from err
    except OSError as err:
        what = err.strerror or str(err)
        raise DocumentMistakes([Problem(str(path), 1, "", what, "correct devices_csv")]) from err
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="", strict=True)
    try:
        return _rows(path, reader)
    except csv.Error as err:
        raise DocumentMistakes(
            [Problem(str(path), reader.line_num, "", str(err), "a quote is not closed")]
        ) from err


def _rows(path: Path, reader: "csv.DictReader[str]") -> list[tuple[int, DeviceSection]]:
    columns = [(name or "").strip() for name in reader.fieldnames or ()]
    problems = [
        Problem(str(path), 1, name, f"unknown column '{name}'", suggest(name, COLUMNS))
        for name in columns
        if name not in COLUMNS and not name.startswith(PARAMETER)
    ]
    problems += [
        Problem(str(path), 1, name, "the column is missing")
        for name in ("id", "bus", "profile", "period_s")
        if name not in columns
    ]
    if problems:
        raise DocumentMistakes(problems)
    reader.fieldnames = columns
    found: list[tuple[int, DeviceSection]] = []
    for row in reader:
        if not any(row.values()):
            continue
        line = reader.line_num
        if row.get(""):
            problems.append(Problem(str(path), line, "", "has more fields than columns", "quote commas"))
            continue
        fields = _fields(row)
        try:
            found.append((line, DeviceSection.model_validate(fields)))
        except ValidationError as err:
            problems += _told(str(path), line, fields, err)
    if problems:
        raise DocumentMistakes(problems)
    return found


def _fields(row: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, text in row.items():
        value = text.strip()
        if not value:
            continue
        if name.startswith(PARAMETER):
            fields.setdefault("parameters", {})[name.removeprefix(PARAMETER)] = _number(value, float)
        elif name in _INTEGERS:
            fields[name] = _number(value, int)
        elif name in _NUMBERS:
            fields[name] = _number(value, float)
        else:
            fields[name] = value
    return fields


def _number(text: str, kind: type[int] | type[float]) -> float | int | str:
    try:
        return kind(text)
    except ValueError:
        return text  # and let it be told that this is no number


def _told(path: str, line: int, fields: dict[str, Any], err: ValidationError) -> list[Problem]:
    problems = []
    for detail in err.errors(include_url=False, include_context=True, include_input=True):
        where = tuple(step for step in detail["loc"] if isinstance(step, str))
        what, hint = told_by_pydantic(DeviceSection, where, detail, frozenset(fields))
        problems.append(Problem(path, line, f"{fields.get('id', 'device')}.{'.'.join(where)}", what, hint))
    return problems
