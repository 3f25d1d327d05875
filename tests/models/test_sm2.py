"""SM2 against the examples of GB/T 32918.5; and nothing else is taken for a key, signature or ciphertext."""

import ssl
import threading

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sm2 import CIPHERTEXT_OVERHEAD, SIGNATURE_BYTES, Sm2PrivateKey, Sm2PublicKey

# GB/T 32918.5-2017, annexes A.2 and C.2: the key pair of both examples
PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
CIPHERTEXT = bytes.fromhex(
    "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
    "21886CA989CA9C7D58087307CA93092D651EFA"
)
KEY = Sm2PrivateKey(PRIVATE)


def test_the_public_key_of_the_standards_example_is_found() -> None:
    assert KEY.public_key().to_bytes() == PUBLIC
    assert KEY.to_bytes() == PRIVATE


def test_the_signature_of_the_standards_example_is_right_for_its_message_alone() -> None:
    key = Sm2PublicKey(PUBLIC)
    key.verify(SIGNATURE, b"message digest")
    with pytest.raises(InvalidSignature):
        key.verify(SIGNATURE, b"message digests")


def test_the_ciphertext_of_the_standards_example_is_decrypted() -> None:
    assert KEY.decrypt(CIPHERTEXT) == b"encryption standard"


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=100)
def test_what_is_signed_and_encrypted_comes_back(data: bytes) -> None:
    key = Sm2PrivateKey.generate()
    public = Sm2PublicKey(key.public_key().to_bytes())
    signature, ciphertext = key.sign(data), public.encrypt(data)

    public.verify(signature, data)
    assert len(signature) == SIGNATURE_BYTES
    assert len(ciphertext) == len(data) + CIPHERTEXT_OVERHEAD
    assert key.decrypt(ciphertext) == data


def test_every_flipped_bit_of_a_signature_and_of_a_ciphertext_is_refused() -> None:
    public = KEY.public_key()
    for bit in range(8 * len(SIGNATURE)):
        with pytest.raises(InvalidSignature):
            public.verify(flipped(SIGNATURE, bit), b"message digest")
    for bit in range(8 * len(CIPHERTEXT)):
        with pytest.raises(InvalidTag):
            KEY.decrypt(flipped(CIPHERTEXT, bit))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_what_is_cut_short_or_for_another_key_is_refused() -> None:
    other = Sm2PrivateKey.generate()
    for length in (0, 1, 64, 97, len(CIPHERTEXT) - 1):
        with pytest.raises(InvalidTag):
            KEY.decrypt(CIPHERTEXT[:length])
    for length in (0, 1, 63):
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(SIGNATURE[:length], b"message digest")
    with pytest.raises(InvalidTag):
        other.decrypt(CIPHERTEXT)
    with pytest.raises(InvalidSignature):
        other.public_key().verify(SIGNATURE, b"message digest")


@pytest.mark.parametrize("number", [0, 1, (1 << 256) - 1])
def test_numbers_that_no_signature_has_are_refused(number: int) -> None:
    for signature in (
        number.to_bytes(32, "big") + SIGNATURE[32:],
        SIGNATURE[:32] + number.to_bytes(32, "big"),
    ):
        with pytest.raises(InvalidSignature):
            KEY.public_key().verify(signature, b"message digest")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PUBLIC[:-1], id="cut"),
        pytest.param(PUBLIC[1:], id="without-04"),
        pytest.param(b"\x04" + bytes(64), id="zeros"),
        pytest.param(PUBLIC[:-1] + b"\x14", id="not-on-the-curve"),
        pytest.param(b"\x02" + PUBLIC[1:33], id="compressed"),
    ],
)
def test_what_is_no_public_key_is_a_mistake(data: bytes) -> None:
    with pytest.raises(ValueError, match="SM2"):
        Sm2PublicKey(data)


ORDER = bytes.fromhex("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123")


@pytest.mark.parametrize(
    "data", [b"", bytes(32), PRIVATE[:-1], ORDER, (int.from_bytes(ORDER, "big") - 1).to_bytes(32, "big")]
)
def test_what_is_no_private_key_is_a_mistake(data: bytes) -> None:
    with pytest.raises(ValueError, match="private SM2 key"):
        Sm2PrivateKey(data)


def test_a_refusal_leaves_no_error_behind_for_a_connection_to_find() -> None:
    """Python's ssl reads the same list of errors of the same library and thread."""
    for refuse in (
        lambda: KEY.decrypt(flipped(CIPHERTEXT, 500)),
        lambda: Sm2PublicKey(PUBLIC[:-1] + b"\x14"),
    ):
        with pytest.raises((InvalidTag, ValueError)):
            refuse()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()


def test_one_key_serves_several_threads_at_once() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for n in range(50):
                data = b"%d" % n
                KEY.public_key().verify(KEY.sign(data), data)
                assert KEY.decrypt(KEY.public_key().encrypt(data)) == data
        except BaseException as err:
            failures.append(err)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_private_key_shows_nothing_when_printed() -> None:
    assert PRIVATE.hex()[:8] not in repr(KEY).lower()
