"""The number of a card is found in its bits, or it is said that they were misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.access.cards import read_card, reversed_bits
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.access import GoldenCard, OsdpProfile

PROFILE = as_family(Catalogue().load("osdp-reader"), OsdpProfile)


@pytest.mark.parametrize("golden", PROFILE.golden, ids=lambda golden: f"{golden.bits} {golden.data}")
def test_a_card_of_the_profile_has_its_number(golden: GoldenCard) -> None:
    card = read_card(PROFILE, golden.bits, bytes.fromhex(golden.data))
    assert (card.format, card.number) == (golden.format, golden.number)


@pytest.mark.parametrize("bit", range(26))
def test_one_wrong_bit_is_noticed(bit: int) -> None:
    value = int("bdd93740", 16) ^ 1 << (31 - bit)
    assert read_card(PROFILE, 26, value.to_bytes(4, "big")).number is None


def test_bits_of_an_unknown_length_are_a_number_of_their_own() -> None:
    assert read_card(PROFILE, 32, bytes.fromhex("0badcafe")).number == "32xbadcafe"
    assert read_card(PROFILE, 31, bytes.fromhex("0badcafe")).number != "32xbadcafe"


def test_what_follows_the_bits_counts_for_nothing() -> None:
    assert read_card(PROFILE, 26, bytes.fromhex("bdd9377fff")) == read_card(
        PROFILE, 26, bytes.fromhex("bdd93740")
    )


def test_fewer_bytes_than_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="no 26 bits"):
        read_card(PROFILE, 26, b"\x01\x02")


@given(st.integers(1, 80), st.binary(min_size=10, max_size=10))
def test_a_card_that_was_swiped_backwards_twice_is_itself(bits: int, data: bytes) -> None:
    kept = (int.from_bytes(data, "big") >> (80 - bits) << (80 - bits)).to_bytes(10, "big")
    assert reversed_bits(bits, reversed_bits(bits, data)) == kept


def test_the_number_is_in_no_repr() -> None:
    assert "8106606" not in repr(read_card(PROFILE, 26, bytes.fromhex("bdd93740")))
