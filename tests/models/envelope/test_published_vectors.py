"""The algorithms of suite 1 against what was published of them, so that others can open what we seal.

`cryptography` gives its HPKE neither an ephemeral key nor associated data, so no published example can be put
into it. In its place stands a second HPKE, written here from RFC 9180 alone: it meets the published example,
and it opens what the library sealed.
"""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from models.envelope import STANDARD, CollectorPrivateKey


def test_aes_256_gcm_meets_case_16_of_its_specification() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, submitted to NIST; test case 16."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308") * 2
    plain = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    associated = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    assert STANDARD.aead(key).encrypt(nonce, plain, associated) == sealed
    assert STANDARD.aead(key).decrypt(nonce, sealed, associated) == plain


@pytest.mark.parametrize(
    ("secret", "public", "message", "signature"),
    [  # RFC 8032, 7.1, tests 1 to 3
        pytest.param(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            id="1",
        ),
        pytest.param(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            id="2",
        ),
        pytest.param(
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            id="3",
        ),
    ],
)
def test_ed25519_meets_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret))
    assert key.sign(bytes.fromhex(message)) == bytes.fromhex(signature)
    STANDARD.verify(bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message))


# HPKE in its base mode, from RFC 9180, sections 4 and 5.1


def extract(salt: bytes, label: bytes, secret: bytes, *, suite_id: bytes) -> bytes:
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(b"HPKE-v1" + suite_id + label + secret)
    return mac.finalize()


def expand(key: bytes, label: bytes, info: bytes, length: int, *, suite_id: bytes) -> bytes:
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + info
    return HKDFExpand(hashes.SHA256(), length, labeled).derive(key)


def opened(
    shared: bytes, sealed: bytes, *, kem: int, aead: int, key_bytes: int, info: bytes, associated: bytes
) -> bytes:
    """What was sealed first under this shared secret."""
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem, 1, aead))
    context = (
        b"\0"
        + extract(b"", b"psk_id_hash", b"", suite_id=suite_id)
        + extract(b"", b"info_hash", info, suite_id=suite_id)
    )
    secret = extract(shared, b"secret", b"", suite_id=suite_id)
    key = expand(secret, b"key", context, key_bytes, suite_id=suite_id)
    nonce = expand(secret, b"base_nonce", context, 12, suite_id=suite_id)
    return AESGCM(key).decrypt(nonce, sealed, associated)


def x25519_shared(private_key: X25519PrivateKey, encapsulated: bytes) -> bytes:
    """RFC 9180, 4.1, of DHKEM(X25519, HKDF-SHA256)."""
    suite_id = b"KEM" + (0x20).to_bytes(2, "big")
    dh = private_key.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + private_key.public_key().public_bytes_raw()
    secret = extract(b"", b"eae_prk", dh, suite_id=suite_id)
    return expand(secret, b"shared_secret", context, 32, suite_id=suite_id)


def test_the_second_hpke_opens_the_example_of_rfc_9180() -> None:
    """Appendix A.1.1: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM."""
    receiver = X25519PrivateKey.from_private_bytes(
        bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    )
    encapsulated = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    shared = x25519_shared(receiver, encapsulated)
    assert shared.hex() == "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"
    plain = opened(
        shared,
        bytes.fromhex(
            "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
        ),
        kem=0x20,
        aead=1,
        key_bytes=16,
        info=b"Ode on a Grecian Urn",
        associated=b"Count-0",
    )
    assert plain == b"Beauty is truth, truth beauty"


def test_the_second_hpke_opens_what_the_transport_of_suite_1_sealed() -> None:
    """The hybrid KEM of draft-ietf-hpke-pq, MLKEM768-X25519 (0x647a), which is X-Wing."""
    private = CollectorPrivateKey.generate()
    mlkem = MLKEM768PrivateKey.from_seed_bytes(private.to_bytes()[:64])
    x25519 = X25519PrivateKey.from_private_bytes(private.to_bytes()[64:])

    sent = STANDARD.transport.seal(b"a content key", public_key=private.public_bytes(), info=b"what for")

    of_mlkem, of_x25519, sealed = sent[:1088], sent[1088:1120], sent[1120:]
    shared = hashlib.sha3_256(
        mlkem.decapsulate(of_mlkem)
        + x25519.exchange(X25519PublicKey.from_public_bytes(of_x25519))
        + of_x25519
        + x25519.public_key().public_bytes_raw()
        + rb"\.//^\ "[:6]
    ).digest()
    plain = opened(shared, sealed, kem=0x647A, aead=2, key_bytes=32, info=b"what for", associated=b"")
    assert plain == b"a content key"
