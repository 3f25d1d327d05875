"""What a collector says to one of its gateways in its own name: signed, and good for a limited time.

On the wire a statement is: magic, version, MessagePack, signature. The collector's command key (Ed25519)
signs a prefix of its kind and everything before the signature, so that nothing else which that key may ever
sign can pass for one of this kind.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import BadInput
from models.times import utc_text

MAX_AHEAD_MS: Final = 60_000
"""How far a gateway's clock may be behind the collector's. By so much longer a statement is good there."""

_SIGNATURE_BYTES = 64


class Timed(Protocol):
    """What every statement says."""

    @property
    def gateway_id(self) -> str: ...

    @property
    def issued_ms(self) -> int: ...

    @property
    def expires_ms(self) -> int: ...


S = TypeVar("S", bound=Timed)


class StatementInvalid(BadInput):
    """Not a statement that this gateway may obey now.

    `code` is one of: malformed, unknown-version, bad-signature, foreign-gateway, from-the-future, expired.
    `statement` is there once it is certain that the collector has made it for this gateway.
    """

    def __init__(self, code: str, detail: str, statement: Any = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.statement = code, detail, statement


class Kind(Generic[S]):
    """One kind of statements, such as commands."""

    def __init__(
        self,
        statement: type[S],
        *,
        name: str,
        magic: bytes,
        version: int,
        most_bytes: int,
        longest_life_ms: int,
        is_right: Callable[[S], bool],
        mistake_in: Callable[[S], str] = lambda statement: "",
    ) -> None:
        """`is_right`: the fields are as a collector writes them. `mistake_in`: what else is wrong."""
        self._name, self._magic, self._version = name, magic, version
        self._most_bytes, self._longest_life_ms, self._is_right = most_bytes, longest_life_ms, is_right
        self._mistake_in = mistake_in
        self._domain = f"gatehouse {name}".encode() + b"\x00"
        self._encoder = msgspec.msgpack.Encoder(order="deterministic")
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(statement)

    def claims_to_be(self, signed: bytes) -> bool:
        """Whether it says of itself that it is of this kind."""
        return signed[: len(self._magic)] == self._magic

    def sign(self, statement: S, sign: Callable[[bytes], bytes]) -> bytes:
        """The statement as it travels. The same statement gives the same bytes."""
        body = self._magic + bytes([self._version]) + self._encoder.encode(statement)
        return body + sign(self._domain + body)

    def verify(self, signed: bytes, *, gateway_id: str, public_key: bytes, now_ms: int) -> S:
        """The statement, once it is certain that the owner of `public_key` made it for this gateway, for now.

        Raise StatementInvalid.
        """
        if len(signed) > self._most_bytes:
            raise StatementInvalid("malformed", f"{len(signed)} bytes; at most {self._most_bytes}")
        head, body = len(self._magic), signed[:-_SIGNATURE_BYTES]
        if not self.claims_to_be(signed) or len(body) < head + 1:
            raise StatementInvalid("malformed", f"not a {self._name}")
        if signed[head] != self._version:
            known = f"version {signed[head]}; this gateway knows {self._version}"
            raise StatementInvalid("unknown-version", known)
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(signed[-_SIGNATURE_BYTES:], self._domain + body)
        except InvalidSignature:
            raise StatementInvalid(
                "bad-signature",
                "changed on its way, or not made by the collector that this gateway belongs to",
            ) from None
        statement = self._decoded(body[head + 1 :])
        if statement.gateway_id != gateway_id:
            detail = f"made for {statement.gateway_id!r}, not for {gateway_id!r}"
            raise StatementInvalid("foreign-gateway", detail)
        self._check_times(statement, now_ms)
        if mistake := self._mistake_in(statement):
            raise StatementInvalid("malformed", mistake, statement)
        return statement

    def _decoded(self, body: bytes) -> S:
        try:
            statement: S = self._decoder.decode(body)
            is_canonical = self._encoder.encode(statement) == body
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as err:
            raise StatementInvalid("malformed", f"signed, but no {self._name} ({err})") from None
        if not is_canonical or not self._is_right(statement):
            raise StatementInvalid("malformed", "signed, but not as a collector writes it")
        return statement

    def _check_times(self, statement: S, now_ms: int) -> None:
        if statement.issued_ms > now_ms + MAX_AHEAD_MS:
            detail = (
                f"made at {utc_text(statement.issued_ms)}, and here it is {utc_text(now_ms)}; set the clock"
            )
            raise StatementInvalid("from-the-future", detail, statement)
        if not 0 < statement.expires_ms - statement.issued_ms <= self._longest_life_ms:
            raise StatementInvalid("malformed", f"good for longer than any {self._name} may be", statement)
        if statement.expires_ms <= now_ms:
            detail = f"was good until {utc_text(statement.expires_ms)}; nothing was done"
            raise StatementInvalid("expired", detail, statement)
