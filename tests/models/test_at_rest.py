"""Rows at rest: readable with the key alone, each on its own, under its own name, and in no other way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.at_rest import OVERHEAD_BYTES, AtRest, Cipher, RowDamaged

KEY = bytes(range(32))
CIPHERS: tuple[Cipher, ...] = ("aes-256-gcm-siv", "sm4-gcm")
names = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=20), st.binary(max_size=20))
ciphers = pytest.mark.parametrize("cipher", CIPHERS)


def at_rest(cipher: Cipher, key: bytes = KEY, purpose: str = "buffer") -> AtRest:
    return AtRest(key, purpose=purpose, cipher=cipher)


@ciphers
@given(row=st.binary(max_size=300), name=names)
def test_a_row_comes_back_whole_and_is_28_bytes_longer_meanwhile(
    cipher: Cipher, row: bytes, name: str | int | bytes
) -> None:
    sealed = at_rest(cipher).seal(row, table="block", name=name)

    assert len(sealed) == len(row) + OVERHEAD_BYTES == len(row) + 28
    assert at_rest(cipher).open(sealed, table="block", name=name) == row


@ciphers
@given(data=st.data())
def test_a_changed_or_cut_row_is_refused(cipher: Cipher, data: st.DataObject) -> None:
    sealed = bytearray(at_rest(cipher).seal(b"a reading of a meter", table="block", name=7))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(sealed) - 1))
        sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del sealed[data.draw(st.integers(0, len(sealed) - 1)) :]

    with pytest.raises(RowDamaged, match="row 7 of block"):
        at_rest(cipher).open(bytes(sealed), table="block", name=7)


@ciphers
@pytest.mark.parametrize(
    ("table", "name"),
    [
        pytest.param("block", 8, id="another-row"),
        pytest.param("block", "7", id="a-text-for-a-number"),
        pytest.param("blocks", 7, id="another-table"),
    ],
)
def test_a_row_that_is_put_in_the_place_of_another_is_refused(
    cipher: Cipher, table: str, name: str | int
) -> None:
    sealed = at_rest(cipher).seal(b"7 kWh", table="block", name=7)

    with pytest.raises(RowDamaged):
        at_rest(cipher).open(sealed, table=table, name=name)


@ciphers
def test_neither_another_key_nor_another_purpose_nor_another_cipher_opens_a_row(cipher: Cipher) -> None:
    sealed = at_rest(cipher).seal(b"7 kWh", table="block", name=7)
    [other] = set(CIPHERS) - {cipher}

    for wrong in (at_rest(cipher, key=bytes(32)), at_rest(cipher, purpose="log"), at_rest(other)):
        with pytest.raises(RowDamaged):
            wrong.open(sealed, table="block", name=7)


@ciphers
def test_the_same_row_never_looks_the_same_twice(cipher: Cipher) -> None:
    store = at_rest(cipher)
    assert len({store.seal(b"7 kWh", table="block", name=7) for _ in range(1000)}) == 1000


def test_without_randomness_sm4_still_gives_two_different_rows_two_nonces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.urandom", bytes)
    store = at_rest("sm4-gcm")

    nonces = {store.seal(bytes([i]), table="block", name=j)[:12] for i in range(16) for j in range(16)}

    assert len(nonces) == 256


@ciphers
def test_a_fingerprint_tells_one_key_from_another_and_shows_neither(cipher: Cipher) -> None:
    store, other = at_rest(cipher), at_rest(cipher, key=bytes(32))

    assert store.fingerprint == at_rest(cipher).fingerprint != other.fingerprint
    assert len(store.fingerprint) == 16
    assert KEY.hex()[:8] not in repr(store)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        AtRest(bytes(size), purpose="buffer")
