"""A signature is its owner's, whichever kind of key; what is none proves nothing."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from models.signing import KeyUnusable, code_as_typed, is_signed_by, key_bytes, key_code, key_from
from tests.support.next_keys import P256Signer

ED = Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
KEYS = [
    pytest.param(key_bytes(ED.public_key()), ED.sign(b"data"), id="ed25519"),
    pytest.param(key_bytes(EC.public_key()), P256Signer(EC).sign(b"data"), id="p256"),
]


@pytest.mark.parametrize(("key", "signature"), KEYS)
def test_a_signature_is_good_for_its_data_and_its_owner_alone(key: bytes, signature: bytes) -> None:
    assert key_bytes(key_from(key)) == key
    assert is_signed_by(key, signature, b"data")
    assert not is_signed_by(key, signature, b"other")
    for bit in range(8 * len(signature)):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not is_signed_by(key, bytes(changed), b"data")
    for other in KEYS:
        if other.values[0] != key:
            assert not is_signed_by(other.values[0], signature, b"data")  # type: ignore[arg-type]


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_bytes_that_are_no_key_or_no_signature_prove_nothing(key: bytes, signature: bytes) -> None:
    assert not is_signed_by(key, signature, b"data")


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()).public_key(), x25519.X25519PrivateKey.generate().public_key()],
)
def test_another_kind_of_key_is_no_gateways(key: object) -> None:
    with pytest.raises(KeyUnusable):
        key_bytes(key)


def test_a_code_can_be_typed_as_people_type() -> None:
    code = key_code(bytes(32))
    assert [len(part) for part in code.split("-")] == [4, 4, 4]
    assert code_as_typed(f" {code.lower().replace('-', ' ')}") == code
    assert key_code(bytes(31) + b"\x01") != code
