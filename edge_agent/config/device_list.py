"""Reads devices from a CSV file: one line each, for buildings with hundreds of the same kind.

The first line names the columns: `id`, `bus`, `profile` and `period_s`, and where needed `name`, `unit`,
`address`, `key_file`, `zone` and parameters of the profile as `parameters.ct`. An empty field counts as not
given.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_agent.config.sections import DeviceSection
from models.document import MAX_BYTES, DocumentMistakes, Problem
from models.document_hints import suggest, told_by_pydantic

PARAMETER = "parameters."
COLUMNS = ("id", "name", "bus", "unit", "address", "key_file", "profile", "period_s", "zone")
NEEDED = ("id", "bus", "profile", "period_s")
_NUMBERS = {"unit": int, "period_s": float}

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", re.ASCII)
"""Python itself takes 1_000, nan and digits of any script for numbers; people who write those mean something
else."""


def read_devices(path: Path) -> list[tuple[int, DeviceSection]]:
    """See `devices_in`."""
    try:
        content = path.read_bytes()
    except OSError as err:
        what = err.strerror or str(err)
        raise DocumentMistakes([Problem(str(path), 1, "", what, "correct devices_csv")]) from err
    return devices_in(content, str(path))


def devices_in(content: bytes, file: str) -> list[tuple[int, DeviceSection]]:
    """Each device with the line that it begins on. Raises DocumentMistakes with all that is wrong.

    `file` is what messages call it.
    """
    rows = _rows(_text(content, file), file)
    _, names = next(rows, (1, []))
    columns = [name.strip() for name in names]
    while columns and not columns[-1]:
        columns.pop()  # spreadsheets write empty columns at the end
    problems = list(_column_problems(file, columns))
    if problems:
        raise DocumentMistakes(problems)
    found: list[tuple[int, DeviceSection]] = []
    for line, row in rows:
        fields = [field.strip() for field in row]
        if any(fields[len(columns) :]):
            what, hint = "has more fields than there are columns", "put a field with a comma in quotes"
            problems.append(Problem(file, line, "", what, hint))
        elif any(fields):
            given = _fields(dict(zip(columns, fields, strict=False)))
            try:
                found.append((line, DeviceSection.model_validate(given, strict=True)))
            except ValidationError as err:
                problems += _told(file, line, given, err)
    if problems:
        raise DocumentMistakes(problems)
    return found


def _text(content: bytes, file: str) -> str:
    line, what, hint = 1, f"is larger than {MAX_BYTES // 1_000_000} MB", ""
    if len(content) <= MAX_BYTES:
        try:
            return content.decode("utf-8-sig")  # spreadsheets put a mark at the beginning
        except UnicodeDecodeError as err:
            line = err.object[: err.start].count(b"\n") + 1
            what, hint = "is not UTF-8 text", 'save it as "CSV UTF-8"'
    raise DocumentMistakes([Problem(file, line, "", what, hint)])


def _rows(text: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line that it begins on; a field in quotes may go over several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as err:
        hint = "a quote is not closed, or text stands beside a quote"
        raise DocumentMistakes([Problem(file, line, "", str(err), hint)]) from err


def _column_problems(file: str, columns: list[str]) -> Iterator[Problem]:
    if not columns:
        hint = f"its first line names the columns: {', '.join(COLUMNS)}"
        yield Problem(file, 1, "", "is empty", hint)
        return
    if len(columns) == 1 and re.search("[;\t]", columns[0]):
        yield Problem(file, 1, "", "has no commas between its fields", 'save it as "CSV UTF-8", with commas')
        return
    for index, name in enumerate(columns):
        if not name:
            yield Problem(file, 1, "", f"column {index + 1} has no name", suggest("", COLUMNS))
        elif name not in COLUMNS and not name.startswith(PARAMETER):
            yield Problem(file, 1, name, f"unknown column '{name}'", suggest(name, COLUMNS))
        elif name in columns[:index]:
            yield Problem(file, 1, name, f"the column '{name}' stands here twice", "remove one of them")
    for name in NEEDED:
        if name not in columns:
            hint = DeviceSection.model_fields[name].description or "never change it"
            yield Problem(file, 1, name, f"the column '{name}' is missing", hint)


def _fields(row: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, text in row.items():
        if not text:
            continue
        if name.startswith(PARAMETER):
            fields.setdefault("parameters", {})[name.removeprefix(PARAMETER)] = _number(text, float)
        else:
            fields[name] = _number(text, _NUMBERS[name]) if name in _NUMBERS else text
    return fields


def _number(text: str, kind: type[int] | type[float]) -> float | int | str:
    """The number, or the text when it is none, which a strict look at the device will then tell."""
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if kind is int and number.is_integer() else number


def _told(file: str, line: int, fields: dict[str, Any], err: ValidationError) -> Iterator[Problem]:
    """`parameters.ct: must be a valid number`, with the line of the device."""
    for detail in err.errors(include_url=False, include_context=True, include_input=True):
        where = tuple(step for step in detail["loc"] if isinstance(step, str))
        what, hint = told_by_pydantic(DeviceSection, where, detail, frozenset(fields))
        name = ".".join((str(fields.get("id", "device")), *where))
        yield Problem(file, line, name, what, hint)
