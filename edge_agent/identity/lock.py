"""Locks the files with private keys, if that is wanted, by a key that a PKCS#11 token never gives away.

The token holds an elliptic-curve key. What locks the files is agreed (ECDH) between it and a key that is
thrown away once its public half is written beside the files. To open them takes the token and its PIN.
"""

import base64
import importlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from edge_agent.files import write_durably
from edge_agent.secret_files import read_secret
from models.errors import NeedsAHuman

TOKEN: Final = "token.json"  # noqa: S105
LABEL: Final = "gatehouse"  # of the key in the token

_CURVE: Final = ec.SECP256R1()
_NONCE_BYTES: Final = 12
_one_at_a_time = threading.Lock()  # a program as a whole is logged in at a token, or is not


class TokenUnusable(NeedsAHuman):
    """The token that locks the keys of this gateway cannot be used. Nothing was changed."""

    def __init__(self, place: "TokenPlace", detail: str) -> None:
        super().__init__(f"token {place.token!r} by {place.module}: {detail}")
        self.place, self.detail = place, detail


class TokenPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the token is, and what opens it."""

    module: str  # a library with the interface PKCS#11
    token: str  # its label
    pin_file: str  # a file with its PIN


class _Locked(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in TOKEN."""

    place: TokenPlace
    point: bytes


@dataclass(frozen=True, slots=True)
class Lock:
    """How the private keys of one identity are written. No `repr` or message shows what opens it."""

    _secret: bytes | None = field(default=None, repr=False)

    @property
    def password(self) -> bytes | None:
        """Of the PEM files; None where nothing is locked."""
        return None if self._secret is None else base64.b64encode(self._secret)

    def pem(self, key: Ed25519PrivateKey) -> bytes:
        encryption: KeySerializationEncryption = NoEncryption()
        if self.password is not None:
            encryption = BestAvailableEncryption(self.password)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def key_of(self, pem: bytes) -> Ed25519PrivateKey:
        """Raise ValueError for what is no key of ours, or not locked by this."""
        try:
            key = load_pem_private_key(pem, self.password)
        except TypeError as err:  # locked where nothing should be, or the other way round
            raise ValueError(str(err)) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the key is not an Ed25519 key")
        return key

    def closed(self, data: bytes) -> bytes:
        """A key that is no PEM, as it is written."""
        if self._secret is None:
            return data
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._secret).encrypt(nonce, data, None)

    def opened(self, data: bytes) -> bytes:
        """Raise ValueError for what was not closed by this."""
        if self._secret is None:
            return data
        try:
            return AESGCM(self._secret).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):  # the second for what is too short to be anything
            raise ValueError("is not locked by the token") from None


OPEN: Final = Lock()


def new_lock(folder: Path, place: TokenPlace | None) -> Lock:
    """The lock of a folder in which an identity is put together. Raise TokenUnusable or SecretUnusable."""
    if place is None:
        return OPEN
    ours = ec.generate_private_key(_CURVE)
    point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = _agreed(place, point, make=True)
    write_durably(folder / TOKEN, msgspec.json.encode(_Locked(place=place, point=point)), mode=0o600)
    return Lock(secret)


def lock_of(folder: Path) -> Lock:
    """The lock of a folder with an identity. Raise TokenUnusable, SecretUnusable, ValueError, OSError."""
    try:
        raw = (folder / TOKEN).read_bytes()
    except FileNotFoundError:
        return OPEN
    try:
        locked = msgspec.json.decode(raw, type=_Locked)
    except msgspec.MsgspecError:
        raise ValueError(f"{TOKEN} is damaged") from None
    return Lock(_agreed(locked.place, locked.point, make=False))


def _agreed(place: TokenPlace, point: bytes, *, make: bool) -> bytes:
    try:
        pkcs11: Any = importlib.import_module("pkcs11")
    except ImportError:
        raise TokenUnusable(place, "install what speaks to it: pip install 'gatehouse[token]'") from None
    with _one_at_a_time:
        return _derived(pkcs11, place, point, read_secret(Path(place.pin_file)), make=make)


def _derived(pkcs11: Any, place: TokenPlace, point: bytes, pin: str, *, make: bool) -> bytes:
    attribute, kinds = pkcs11.Attribute, pkcs11.ObjectClass
    try:
        token = pkcs11.lib(place.module).get_token(token_label=place.token)
        with token.open(rw=make, user_pin=pin) as session:
            try:
                key = session.get_key(label=LABEL, object_class=kinds.PRIVATE_KEY)
            except pkcs11.NoSuchKey:
                if not make:
                    gone = "the key that locks the keys of this gateway is gone; enrol again"
                    raise TokenUnusable(place, gone) from None
                key = _made(pkcs11, session)
            if key[attribute.EXTRACTABLE]:
                loose = f"its key {LABEL!r} can be taken out; delete it there, and a better one is made"
                raise TokenUnusable(place, loose)
            derived = key.derive_key(
                pkcs11.KeyType.GENERIC_SECRET,
                256,
                mechanism=pkcs11.Mechanism.ECDH1_DERIVE,
                mechanism_param=(pkcs11.KDF.NULL, None, point),
                store=False,
                template={attribute.SENSITIVE: False, attribute.EXTRACTABLE: True},
            )
            shared = bytes(derived[attribute.VALUE])
    except pkcs11.PKCS11Error as err:
        told = str(err) or type(err).__name__
        hint = f"check that it is there, its label, and the PIN in {place.pin_file}"
        raise TokenUnusable(place, f"{told}; {hint}") from None
    info = b"gatehouse key files 1\x00" + point
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared)


def _made(pkcs11: Any, session: Any) -> Any:
    curve = importlib.import_module("pkcs11.util.ec").encode_named_curve_parameters("secp256r1")
    parameters = session.create_domain_parameters(
        pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
    )
    _, key = parameters.generate_keypair(
        store=True, label=LABEL, id=LABEL.encode(), capabilities=pkcs11.MechanismFlag.DERIVE
    )
    return key
