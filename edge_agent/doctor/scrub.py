"""Takes secrets out of what leaves the gateway: those that are known, and what looks like one."""

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from models.actions import HIDDEN

SHORTEST: Final = 4
"""In characters. A shorter secret is hidden only behind its name, for it stands in half of all words."""

_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|psk|pin|card(?:_?n(?:o|umber))?|credentials?|"
    r"authorization|cookie|api[_-]?key|private[_-]?key|wpa[_-]?\w*"
)
_SHAPES: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\bgh[a-z]{1,3}\d?[._][A-Za-z0-9_.~+/=-]{8,}"), HIDDEN),  # tokens of our own
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[^\s\"']{4,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^\s/@]+@"), f"://{HIDDEN}@"),
    (
        re.compile(rf"(?i)\b((?:[\w-]*_)?(?:{_NAMES}))([\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;}}\]]+)"),
        rf"\1\2{HIDDEN}",
    ),
)
_PERHAPS: Final = (
    (re.compile(rf"(?i)\b({_NAMES}|key)\b(\W+(?:\w+\W+)?)[0-9A-F]{{3,}}\b"), rf"\1\2{HIDDEN}"),
    (re.compile(r"\b\d{4}(?:[ -]\d{4}){2,}\b"), HIDDEN),
    (re.compile(r"(?<![\d.])\d{5,}\b"), HIDDEN),  # after a point it is a part of a second
    (re.compile(r"\b[0-9A-Fa-f]{2}(?:[ :-][0-9A-Fa-f]{2}){7,}\b"), HIDDEN),
    (re.compile(r"\b(?=[A-Fa-f]*\d)[0-9A-Fa-f]{12,}\b"), HIDDEN),
    (re.compile(r"\b(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[A-Za-z0-9+/_-]{20,}={0,2}"), HIDDEN),
)


class Scrubber:
    """Knows the secrets of one gateway, in each form in which they may be written."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        whole_and_bare = {bare for secret in secrets for bare in (secret, secret.strip())}
        forms = {form for secret in whole_and_bare for form in _forms(secret) if len(form) >= SHORTEST}
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def text(self, text: str) -> str:
        """Without known secrets and what is written like one."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def log(self, text: str) -> str:
        """Also without all that could be a number of a card, a PIN or a key: nobody knows what is logged."""
        text = self.text(text)
        for shape, instead in _PERHAPS:
            text = shape.sub(instead, text)
        return text

    def data(self, value: Any) -> Any:
        """Plain JSON values, each text in them as `text` leaves it."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.data(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(inner) for inner in value]
        return value


def _forms(secret: bytes) -> Iterator[str]:
    with contextlib.suppress(UnicodeDecodeError):
        yield secret.decode().strip()
    yield from (secret.hex(separator) if separator else secret.hex() for separator in ("", " ", ":", "-"))
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        yield alphabet(secret).decode().rstrip("=")
