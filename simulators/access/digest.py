"""The server's side of HTTP digest authentication (RFC 7616 with MD5, as controllers have it)."""

import hashlib
import re
from typing import Final

from simulators.noise import key_of

REALM: Final = "IP Camera"
_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class Digest:
    """Checks one user. Nonces come from the seed; each may be told to count once only."""

    def __init__(self, username: str, password: str, *, seed: int, once: bool) -> None:
        self._username, self._secret = username, _md5(f"{username}:{REALM}:{password}")
        self._seed, self._once = seed, once
        self._given = 0
        self._valid: set[str] = set()

    def challenge(self) -> str:
        """A new WWW-Authenticate."""
        self._given += 1
        nonce = f"{key_of(self._seed, 'nonce', self._given):016x}"
        self._valid.add(nonce)
        return f'Digest qop="auth", realm="{REALM}", nonce="{nonce}", stale="FALSE"'

    def accepts(self, method: str, target: str, authorization: str) -> bool:
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "digest":
            return False
        given = {name: quoted or plain for name, quoted, plain in _FIELD.findall(rest)}
        nonce = given.get("nonce", "")
        if given.get("username") != self._username or nonce not in self._valid or given.get("uri") != target:
            return False
        if self._once:
            self._valid.discard(nonce)
        middle = ":".join(given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return given.get("response") == _md5(f"{self._secret}:{middle}:{_md5(f'{method}:{target}')}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
