"""Seals a secret argument of a command, such as a card number or a PIN, so that one gateway can read it.

HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM. The gateway's key is born on the gateway and its
public half registered at enrolment. What is sealed names gateway and command, so it opens nowhere else: not
on another gateway, and not in another command.
"""

import base64
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from models.errors import BadInput

SEAL_KEY_BYTES: Final = 32
SEALED: Final = "sealed:"
"""How the text of a sealed argument begins."""

_suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class CannotUnseal(BadInput):
    """The text was not sealed for this gateway and this command."""

    def __init__(self) -> None:
        super().__init__("was not sealed for this gateway and this command; enrol the gateway again")


def is_usable(public_key: bytes) -> bool:
    """Whether something can be sealed to it; there are 32 bytes that are no key."""
    try:
        _suite.encrypt(b"", X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        return False
    return True


def seal_text(text: str, *, public_key: bytes, gateway_id: str, command_id: str) -> str:
    """`text`, for the owner of `public_key` alone. Raise ValueError for what is no key."""
    key = X25519PublicKey.from_public_bytes(public_key)
    sealed = _suite.encrypt(text.encode(), key, info=_info(gateway_id, command_id))
    return SEALED + base64.b64encode(sealed).decode()


def unseal_text(sealed: str, *, private_key: X25519PrivateKey, gateway_id: str, command_id: str) -> str:
    """What `seal_text` was given. Raise CannotUnseal, which shows nothing of it."""
    if not sealed.startswith(SEALED):
        raise CannotUnseal
    try:
        body = base64.b64decode(sealed.removeprefix(SEALED), validate=True)
        return _suite.decrypt(body, private_key, info=_info(gateway_id, command_id)).decode()
    except (InvalidTag, ValueError):
        raise CannotUnseal from None


def _info(gateway_id: str, command_id: str) -> bytes:
    return b"gatehouse command argument 1\x00" + gateway_id.encode() + b"\x00" + command_id.encode()
