"""A command to one device of one gateway: signed by the collector, good for a limited time and for one doing.

On the wire a command is: magic, version, MessagePack, signature. The collector's command key (Ed25519) signs
a prefix of its own and everything before the signature, so that nothing else which that key may ever sign can
pass for a command. Its public half reaches gateways at enrolment.

The id is the idempotency key: who gives a command chooses it, and whoever gives or delivers the same command
again, on purpose or not, changes nothing.
"""

import hashlib
import hmac
import re
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import BadInput
from models.times import HOUR_MS, utc_text

VERSION: Final = 1
SHORTEST_LIFE_MS: Final = 10_000
LONGEST_LIFE_MS: Final = 24 * HOUR_MS

MAX_AHEAD_MS: Final = 60_000
"""How far a gateway's clock may be behind the collector's. By so much longer a command is good there."""

MAX_COMMAND_BYTES: Final = 16_384

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
"""What an id is made of. It stands in addresses and in the names of marks."""

_MAGIC = b"GHC"
_DOMAIN = b"gatehouse command\x00"
_SIGNATURE_BYTES = 64


class CommandInvalid(BadInput):
    """Not a command that this gateway may carry out now.

    `code` is one of: malformed, unknown-version, bad-signature, foreign-gateway, from-the-future, expired.
    `command` is there once it is certain that the collector has given it to this gateway.
    """

    def __init__(self, code: str, detail: str, command: "Command | None" = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.command = code, detail, command


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
        signed = _MAGIC + bytes([VERSION]) + _encoder.encode(command)
        return signed + self.signature(_DOMAIN + signed)

    def signature(self, statement: bytes) -> bytes:
        """Each kind of statement begins with a prefix of its own, so that none can pass for another kind."""
        return self._key.sign(statement)


def verify_command(signed: bytes, *, gateway_id: str, public_key: bytes, now_ms: int) -> Command:
    """The command, once it is certain that the owner of `public_key` has given it to this gateway, for now.

    Raise CommandInvalid.
    """
    if len(signed) > MAX_COMMAND_BYTES:
        raise CommandInvalid("malformed", f"{len(signed)} bytes; at most {MAX_COMMAND_BYTES}")
    head, body = len(_MAGIC), signed[:-_SIGNATURE_BYTES]
    if signed[:head] != _MAGIC or len(body) < head + 1:
        raise CommandInvalid("malformed", "not a command")
    if signed[head] != VERSION:
        raise CommandInvalid("unknown-version", f"version {signed[head]}; this gateway knows {VERSION}")
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(signed[-_SIGNATURE_BYTES:], _DOMAIN + body)
    except InvalidSignature:
        raise CommandInvalid(
            "bad-signature", "changed on its way, or not given by the collector that this gateway belongs to"
        ) from None
    command = _decoded(body[head + 1 :])
    if command.gateway_id != gateway_id:
        raise CommandInvalid("foreign-gateway", f"given to {command.gateway_id!r}, not to {gateway_id!r}")
    _check_times(command, now_ms)
    return command


def _decoded(body: bytes) -> Command:
    try:
        command = _decoder.decode(body)
        is_canonical = _encoder.encode(command) == body
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as err:
        raise CommandInvalid("malformed", f"signed, but no command ({err})") from None
    if not is_canonical or not ID.fullmatch(command.id):
        raise CommandInvalid("malformed", "signed, but not as a collector writes it")
    return command


def _check_times(command: Command, now_ms: int) -> None:
    if command.issued_ms > now_ms + MAX_AHEAD_MS:
        raise CommandInvalid(
            "from-the-future",
            f"given at {utc_text(command.issued_ms)}, and here it is {utc_text(now_ms)}; set the clock",
            command,
        )
    if not 0 < command.expires_ms - command.issued_ms <= LONGEST_LIFE_MS:
        raise CommandInvalid("malformed", "good for longer than any command may be", command)
    if command.expires_ms <= now_ms:
        raise CommandInvalid(
            "expired", f"was good until {utc_text(command.expires_ms)}; nothing was done", command
        )


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Command)
