"""Reads the small XML documents of controllers into plain dictionaries. Pure.

What a controller never sends is refused: document types, and with them every entity that could grow or reach
for a file; depth; size is limited by whoever hands the document over. Namespaces and attributes are left out,
and of elements with the same name beside each other the first counts.
"""

from typing import Any, Final
from xml.parsers import expat  # with document types refused it expands and fetches nothing

from drivers.access.errors import BadBody

MOST_DEPTH: Final = 16


def read_xml(document: bytes) -> dict[str, Any]:
    """`{"EventNotificationAlert": {"dateTime": "…", …}}`: every value a text or a dictionary.

    Raises BadBody.
    """
    reader = _Reader()
    # Names of people come in whatever encoding; they are dropped, and all that is kept is ASCII.
    parser = expat.ParserCreate("utf-8", "}")
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(document.decode("utf-8", "replace").strip().encode(), True)
    except (expat.ExpatError, ValueError):
        raise BadBody("not XML") from None  # what expat says may quote the document
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []

    def doctype(self, *_: object) -> None:
        raise BadBody("XML with a document type, which no controller sends")

    def start(self, name: str, _: object) -> None:
        if len(self._open) >= MOST_DEPTH:
            raise BadBody("XML that is nested too deep")
        self._open.append((name.rpartition("}")[2], {}, []))

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1][2].append(text)

    def end(self, _: str) -> None:
        name, below, text = self._open.pop()
        parent = self._open[-1][1] if self._open else self.root
        parent.setdefault(name, below or "".join(text).strip())
