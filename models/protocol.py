"""What gateway and collector say to each other beside envelopes: enrolment, receipts, commands, problems."""

import base64
import binascii
import hashlib
from typing import Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from models.errors import BadInput

PROBLEM: Final = "urn:gatehouse:problem:"
"""Every refusal is problem+json (RFC 9457) whose `type` is this and one of the codes below."""

CLOCK_HEADER: Final = "gatehouse-clock-ms"
"""What the sender's clock shows, in milliseconds since 1970: a gateway's with each batch, and the collector's
with each receipt and at /gateway/v1/time."""


class Code:
    """Refusals that a program acts on. Each stands for one thing that the caller can do."""

    MALFORMED: Final = "malformed"  # 400: not what this address takes
    NO_CERTIFICATE: Final = "no-certificate"  # 401: enrol first
    CERTIFICATE_ENDED: Final = "certificate-ended"  # 401: ask to be taken back, see NextKeyRequest
    REVOKED: Final = "revoked"  # 403: stop sending until a person has enrolled the gateway again
    WRONG_SUITE: Final = "wrong-suite"  # 403: sealed by another suite than it was enrolled with
    FOREIGN_GATEWAY: Final = "foreign-gateway"  # 403: sealed by another gateway than sends it
    TOKEN_UNKNOWN: Final = "token-unknown"  # noqa: S105  # 403
    TOKEN_USED: Final = "token-used"  # noqa: S105  # 403
    TOKEN_EXPIRED: Final = "token-expired"  # noqa: S105  # 403
    TOKEN_OTHER_KIND: Final = "token-other-kind"  # noqa: S105  # 403: for a collector, or for a gateway
    NOT_WANTED: Final = "not-wanted"  # 403: nothing of this gateway is taken; of others all is as it was
    RETURN_REJECTED: Final = "return-rejected"  # 403: a person has said no
    UNKNOWN_KEY: Final = "unknown-key"  # 409: send the key package, then the same envelope again
    UNKNOWN_GATEWAY: Final = "unknown-gateway"  # 409: announce it, then send the same envelope again
    CHAIN_BROKEN: Final = "chain-broken"  # 409: another envelope holds this number or these items
    TOO_LARGE: Final = "too-large"  # 413
    BAD_SIGNATURE: Final = "bad-signature"  # 422
    CANNOT_OPEN: Final = "cannot-open"  # 422
    BUSY: Final = "busy"  # 503 with Retry-After


class Sm2Key(BaseModel):
    """The key by which a gateway of the suite `gm` will sign, and that it has it."""

    model_config = ConfigDict(extra="forbid")

    public_key: str = Field(max_length=100, description="base64 of the point, 65 bytes")
    proof: str = Field(max_length=100, description="base64 of its signature over `sm2_key_statement`")


class EnrollRequest(BaseModel):
    """Asks for a certificate. The secret is that of the token; the key never leaves the gateway."""

    model_config = ConfigDict(extra="forbid")

    secret: str = Field(max_length=200, repr=False)
    csr_pem: str = Field(max_length=10_000)
    agent_version: str = Field(max_length=100)
    seal_key: str = Field(
        max_length=100, description="base64 of the X25519 key that secrets in commands are sealed to"
    )
    sm2_key: Sm2Key | None = Field(default=None, description="of a gateway that can use SM2")
    authority: str | None = Field(
        default=None,
        max_length=10_000,
        description="of a collector that is going to forward: base64 of its CA's certificate (DER)",
    )


class EnrollResponse(BaseModel):
    """What makes a gateway one of this collector's."""

    gateway_id: str
    site_code: str
    certificate_pem: str
    suite: str = Field(description="the suite by which envelopes are to be sealed: standard or gm")
    collector_key: str = Field(description="base64 of the public key that content keys are sealed to")
    collector_key_proof: str = Field(
        description="base64 of the CA's signature (ECDSA, SHA-256) over `collector_key_statement`"
    )
    command_key: str = Field(description="base64 of the Ed25519 key that signs commands")
    command_key_proof: str = Field(
        description="base64 of the CA's signature (ECDSA, SHA-256) over `command_key_statement`"
    )


class NextKeyRequest(BaseModel):
    """Asks for a certificate for a gateway's next key, vouched for by the key that it has.

    Over a connection of the gateway this is a renewal. Without a certificate that is still good it is the
    question to be taken back, repeated until a person has decided.
    """

    model_config = ConfigDict(extra="forbid")

    gateway_id: str = Field(max_length=100)
    csr_pem: str = Field(max_length=10_000, description="for the new key")
    old_key: str = Field(max_length=200, description="base64 of the key that was certified last")
    proof: str = Field(max_length=200, description="base64 of its signature over `next_key_statement`")


class RenewResponse(BaseModel):
    """The next certificate. The same key gets the same again, should this answer get lost."""

    certificate_pem: str


class ReturnResponse(BaseModel):
    """What has come so far of the question to be taken back."""

    state: Literal["waiting", "approved"]
    code: str = Field(description="`models.signing.key_code` of the new key, for people to compare")
    certificate_pem: str = Field(default="", description="when it is approved")


def next_key_statement(gateway_id: str, new_key: bytes) -> bytes:
    """What the old key signs: neither a broker nor a stranger can ask in the name of a gateway."""
    return b"gatehouse next key 1\x00" + gateway_id.encode() + b"\x00" + new_key


class CollectorKeyOffer(BaseModel):
    """The key that content keys are to be sealed to from now on, for one gateway."""

    suite: str = Field(description="always that of the gateway's enrolment")
    collector_key: str = Field(description="base64")
    collector_key_proof: str = Field(description="as in the answer to an enrolment")


def collector_key_statement(gateway_id: str, suite: str, collector_key: bytes) -> bytes:
    """What the CA signs, so that who has only the server's key cannot make anybody seal to another key."""
    return b"\x00".join((b"gatehouse collector key 1", gateway_id.encode(), suite.encode(), collector_key))


def collector_key_name(collector_key: bytes) -> str:
    """By which a receipt names the key that content keys are to be sealed to."""
    return hashlib.sha256(collector_key).hexdigest()[:16]


def sm2_key_statement(certified_key: bytes, sm2_key: bytes) -> bytes:
    """What a gateway signs with its SM2 key, so that it cannot give another's for its own.

    `certified_key` is the key of its certificate request, as `models.signing.key_bytes` gives it.
    """
    return b"gatehouse sm2 key 1\x00" + certified_key + sm2_key


def command_key_statement(gateway_id: str, command_key: bytes) -> bytes:
    """What the CA signs, so that who has only the server's key cannot make anybody obey another key."""
    return b"gatehouse command key 1\x00" + gateway_id.encode() + b"\x00" + command_key


MOST_GOT: Final = 20
"""How many commands a gateway names at once as received: they stand in the address of its question."""


class CommandOffer(BaseModel):
    """What waits for one gateway; each is to be named as `got` in the next question."""

    commands: list[str] = Field(description="base64 of signed commands and configurations, the oldest first")


class Quarantined(BaseModel):
    """One item that the collector keeps aside because it cannot be right."""

    seq: int
    reason: str


class Receipt(BaseModel):
    """Given after the commit, and only then. The same envelope gets the same receipt, with `already`."""

    epoch: str = Field(description="hex")
    number: int
    digest: str = Field(description="of the envelope as received, by its suite (SHA-256 or SM3), hex")
    stored: int = Field(description="sequence numbers of this batch, for each of which the collector has all")
    already: bool = Field(description="the batch was stored before; this time nothing changed")
    quarantined: list[Quarantined]
    high_water: int = Field(description="every sequence number of the epoch up to this one is stored")
    missing: list[tuple[int, int]] = Field(
        description="first and last sequence numbers not yet stored, at most 100"
    )
    collector_key: str = Field(
        default="", description="`collector_key_name` of what content keys are to be sealed to from now on"
    )


class _TokenFields(msgspec.Struct, array_like=True, frozen=True):
    url: str
    ca_certificate_der: bytes
    secret: str


class TokenMalformed(BadInput):
    """The text is no enrolment token."""


class EnrollmentToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a technician carries to the gateway: where the collector is, its CA, and a secret for one use.

    The CA itself is in it, so that the first connection is already verified.
    """

    url: str
    ca_certificate_der: bytes
    secret: str

    def __repr__(self) -> str:
        return f"EnrollmentToken(url={self.url!r})"

    def encode(self) -> str:
        packed = msgspec.msgpack.encode(_TokenFields(self.url, self.ca_certificate_der, self.secret))
        return _TOKEN_PREFIX + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "EnrollmentToken":
        """Line breaks, as copying brings them in, and whatever stands before the token are ignored."""
        _, found, packed = "".join(text.split()).rpartition(_TOKEN_PREFIX)
        if not found:
            raise TokenMalformed(f"an enrolment token begins with {_TOKEN_PREFIX!r}; copy it whole")
        try:
            fields = msgspec.msgpack.decode(
                base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True),
                type=_TokenFields,
            )
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            raise TokenMalformed("the enrolment token is cut off or changed; copy it whole") from None
        return cls(url=fields.url, ca_certificate_der=fields.ca_certificate_der, secret=fields.secret)


_TOKEN_PREFIX = "ghe1."  # noqa: S105
