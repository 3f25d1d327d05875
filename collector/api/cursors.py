"""Where the next page begins: the key of the last item, in a form that callers hand back unread.

A page continues *after a key* and not at a count of rows, so rows that are stored meanwhile neither hide
nor repeat any other.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from collector.api.problems import ApiProblem, bad_parameter

Key = tuple[int | str, ...]


def encode_cursor(question: Sequence[object], key: Key) -> str:
    """`question` is everything the caller asked except the page: a cursor fits its own question only."""
    text = json.dumps([_fingerprint(question), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, question: Sequence[object], shape: tuple[type, ...]) -> Key:
    """The key in `cursor`, whose parts have the types of `shape`; raises the problem to answer."""
    try:
        parts = json.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        )
    except (binascii.Error, ValueError, RecursionError):
        raise _unreadable() from None
    if not isinstance(parts, list) or len(parts) != len(shape) + 1:
        raise _unreadable()
    fingerprint, *key = parts
    if any(type(part) is not kind for part, kind in zip(key, shape, strict=True)):
        raise _unreadable()
    if any(isinstance(part, int) and abs(part) >= 1 << 63 for part in key):
        raise _unreadable()
    if fingerprint != _fingerprint(question):
        raise bad_parameter(
            "cursor",
            "it belongs to another question",
            "Keep all other parameters as they were, or leave the cursor out to begin again.",
        )
    return tuple(key)


def _fingerprint(question: Sequence[object]) -> str:
    return hashlib.blake2s(repr(tuple(question)).encode(), digest_size=6).hexdigest()


def _unreadable() -> ApiProblem:
    return bad_parameter(
        "cursor",
        "it is none of ours",
        "Give next_cursor of the page before exactly as it was, or leave it out to begin again.",
    )
