"""The keys of gateways: Ed25519, or P-256 where a key lives in a chip that has only that.

Both sign with 64 bytes: Ed25519 as it is, P-256 (ECDSA with SHA-256) as r and s of 32 bytes each.
"""

import base64
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models.errors import BadInput

SIGNATURE_BYTES: Final = 64

GatewayKey = Ed25519PublicKey | ec.EllipticCurvePublicKey

_P256_BYTES = 65
_CODE_LETTERS: Final = 12  # 60 bits: nobody finds another key with the same code


class KeyUnusable(BadInput, ValueError):
    """The bytes are no key of a gateway, or the key is of another kind."""


def key_bytes(key: object) -> bytes:
    """How a public key is kept: 32 bytes of Ed25519, or 65 of P-256. Raise KeyUnusable."""
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raise KeyUnusable("the key of a gateway is Ed25519 or P-256, and this is another kind")


def key_from(data: bytes) -> GatewayKey:
    """What `key_bytes` was given. Raise KeyUnusable."""
    try:
        if len(data) == _P256_BYTES:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
        return Ed25519PublicKey.from_public_bytes(data)
    except ValueError:  # of any other length too
        raise KeyUnusable("the bytes are no key of a gateway") from None


def verify(public_key: bytes, signature: bytes, data: bytes) -> None:
    """Raise InvalidSignature unless the owner of `public_key` has signed `data`; KeyUnusable for no key."""
    key = key_from(public_key)
    if isinstance(key, Ed25519PublicKey):
        key.verify(signature, data)
        return
    if len(signature) != SIGNATURE_BYTES:
        raise InvalidSignature
    half = SIGNATURE_BYTES // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))


def is_signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the owner of `public_key` has signed `data`; what is no key has signed nothing."""
    try:
        verify(public_key, signature, data)
    except (InvalidSignature, KeyUnusable):
        return False
    return True


def key_code(public_key: bytes) -> str:
    """What two people read to each other to be sure that they mean the same key, such as ABCD-EFGH-JKLM."""
    digest = hashlib.sha256(b"gatehouse key code 1\x00" + public_key).digest()
    text = base64.b32encode(digest).decode()[:_CODE_LETTERS]
    return "-".join(text[start : start + 4] for start in range(0, _CODE_LETTERS, 4))


def code_as_typed(text: str) -> str:
    """A code as `key_code` writes it, from what a person has typed; what is none stays none."""
    letters = "".join(filter(str.isalnum, text)).upper()
    return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))
