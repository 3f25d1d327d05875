"""Registers against bytes worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.modbus.encode import WORDS, fits, limits, number, registers, shown

ORDERS = [(words, inside) for words in ("high_first", "low_first") for inside in ("big", "little")]


@pytest.mark.parametrize(
    ("raw", "kind", "content"),
    [
        pytest.param(2302, "uint16", "08 fe", id="uint16"),
        pytest.param(-1, "int16", "ff ff", id="int16"),
        pytest.param(4_294_967_295, "uint32", "ff ff ff ff", id="uint32"),
        pytest.param(-2, "int32", "ff ff ff fe", id="int32"),
        pytest.param(1_000_000_000_000, "uint64", "00 00 00 e8 d4 a5 10 00", id="uint64"),
        pytest.param(-1, "int64", "ff ff ff ff ff ff ff ff", id="int64"),
        pytest.param(230.5, "float32", "43 66 80 00", id="float32: 1.80078125 x 2^7"),
        pytest.param(-0.15625, "float64", "bf c4 00 00 00 00 00 00", id="float64: -1.25 x 2^-3"),
        pytest.param(1234, "bcd16", "12 34", id="bcd16"),
        pytest.param(12_345_678, "bcd32", "12 34 56 78", id="bcd32"),
        pytest.param(90, "bcd64", "00 00 00 00 00 00 00 90", id="bcd64"),
    ],
)
def test_the_most_significant_byte_comes_first(raw: float, kind: str, content: str) -> None:
    assert registers(raw, kind) == bytes.fromhex(content)


@pytest.mark.parametrize(
    ("words", "inside", "content"),
    [
        pytest.param("high_first", "big", "11 22 33 44", id="ABCD"),
        pytest.param("low_first", "big", "33 44 11 22", id="CDAB"),
        pytest.param("high_first", "little", "22 11 44 33", id="BADC"),
        pytest.param("low_first", "little", "44 33 22 11", id="DCBA"),
    ],
)
def test_each_order_of_words_and_bytes(words: str, inside: str, content: str) -> None:
    assert registers(0x11223344, "uint32", word_order=words, byte_order=inside) == bytes.fromhex(content)


def test_four_registers_are_turned_round_as_a_whole() -> None:
    turned = registers(0x1122334455667788, "uint64", word_order="low_first")
    assert turned == bytes.fromhex("77 88 55 66 33 44 11 22")


@pytest.mark.parametrize(
    ("raw", "kind", "held"),
    [(70_000, "uint16", 65_535), (-3, "uint16", 0), (40_000, "int16", 32_767), (123_456, "bcd16", 9999)],
)
def test_a_value_beyond_the_type_stays_at_its_end_stop(raw: float, kind: str, held: int) -> None:
    assert fits(raw, kind) == held


def test_a_float32_is_what_its_bits_mean() -> None:
    assert fits(16_777_217.0, "float32") == 16_777_216.0  # 2^24 + 1 has no 24-bit fraction
    assert fits(0.1, "float32") == 0.100000001490116119384765625
    assert fits(-1e300, "float32") == -3.4028234663852886e38
    assert math.isnan(fits(math.nan, "float32"))


@given(st.data())
def test_what_is_stored_in_any_order_is_found_again(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(WORDS)))
    if kind.startswith("float"):
        raw: float = data.draw(st.floats(width=32, allow_nan=False))
    else:
        raw = data.draw(st.integers(*limits(kind)))
    words, inside = data.draw(st.sampled_from(ORDERS))
    content = registers(raw, kind, word_order=words, byte_order=inside)
    assert len(content) == 2 * WORDS[kind]
    assert number(content, kind, word_order=words, byte_order=inside) == raw


@pytest.mark.parametrize(
    ("raw", "scale", "ratio", "offset", "decimals", "value"),
    [
        pytest.param(2302, 0.1, 1, 0, 1, 230.2, id="scaled"),
        pytest.param(123_456, 0.01, 20, 0, 2, 24_691.2, id="with transformer ratios"),
        pytest.param(601, 0.1, 1, -40, 1, 20.1, id="with an offset"),
        pytest.param(3, 0.1, 1, 0, 1, 0.3, id="where floats would say 0.30000000000000004"),
        pytest.param(230.13999938964844, 1, 1, 0, 2, 230.14, id="float32, rounded"),
    ],
)
def test_a_reader_sees_the_exact_product_rounded_once(
    raw: float, scale: float, ratio: float, offset: float, decimals: int, value: float
) -> None:
    assert shown(raw, scale=scale, ratio=ratio, offset=offset, decimals=decimals) == value
