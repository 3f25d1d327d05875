"""An enrolment without a network: the gateway's request is carried to the collector, and the answer back.

The token stays at the gateway. The request names it by a digest, and shows by an HMAC under another digest
that its maker has it; so who carries or finds the request can neither use the token nor change a word. The
answer needs nothing of its own: all in it is vouched for by the CA that stands in the token.
"""

import hashlib
import hmac

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import BadInput
from models.protocol import EnrollRequest

MAX_REQUEST_BYTES = 1 << 16


class OfflineRequestRefused(BadInput):
    """The file is no request, or its maker does not have the token that it names."""


class OfflineRequest(BaseModel):
    """A request for a certificate that travels in a file."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=64, description="`token_name` of the token, hex")
    request: str = Field(max_length=20_000, description="JSON of an `EnrollRequest` with an empty secret")
    proof: str = Field(max_length=64, description="hex of the HMAC over `request`")


def seal_request(request: EnrollRequest) -> bytes:
    """The file. The secret in `request` is not in it."""
    digest = _secret_digest(request.secret)
    text = request.model_copy(update={"secret": ""}).model_dump_json()
    sealed = OfflineRequest(token=token_name(digest), request=text, proof=_proof(digest, text))
    return sealed.model_dump_json(indent=2).encode() + b"\n"


def read_request(data: bytes) -> OfflineRequest:
    """Raise OfflineRequestRefused. Nothing of it has been verified yet."""
    if len(data) > MAX_REQUEST_BYTES:
        raise OfflineRequestRefused("too large for a request of `edge-agent enroll --request`")
    try:
        return OfflineRequest.model_validate_json(data)
    except ValidationError:
        raise OfflineRequestRefused(
            "no request of `edge-agent enroll --request`, or cut off; copy it whole"
        ) from None


def verified_request(sealed: OfflineRequest, secret_digest: bytes) -> EnrollRequest:
    """What is asked, once it is certain that who asks has the token. Raise OfflineRequestRefused."""
    if not hmac.compare_digest(_proof(secret_digest, sealed.request).encode(), sealed.proof.encode()):
        raise OfflineRequestRefused("changed on its way, or made by somebody without the token")
    try:
        return EnrollRequest.model_validate_json(sealed.request)
    except ValidationError:
        raise OfflineRequestRefused(
            "asks for what this collector does not know; update one of both"
        ) from None


def token_name(secret_digest: bytes) -> str:
    """By which a request names its token; `secret_digest` is the SHA-256 of the secret."""
    return hashlib.sha256(b"gatehouse token name 1\x00" + secret_digest).hexdigest()


def _proof(secret_digest: bytes, text: str) -> str:
    return hmac.digest(secret_digest, b"gatehouse offline enrolment 1\x00" + text.encode(), "sha256").hex()


def _secret_digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
