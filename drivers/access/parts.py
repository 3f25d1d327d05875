"""Takes multipart bodies apart while they arrive, and lets pictures pass by without keeping them. Pure.

Controllers are careless with multipart: lengths are missing or are there, blank lines too many, the next
boundary comes only with the next event, a minute later. So a part ends where its length says, or at the next
boundary, or, where neither is known yet, as soon as its text is a whole document.
"""

import re
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

import msgspec

from drivers.access.errors import BadBody

MOST_HEADER: Final = 8192  # bytes of the header of one part; a controller sends 100
MOST_TEXT: Final = 262_144  # bytes of an event; the longest that is known has 3 kB

_TEXTS: Final = ("json", "xml", "text/")
_BOUNDARY = re.compile(r'boundary="?([^";\s]{1,200})"?', re.IGNORECASE)


class Part(NamedTuple):
    """The text of one part; None: it was too long, or a header could not be read."""

    text: bytes | None


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type names; None when the body is not multipart.

    Raises BadBody for a multipart body without one.
    """
    if not content_type.strip().lower().startswith("multipart/"):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadBody("multipart without a boundary")
    return found[1].encode("latin-1", "replace")


class PartReader:
    """`feed` it with what arrives; it gives back the parts of text that are complete."""

    def __init__(self, boundary: bytes) -> None:
        # Some write the two dashes of the delimiter into the boundary itself.
        self._delimiter = b"--" + boundary.removeprefix(b"--")
        self._buffer = bytearray()
        self._between = True  # before the first, or after a complete part: up to the next delimiter
        self._in_header = False
        self._is_text = False
        self._wanted: int | None = None  # bytes that are still to come, where the length is known
        self._overlong = False
        self._looked = 0  # how much of the buffer was already searched
        self.pictures = 0  # parts that were let pass

    def feed(self, data: bytes) -> list[Part]:
        """The parts that end within `data`, in their order."""
        self._buffer += data
        return list(self._parts())

    def finish(self) -> list[Part]:
        """What the end of the body completes."""
        if self._between or self._in_header or not self._is_text:
            return []
        text = bytes(self._buffer).strip()
        self._buffer.clear()
        self._between = True
        return [Part(None if self._overlong or self._wanted is not None else text)] if text else []

    def _parts(self) -> Iterator[Part]:
        while True:
            if self._between:
                if not self._skip_to_delimiter():
                    return
            elif self._in_header:
                done, part = self._header()
                if part is not None:
                    yield part
                if not done:
                    return
            elif self._wanted is not None:
                if not (yield from self._counted()):
                    return
            elif not (yield from self._delimited()):
                return

    def _skip_to_delimiter(self) -> bool:
        at = self._buffer.find(self._delimiter)
        if at < 0:
            self._keep_tail()
            return False
        del self._buffer[: at + len(self._delimiter)]
        self._between, self._in_header, self._looked = False, True, 0
        return True

    def _header(self) -> tuple[bool, Part | None]:
        end = re.search(rb"\r?\n\r?\n", self._buffer)
        if self._buffer[:2] == b"--":  # the last one
            self._start_between()
            return True, None
        if end is None:
            if len(self._buffer) <= MOST_HEADER:
                return False, None
            self._start_between()
            return True, Part(None)
        lines = bytes(self._buffer[: end.start()]).decode("latin-1").splitlines()
        fields = {name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        del self._buffer[: end.end()]
        kind = fields.get("content-type", "").lower()
        length = fields.get("content-length", "")
        self._is_text = not kind or any(text in kind for text in _TEXTS)
        self._wanted = int(length) if length.isascii() and length.isdecimal() and len(length) < 12 else None
        self._in_header = self._overlong = False
        self._looked = 0
        if not self._is_text:
            self.pictures += 1
        elif self._wanted is not None and self._wanted > MOST_TEXT:
            self._overlong = True
        return True, None

    def _counted(self) -> Generator[Part, None, bool]:
        """A part whose length is known."""
        assert self._wanted is not None  # noqa: S101  # for the type checker
        if self._is_text and not self._overlong:
            if len(self._buffer) < self._wanted:
                return False
            text = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            self._start_between()
            yield Part(text)
            return True
        passed = min(self._wanted, len(self._buffer))
        del self._buffer[:passed]
        self._wanted -= passed
        if self._wanted:
            return False
        overlong = self._overlong
        self._start_between()
        if overlong:
            yield Part(None)
        return True

    def _delimited(self) -> Generator[Part, None, bool]:
        """A part that ends at the next delimiter, or earlier where its text is a whole document."""
        at = self._buffer.find(self._delimiter, max(0, self._looked - len(self._delimiter)))
        if at < 0:
            if self._is_text and not self._overlong and _is_whole(self._buffer):
                text = bytes(self._buffer).strip()
                self._buffer.clear()
                self._start_between()
                yield Part(text)
                return True
            self._looked = len(self._buffer)
            if not self._is_text or self._overlong:
                self._keep_tail()
            elif len(self._buffer) > MOST_TEXT:
                self._overlong = True
                self._keep_tail()
            return False
        text = bytes(self._buffer[:at]).strip(b"-\r\n\t ")  # two more dashes, where they are doubled
        is_text, overlong = self._is_text, self._overlong
        del self._buffer[:at]
        self._start_between()
        if is_text and (text or overlong):
            yield Part(None if overlong else text)
        return True

    def _start_between(self) -> None:
        self._between, self._in_header, self._wanted, self._looked = True, False, None, 0

    def _keep_tail(self) -> None:
        """Forget all that cannot be the beginning of a delimiter."""
        del self._buffer[: max(0, len(self._buffer) - len(self._delimiter) + 1)]
        self._looked = 0


def _is_whole(text: bytearray) -> bool:
    """Whether this is a whole document, and not the beginning of a longer one."""
    end = text.strip()
    if end.endswith((b"}", b"]")):
        try:
            msgspec.json.decode(end.decode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True
    return end.endswith(b">") and _root_is_closed(bytes(end))


def _root_is_closed(document: bytes) -> bool:
    root = re.search(rb"<([A-Za-z_][\w:.-]*)", document)  # not the declaration, which begins with <?
    return root is not None and document.endswith(b"</" + root[1] + b">")
