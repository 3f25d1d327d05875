"""Turns the text of a YAML file into a validated model, or into all of its mistakes with line and hint.

The YAML is a small, safe part of the language: one document of mappings, lists and plain values. Anchors,
aliases and tags are refused, so a file cannot grow in memory and is read as it stands. Plain values follow
YAML 1.2 with one exception: digits with a leading zero are text, because `01000` is an item code and
neither one thousand nor, as YAML 1.1 has it, five hundred and twelve.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.document_hints import Step, is_secret, told_by_pydantic
from models.errors import NeedsAHuman

MAX_BYTES = 4_000_000  # a gateway with 5000 devices has 1 MB; more is not a configuration
MAX_DEPTH = 40  # our deepest file has 5; a bracket bomb must not reach the recursion limit

Path = tuple[Step, ...]
M = TypeVar("M", bound=BaseModel)

# The parser of libyaml is 10 times as fast, which a small gateway notices; the events are the same.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, what is wrong and what to write instead."""

    file: str
    line: int  # from 1
    where: str  # "devices[meter-01].unit"; "" when it concerns the whole file
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = f" {self.where}:" if self.where else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{where} {self.what}{hint}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What a check over a whole model found, by path; the document turns it into a `Problem`."""

    path: Path
    what: str
    hint: str = ""


class DocumentMistakes(NeedsAHuman):
    """A file does not say what it must; nothing of it was used. One line of the message per mistake."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class Document:
    """The plain data of one YAML file, which knows the line that each value stands on."""

    def __init__(
        self, file: str, data: Any, lines: dict[Path, int], flaws: list[tuple[Path, Problem]]
    ) -> None:
        self.file = file
        self.data = data
        self._lines = lines
        self._flaws = flaws

    def with_data(
        self,
        data: Any,
        moved: Callable[[Path], Path],
        *,
        brought: Mapping[Path, Path],
        mistakes: Iterable[Mistake],
    ) -> "Document":
        """The same file with other data, whose values have `moved` from where the file has them.

        `brought` has the values that stand in another file, each with what stands for it in this one.
        `mistakes` are those of this file as it stands.
        """
        lines = {path: self._lines[origin] for path, origin in brought.items()}
        lines |= {moved(path): line for path, line in self._lines.items()}
        flaws = [*self._flaws, *((mistake.path, self.problem(mistake)) for mistake in mistakes)]
        return Document(self.file, data, lines, [(moved(path), problem) for path, problem in flaws])

    def problem(self, mistake: Mistake) -> Problem:
        """The mistake with its line; a path that is not in the file gets the line of its nearest parent."""
        path = mistake.path
        while path and path not in self._lines:
            path = path[:-1]
        return Problem(
            self.file, self._lines.get(path, 1), self._where(mistake.path), mistake.what, mistake.hint
        )

    def validate(self, model: type[M], check: Callable[[M], Iterable[Mistake]] | None = None) -> M:
        """The data as `model`. `check` looks at the whole model, once each of its values is right.

        Types are taken as in strict JSON: the text "5" is not a number, and a number is not text.
        """
        problems = [problem for _, problem in self._flaws]
        result: M | None = None
        try:
            result = model.model_validate_json(json.dumps(self.data), strict=True)
        except ValidationError as err:
            # `include_input` is for the hint alone. The error itself goes no further: it shows secrets.
            details = err.errors(include_url=False, include_context=True, include_input=True)
            problems += self._from_pydantic(model, details)
        if result is not None and not problems and check is not None:
            problems = [self.problem(mistake) for mistake in check(result)]
        if problems or result is None:
            raise DocumentMistakes(problems)
        return result

    def _from_pydantic(self, model: type[BaseModel], details: Iterable[Any]) -> Iterator[Problem]:
        flawed = {path for path, _ in self._flaws}
        secrets = list(self._secrets(model))
        found = [(self._path(detail), detail) for detail in details]
        seen = set()
        for path, detail in found:
            if any(path[: len(flaw)] == flaw for flaw in flawed):
                continue
            if detail["type"] == "too_short" and any(_is_below(other, path) for other, _ in found):
                continue  # pydantic counts only the items that are right
            what, hint = told_by_pydantic(model, path, detail, self._present(path))
            if detail["type"] in _FREE_TEXT and any(secret in what for secret in secrets):
                what, hint = "is not valid (the value is a secret and not shown)", ""
            problem = self.problem(Mistake(path, what, hint))
            if detail["type"] == "extra_forbidden" and len(str(path[-1]).split()) > 1:
                # `password hunter2`: such a key is a key and its value, and not for every eye.
                what, hint = "is no key, for it has a space in it", "write `key: value`, with a colon"
                problem = replace(problem, where=self._where(path[:-1]), what=what, hint=hint)
            if problem not in seen:  # the members of a union may all say the same
                seen.add(problem)
                yield problem

    def _path(self, detail: Any) -> Path:
        """The path in the file for a location in the model, which names members of unions as well."""
        loc, missing = detail["loc"], detail["type"] == "missing"
        at: Any = self.data
        path: list[Step] = []
        for index, step in enumerate(loc):
            if _has(at, step):
                at = at[step]
                path.append(step)
            elif missing and index == len(loc) - 1:
                path.append(step)
        return tuple(path)

    def _present(self, path: Path) -> frozenset[str]:
        """The keys that stand beside the last step of `path`."""
        at = self.data
        for step in path[:-1]:
            at = at[step]
        return frozenset(at) if isinstance(at, dict) else frozenset()

    def _secrets(self, model: type[BaseModel]) -> Iterator[str]:
        for path in self._lines:
            if is_secret(model, path):
                at = self.data
                for step in path:
                    at = at[step] if _has(at, step) else None
                if at not in (None, ""):
                    yield str(at)

    def _where(self, path: Path) -> str:
        text, at = "", self.data
        for step in path:
            if isinstance(step, int):
                at = at[step] if _has(at, step) else None
                name = (at.get("id") or at.get("name")) if isinstance(at, dict) else None
                text += f"[{name if isinstance(name, str) else step}]"
            else:
                at = at.get(step) if isinstance(at, dict) else None
                text += f".{step}" if text else step
        return text


def parse_document(text: str | bytes, *, file: str) -> Document:
    """Read one YAML document. Raises DocumentMistakes when it is not even YAML of the kind described above.

    `file` is what messages call it.
    """
    return _Reader(_decoded(text, file), file).read()


def load_document(
    text: str | bytes, model: type[M], *, file: str, check: Callable[[M], Iterable[Mistake]] | None = None
) -> M:
    """Read one YAML document as `model`, or raise DocumentMistakes with all that is wrong."""
    return parse_document(text, file=file).validate(model, check)


def _decoded(text: str | bytes, file: str) -> str:
    if len(text) > MAX_BYTES:
        raise DocumentMistakes([Problem(file, 1, "", f"is larger than {MAX_BYTES // 1_000_000} MB")])
    line, what = 0, ""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        text.encode("utf-8")
    except UnicodeDecodeError as err:
        line, what = err.object[: err.start].count(b"\n") + 1, "is not UTF-8 text"
    except UnicodeEncodeError as err:
        line, what = err.object[: err.start].count("\n") + 1, "has half a character (a lone surrogate)"
    if what:  # raised here, so that the error does not drag the whole text along as its cause
        raise DocumentMistakes([Problem(file, line, "", what, "save the file as UTF-8")])
    text = str(text).removeprefix("\ufeff")  # editors on Windows put it there
    if not text.strip():
        raise DocumentMistakes([Problem(file, 1, "", "is empty")])
    return text


class _Reader:
    """Builds data from the events of the YAML parser; each value remembers its line."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines: dict[Path, int] = {}
        self.flaws: list[tuple[Path, Problem]] = []
        self.events: Iterator[Any] = iter(())

    def read(self) -> Document:
        failed: Problem | None = None
        document: Document | None = None
        try:
            self.events = iter(yaml.parse(self.text, Loader=_LOADER))
            document = self._document()
        except yaml.MarkedYAMLError as err:
            line: int = getattr(err.problem_mark or err.context_mark, "line", 0)
            failed = self._syntax(err.problem or "is not YAML", line)
        except yaml.reader.ReaderError as err:
            # The C parser counts bytes here, the other one characters: near enough to find the line.
            failed = self._syntax(
                "has a character that YAML does not allow", self.text[: err.position].count("\n")
            )
        if document is None:
            raise DocumentMistakes([failed] if failed else [])
        return document

    def _document(self) -> Document:
        data: Any = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, (), "has a second document", "remove the line `---`")
                data = self._value(next(self.events), ())
        if not documents or (data is None and not self.flaws):
            raise DocumentMistakes([Problem(self.file, 1, "", "is empty")])
        return Document(self.file, data, self.lines, self.flaws)

    def _value(self, event: Any, path: Path) -> Any:
        self.lines.setdefault(path, _line(event))
        if isinstance(event, yaml.AliasEvent):
            self._flaw(event, path, "aliases (*) are not supported", "write the value out")
            return None
        if event.anchor:
            self._flaw(event, path, "anchors (&) are not supported", "write the value out")
        if event.tag and event.tag != "!":
            self._flaw(event, path, "tags (!) are not supported", 'for text, use quotes: "…"')
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= MAX_DEPTH:
            self._refuse(event, path, f"is nested more than {MAX_DEPTH} deep", "")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, path, "a key must be plain text", "write `key: value`")
            key = event.value
            below = (*path, key)
            if key in entries:
                self._flaw(
                    event, below, f"key '{key}' stands here twice, first on line {self.lines[below]}",
                    "remove one of them",
                )  # fmt: skip
                self._value(next(self.events), (*below, "again"))
                continue
            self.lines[below] = _line(event)
            entries[key] = self._value(next(self.events), below)
        return entries

    def _scalar(self, event: Any, path: Path) -> Any:
        if _HALF.search(event.value):  # from an escape such as "\ud800"
            self._flaw(event, path, "has half a character (a lone surrogate)", "")
            return None
        return _plain(event.value) if event.implicit[0] else event.value

    def _flaw(self, event: Any, path: Path, what: str, hint: str) -> None:
        """A mistake that does not keep us from reading on and finding the others."""
        self.flaws.append((path, self._problem(event, path, what, hint)))

    def _refuse(self, event: Any, path: Path, what: str, hint: str) -> NoReturn:
        raise DocumentMistakes(
            [*(problem for _, problem in self.flaws), self._problem(event, path, what, hint)]
        )

    def _problem(self, event: Any, path: Path, what: str, hint: str) -> Problem:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[:8])
        return Problem(self.file, _line(event), where.removeprefix("."), what, hint)

    def _syntax(self, what: str, line: int) -> Problem:
        rows = self.text.splitlines()
        row = rows[line] if line < len(rows) else ""
        indent = row[: len(row) - len(row.lstrip())]
        hint = "indent with spaces, not tabs" if "\t" in indent else _SYNTAX_HINTS.get(what, "")
        return Problem(self.file, min(line + 1, max(len(rows), 1)), "", what, hint)


_FREE_TEXT = ("value_error", "assertion_error")  # what a validator wrote, which may quote its input

_COLON = "a value with a colon needs quotes; or the indent is wrong"
_SYNTAX_HINTS = {
    "mapping values are not allowed here": _COLON,
    "mapping values are not allowed in this context": _COLON,
    "could not find expected ':'": "write `key: value`, with a space after the colon",
    "did not find expected key": "the indent is wrong, or a bracket or quote is not closed",
}


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _is_below(path: Path, parent: Path) -> bool:
    return len(path) > len(parent) and path[: len(parent)] == parent


def _has(at: Any, step: Step) -> bool:
    if isinstance(at, list):
        return isinstance(step, int) and step < len(at)
    return isinstance(at, dict) and step in at


_HALF = re.compile("[\ud800-\udfff]")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0o[0-7]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NAN = float("nan")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False, ".nan": _NAN}


def _plain(text: str) -> Any:
    """The value of text without quotes."""
    word = text.lower()
    if word in _WORDS:
        return _WORDS[word]
    if len(text) <= 40:  # a longer run of digits is nobody's number
        if _INT.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
