"""SM4 in Galois/Counter Mode (RFC 8998), with the calls that `cryptography` gives AES-GCM."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM

KEY_BYTES: Final = 16
_TAG_BYTES: Final = 16


class SM4GCM:
    """One key. Under it no nonce (12 bytes) may come twice. Shows in no `repr`."""

    def __init__(self, key: bytes) -> None:
        """`key`: 16 bytes; ValueError otherwise."""
        self._algorithm = SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """The ciphertext and behind it the tag of 16 bytes."""
        encryptor = Cipher(self._algorithm, GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data or b"")
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Raise InvalidTag unless every bit is as `encrypt` left it."""
        if len(data) < _TAG_BYTES:
            raise InvalidTag
        sealed, tag = data[:-_TAG_BYTES], data[-_TAG_BYTES:]
        decryptor = Cipher(self._algorithm, GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated_data or b"")
        return decryptor.update(sealed) + decryptor.finalize()
