"""What a gateway asks for its next key with, made by hand."""

import base64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from models.protocol import NextKeyRequest, next_key_statement
from tests.support.collector import Sender


def asking_next(
    sender: Sender,
    new: Ed25519PrivateKey,
    *,
    signer: Ed25519PrivateKey | None = None,
    old: Ed25519PrivateKey | None = None,
) -> NextKeyRequest:
    """`signer` is who vouches in place of the sender's key; `old` the key that is named in its place."""
    public_key = new.public_key().public_bytes_raw()
    proof = (signer or sender.signing_key).sign(next_key_statement(sender.gateway_id, public_key))
    return NextKeyRequest(
        gateway_id=sender.gateway_id,
        csr_pem=sender.csr_pem(new),
        old_key=base64.b64encode((old or sender.signing_key).public_key().public_bytes_raw()).decode(),
        proof=base64.b64encode(proof).decode(),
    )


class P256Signer:
    """Signs as a chip does: ECDSA, of which r and s are sent as they are."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes, /) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
