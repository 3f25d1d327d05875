"""A command to one device of one gateway: signed by the collector, good for a limited time and for one doing.

How it travels is in `models.statement`. The public half of the collector's command key reaches gateways at
enrolment.

The id is the idempotency key: who gives a command chooses it, and whoever gives or delivers the same command
again, on purpose or not, changes nothing.
"""

import hashlib
import hmac
import re
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.statement import Kind
from models.times import HOUR_MS

VERSION: Final = 1
SHORTEST_LIFE_MS: Final = 10_000
LONGEST_LIFE_MS: Final = 24 * HOUR_MS

MAX_COMMAND_BYTES: Final = 16_384

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
"""What an id is made of. It stands in addresses and in the names of marks."""


class Command(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What to do, and by when. The arguments are plain JSON and never in a `repr`: see `models.actions`."""

    id: str
    gateway_id: str
    device_id: str  # as the gateway's configuration names it
    action: str
    arguments: dict[str, Any]
    issued_ms: int
    expires_ms: int  # from here on nothing may begin
    issued_by: str  # for people: the name of a token, or who was at the command line

    def __repr__(self) -> str:
        return f"Command(id={self.id!r}, device_id={self.device_id!r}, action={self.action!r})"


OUTCOMES: Final = {"command.done": "done", "command.refused": "refused", "command.failed": "failed"}
"""Kinds of the events by which a gateway tells what came of a command, and the state that each means.

Refused: nothing was done. Failed: it was tried, and is not known to have been done."""

EXPIRED: Final = "expired"
"""The code of a refusal that says no more than that the time was over."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of such an event, in the name of the device."""

    id: str
    action: str
    arguments: dict[str, Any]  # as `models.actions.shown_arguments` shows them
    by: str  # who gave the command
    origin: Literal["collector", "on-site"]
    result: dict[str, Any] = {}  # what the device showed when it was done
    code: str = ""  # why it was not done, for programs
    detail: str = ""  # and for people


class CommandKey:
    """The collector's key for commands. Shows in no `repr`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "CommandKey":
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, data: bytes) -> "CommandKey":
        """Raise ValueError when `data` is not what `to_bytes` gave."""
        return cls(Ed25519PrivateKey.from_private_bytes(data))

    def to_bytes(self) -> bytes:
        """Secret: to be kept in a file that only the collector can read."""
        return self._key.private_bytes_raw()

    def public_bytes(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def keyed_digest(self, data: bytes) -> bytes:
        """A digest of `data` that nobody can find the data by, not even of a PIN, without this key."""
        key = hashlib.sha256(b"gatehouse command digest\x00" + self.to_bytes()).digest()
        return hmac.digest(key, data, "sha256")

    def sign(self, command: Command) -> bytes:
        """The command as it travels. The same command gives the same bytes."""
        return _COMMANDS.sign(command, self.signature)

    def signature(self, statement: bytes) -> bytes:
        """Each kind of statement begins with a prefix of its own, so that none can pass for another kind."""
        return self._key.sign(statement)


def verify_command(signed: bytes, *, gateway_id: str, public_key: bytes, now_ms: int) -> Command:
    """See `models.statement.Kind.verify`. Raise StatementInvalid."""
    return _COMMANDS.verify(signed, gateway_id=gateway_id, public_key=public_key, now_ms=now_ms)


_COMMANDS: Final = Kind(
    Command,
    name="command",
    magic=b"GHC",
    version=VERSION,
    most_bytes=MAX_COMMAND_BYTES,
    longest_life_ms=LONGEST_LIFE_MS,
    is_right=lambda command: ID.fullmatch(command.id) is not None,
)
