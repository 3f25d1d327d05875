"""SM2 signatures and encryption (GB/T 32918, on the curve of GB/T 32918.5), by the OpenSSL of the system.

`cryptography` has no SM2. The libcrypto that Python's own `ssl` module uses has it, is kept by the
distribution and is there on every architecture; this module is the only one that calls it. Keys, signatures
and ciphertexts are plain bytes as the standard has them:

- private key: 32 bytes, public key: 65 bytes (04, x, y)
- signature: r, s, 64 bytes, over SM3 of Z and the data, with the identity that GM/T 0009 gives who has none
- ciphertext: C1 (65 bytes), C3 (32), C2 (as long as the plain text)
"""

import ctypes
import functools
import secrets
import weakref
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from models.errors import NeedsAHuman

PRIVATE_BYTES: Final = 32
PUBLIC_BYTES: Final = 65
SIGNATURE_BYTES: Final = 64
CIPHERTEXT_OVERHEAD: Final = PUBLIC_BYTES + 32
"""How much longer a ciphertext is than what it hides, in bytes."""

_SIGNER_ID: Final = b"1234567812345678"
_ORDER: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_LIBRARIES: Final = ("libcrypto.so.3", "libcrypto.so.4")  # OpenSSL 3.x and 4.x

# What stands in DER before a key of this curve, by RFC 5480, and by RFC 5208 with RFC 5915.
_PUBLIC_DER: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
_PRIVATE_DER: Final = bytes.fromhex("3041020100301306072a8648ce3d020106082a811ccf5501822d042730250201010420")


class Sm2Unavailable(NeedsAHuman):
    """This machine's OpenSSL has no SM2."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"SM2 cannot be used here: {detail}; install OpenSSL 3 with SM2 (Debian: apt install libssl3)"
        )
        self.detail = detail


class Sm2PublicKey:
    """Verifies signatures, and encrypts to the owner of the private half."""

    def __init__(self, data: bytes) -> None:
        """Raise ValueError for what is no point of the curve, Sm2Unavailable where there is no SM2."""
        if len(data) != PUBLIC_BYTES or data[0] != 4:
            raise ValueError(f"a public SM2 key has {PUBLIC_BYTES} bytes and begins with 04")
        self._key = _Key.from_public(data)
        self._data = data

    def to_bytes(self) -> bytes:
        return self._data

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise InvalidSignature unless the owner of this key has signed `data`."""
        if len(signature) != SIGNATURE_BYTES:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not self._key.has_signed(encode_dss_signature(r, s), data):
            raise InvalidSignature

    def encrypt(self, data: bytes) -> bytes:
        """`data`, at least one byte of it, as C1, C3, C2."""
        found = asn1.decode_der(_Ciphertext, self._key.encrypt(data))
        return b"\x04" + found.x.to_bytes(32, "big") + found.y.to_bytes(32, "big") + found.c3 + found.c2


class Sm2PrivateKey:
    """Signs, and decrypts what was encrypted to its public half. Shows in no `repr`."""

    def __init__(self, data: bytes) -> None:
        """Raise ValueError for what is no private key, Sm2Unavailable where there is no SM2."""
        if len(data) != PRIVATE_BYTES or not 0 < int.from_bytes(data, "big") < _ORDER - 1:
            raise ValueError(f"a private SM2 key has {PRIVATE_BYTES} bytes, from 1 to n - 2")
        self._key = _Key.from_private(data)
        self._data = data

    @classmethod
    def generate(cls) -> "Sm2PrivateKey":
        return cls((secrets.randbelow(_ORDER - 2) + 1).to_bytes(PRIVATE_BYTES, "big"))

    def to_bytes(self) -> bytes:
        """Secret: to be kept in a file that only its owner can read."""
        return self._data

    def public_key(self) -> Sm2PublicKey:
        return Sm2PublicKey(self._key.public_bytes())

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def decrypt(self, ciphertext: bytes) -> bytes:
        """What `Sm2PublicKey.encrypt` was given. Raise InvalidTag when it is not that."""
        if len(ciphertext) <= CIPHERTEXT_OVERHEAD or ciphertext[0] != 4:
            raise InvalidTag
        parts = _Ciphertext(
            x=int.from_bytes(ciphertext[1:33], "big"),
            y=int.from_bytes(ciphertext[33:65], "big"),
            c3=ciphertext[65:97],
            c2=ciphertext[97:],
        )
        return self._key.decrypt(asn1.encode_der(parts))


@asn1.sequence
class _Ciphertext:
    """How OpenSSL writes a ciphertext (GM/T 0009, 7.2)."""

    x: int
    y: int
    c3: bytes
    c2: bytes


class _Key:
    """One EVP_PKEY of OpenSSL. Several threads may use it: each call has a context of its own."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        weakref.finalize(self, _library().EVP_PKEY_free, pointer).atexit = False

    @classmethod
    def from_public(cls, data: bytes) -> "_Key":
        return cls._from_der(_library().d2i_PUBKEY, _PUBLIC_DER + data)

    @classmethod
    def from_private(cls, data: bytes) -> "_Key":
        return cls._from_der(_library().d2i_AutoPrivateKey, _PRIVATE_DER + data)

    @classmethod
    def _from_der(cls, read: Any, der: bytes) -> "_Key":
        buffer = c_char_p(der)
        pointer = read(None, byref(buffer), len(der))
        if not pointer:
            _forget_errors()
            raise ValueError("not a key of the SM2 curve")
        return cls(c_void_p(pointer))

    def public_bytes(self) -> bytes:
        der = ctypes.create_string_buffer(len(_PUBLIC_DER) + PUBLIC_BYTES)
        size = _library().i2d_PUBKEY(self._pointer, byref(ctypes.cast(der, c_char_p)))
        if size != len(der.raw):
            _forget_errors()
            raise Sm2Unavailable("OpenSSL writes a public key otherwise than RFC 5480")
        return der.raw[len(_PUBLIC_DER) :]

    def sign(self, data: bytes) -> bytes:
        library = _library()
        with _Digest(self._pointer) as digest:
            _must(library.EVP_DigestSignInit(digest.context, None, library.EVP_sm3(), None, self._pointer))
            size = c_size_t(128)  # a DER signature has at most 72 bytes
            signature = ctypes.create_string_buffer(size.value)
            _must(library.EVP_DigestSign(digest.context, signature, byref(size), data, len(data)))
            return signature.raw[: size.value]

    def has_signed(self, signature: bytes, data: bytes) -> bool:
        library = _library()
        with _Digest(self._pointer) as digest:
            _must(library.EVP_DigestVerifyInit(digest.context, None, library.EVP_sm3(), None, self._pointer))
            answer = library.EVP_DigestVerify(digest.context, signature, len(signature), data, len(data))
        if answer != 1:
            _forget_errors()
        return bool(answer == 1)

    def encrypt(self, data: bytes) -> bytes:
        library = _library()
        return self._transformed(library.EVP_PKEY_encrypt_init, library.EVP_PKEY_encrypt, data)

    def decrypt(self, data: bytes) -> bytes:
        library = _library()
        try:
            return self._transformed(library.EVP_PKEY_decrypt_init, library.EVP_PKEY_decrypt, data)
        except Sm2Unavailable:
            raise InvalidTag from None

    def _transformed(self, begin: Any, work: Any, data: bytes) -> bytes:
        library = _library()
        context = c_void_p(library.EVP_PKEY_CTX_new(self._pointer, None))
        try:
            _must(begin(context))
            size = c_size_t()
            _must(work(context, None, byref(size), data, len(data)))
            result = ctypes.create_string_buffer(size.value)
            _must(work(context, result, byref(size), data, len(data)))
            return result.raw[: size.value]
        finally:
            library.EVP_PKEY_CTX_free(context)


class _Digest:
    """An EVP_MD_CTX for SM3 with Z, which knows the identity of the signer."""

    def __init__(self, key: Any) -> None:
        library = _library()
        self.context = c_void_p(library.EVP_MD_CTX_new())
        self._of_key = c_void_p(library.EVP_PKEY_CTX_new(key, None))

    def __enter__(self) -> "_Digest":
        library = _library()
        try:
            _must(library.EVP_PKEY_CTX_set1_id(self._of_key, _SIGNER_ID, len(_SIGNER_ID)))
        except Sm2Unavailable:
            self.__exit__()
            raise
        library.EVP_MD_CTX_set_pkey_ctx(self.context, self._of_key)
        return self

    def __exit__(self, *_: object) -> None:
        library = _library()
        library.EVP_MD_CTX_free(self.context)
        library.EVP_PKEY_CTX_free(self._of_key)


def _must(answer: int) -> None:
    if answer != 1:
        _forget_errors()
        raise Sm2Unavailable("OpenSSL refuses an operation of SM2")


def _forget_errors() -> None:
    """Python's `ssl` shares OpenSSL's list of errors: none of ours must be taken for one of a connection."""
    _library().ERR_clear_error()


_FUNCTIONS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "ERR_clear_error": (None, []),
    "EVP_sm3": (c_void_p, []),
    "EVP_PKEY_free": (None, [c_void_p]),
    "d2i_PUBKEY": (c_void_p, [c_void_p, POINTER(c_char_p), ctypes.c_long]),
    "d2i_AutoPrivateKey": (c_void_p, [c_void_p, POINTER(c_char_p), ctypes.c_long]),
    "i2d_PUBKEY": (c_int, [c_void_p, POINTER(c_char_p)]),
    "EVP_PKEY_CTX_new": (c_void_p, [c_void_p, c_void_p]),
    "EVP_PKEY_CTX_free": (None, [c_void_p]),
    "EVP_PKEY_CTX_set1_id": (c_int, [c_void_p, c_char_p, c_size_t]),
    "EVP_PKEY_encrypt_init": (c_int, [c_void_p]),
    "EVP_PKEY_encrypt": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
    "EVP_PKEY_decrypt_init": (c_int, [c_void_p]),
    "EVP_PKEY_decrypt": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
    "EVP_MD_CTX_new": (c_void_p, []),
    "EVP_MD_CTX_free": (None, [c_void_p]),
    "EVP_MD_CTX_set_pkey_ctx": (None, [c_void_p, c_void_p]),
    "EVP_DigestSignInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    "EVP_DigestSign": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
    "EVP_DigestVerifyInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    "EVP_DigestVerify": (c_int, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
}


@functools.cache
def _library() -> ctypes.CDLL:
    """Raise Sm2Unavailable."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
            for function, (result, arguments) in _FUNCTIONS.items():
                found = getattr(library, function)
                found.restype, found.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        return library
    raise Sm2Unavailable(f"none of {', '.join(_LIBRARIES)} has what it needs")
