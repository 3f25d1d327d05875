"""SM4-GCM against the vector of RFC 8998."""

import pytest
from cryptography.exceptions import InvalidTag

from models.sm4_gcm import SM4GCM

# RFC 8998, appendix A.1
KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
NONCE = bytes.fromhex("00001234567800000000ABCD")
ASSOCIATED = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
PLAIN = bytes.fromhex(
    "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBCCCCCCCCCCCCCCCCDDDDDDDDDDDDDDDD"
    "EEEEEEEEEEEEEEEEFFFFFFFFFFFFFFFFEEEEEEEEEEEEEEEEAAAAAAAAAAAAAAAA"
)
SEALED = bytes.fromhex(
    "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
    "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
    "83DE3541E4C2B58177E065A9BF7B62EC"
)


def test_the_published_vector_is_met() -> None:
    assert SM4GCM(KEY).encrypt(NONCE, PLAIN, ASSOCIATED) == SEALED
    assert SM4GCM(KEY).decrypt(NONCE, SEALED, ASSOCIATED) == PLAIN


@pytest.mark.parametrize("bit", range(0, len(SEALED) * 8, 7))
def test_one_changed_bit_is_refused(bit: int) -> None:
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        SM4GCM(KEY).decrypt(NONCE, bytes(changed), ASSOCIATED)


def test_other_associated_data_another_nonce_and_a_cut_are_refused() -> None:
    for nonce, sealed, associated in (
        (NONCE, SEALED, ASSOCIATED[1:]),
        (bytes(12), SEALED, ASSOCIATED),
        (NONCE, SEALED[:-1], ASSOCIATED),
        (NONCE, SEALED[:15], ASSOCIATED),
        (NONCE, b"", ASSOCIATED),
    ):
        with pytest.raises(InvalidTag):
            SM4GCM(KEY).decrypt(nonce, sealed, associated)


def test_a_key_of_another_size_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="key size"):
        SM4GCM(KEY + KEY)
