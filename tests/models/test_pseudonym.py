"""Card numbers and people have pseudonyms that only the key of the institution can make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pseudonym import Algorithm, CardAlias, Pseudonymiser, canonical_card

KEY = bytes(range(32))

# printf "card:8106606" | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f; OpenSSL 3.0, -sm3 likewise
VECTORS = [
    pytest.param("hmac-sha256", "card", "8106606", "b3e6205b3f0d67a5c6cbc178ee576c1f", id="sha256-card"),
    pytest.param("hmac-sha256", "person", "E10234", "c6fb2ad6df0af6f3a0c22e6267027498", id="sha256-person"),
    pytest.param("hmac-sha256", "card", "04A1B2C3D4", "1847ec8a0df92538223ca2572ea4cfd3", id="sha256-hex"),
    pytest.param("hmac-sm3", "card", "8106606", "127d12ac80c86be9a2ec7c453ddeb699", id="sm3-card"),
    pytest.param("hmac-sm3", "person", "E10234", "6ab30545cf2c7f89fe0817746785505b", id="sm3-person"),
    pytest.param("hmac-sm3", "card", "04A1B2C3D4", "d4789fd349b19eed7f1df036baca5ac0", id="sm3-hex"),
]


@pytest.mark.parametrize(("algorithm", "what", "number", "pseudonym"), VECTORS)
def test_a_pseudonym_is_what_openssl_computes(
    algorithm: Algorithm, what: str, number: str, pseudonym: str
) -> None:
    pseudonyms = Pseudonymiser(KEY, algorithm)
    made = pseudonyms.card(number).pseudonym if what == "card" else pseudonyms.person(number)
    assert made == pseudonym


def test_one_card_has_one_pseudonym_however_it_is_written() -> None:
    pseudonyms = Pseudonymiser(KEY)
    assert pseudonyms.card("0008106606") == pseudonyms.card(" 8106606 ")
    assert pseudonyms.card("04a1b2c3d4") == pseudonyms.card("04A1B2C3D4")


def test_a_card_and_a_person_of_the_same_number_are_two() -> None:
    pseudonyms = Pseudonymiser(KEY)
    assert pseudonyms.card("8106606").pseudonym != pseudonyms.person("8106606")


def test_another_key_gives_another_pseudonym() -> None:
    assert Pseudonymiser(KEY).card("8106606") != Pseudonymiser(KEY[::-1]).card("8106606")


@pytest.mark.parametrize(
    ("number", "last4"),
    [
        pytest.param("0008106606", "6606", id="zeros-in-front"),
        pytest.param("123456", "3456", id="six-digits"),
        pytest.param("0000012345", None, id="zeros-hide-nothing"),
        pytest.param("1234", None, id="they-would-be-all-of-it"),
        pytest.param("04A1B2C3D4", None, id="no-decimal-number"),
        pytest.param("26x1abcdef", None, id="bits-of-an-unknown-format"),
    ],
)
def test_the_last_four_digits_are_shown_where_enough_stays_hidden(number: str, last4: str | None) -> None:
    assert Pseudonymiser(KEY).card(number).last4 == last4


@given(st.text(max_size=40))
def test_a_number_keeps_its_pseudonym_when_it_is_written_as_it_should_be(number: str) -> None:
    pseudonyms = Pseudonymiser(KEY)
    assert pseudonyms.card(canonical_card(number)) == pseudonyms.card(number)
    assert isinstance(pseudonyms.card(number), CardAlias)


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Pseudonymiser(bytes(size))


def test_the_key_is_in_no_repr() -> None:
    assert KEY.hex()[:8] not in repr(vars(Pseudonymiser(KEY)))
