"""What an amount of energy is worth, by factors that are data with source and validity."""

from datetime import date

import pytest

from collector.insight.factors import Factor, Factors, shipped_factors

TODAY = date(2026, 9, 21)


def test_electricity_is_worth_coal_and_carbon_dioxide_by_the_newest_factors() -> None:
    worth = Factors().worth(100, unit="kWh", item_code="01A10", on=TODAY)
    assert (worth["kgce"], worth["co2"]) == (12.29, 53.06)
    assert "GB/T 2589" in str(worth["factors"])
    assert "cost" not in worth


@pytest.mark.parametrize(("year", "co2"), [(2021, 55.68), (2022, 53.66), (2023, 53.06), (2030, 53.06)])
def test_the_year_decides_about_the_factor_of_the_grid(year: int, co2: float) -> None:
    assert Factors().worth(100, unit="kWh", item_code="01000", on=date(year, 7, 1))["co2"] == co2


def test_where_no_factor_is_known_nothing_is_said() -> None:
    assert Factors().worth(100, unit="m3", item_code="02000", on=TODAY) == {}
    assert "co2" not in Factors().worth(100, unit="kWh", item_code="04000", on=TODAY)
    assert "co2" not in Factors().worth(100, unit="kWh", item_code="01000", on=date(2019, 1, 1))


def test_a_local_factor_stands_before_the_shipped_one() -> None:
    local = Factor(quantity="co2", unit="kWh", item="01", per_unit=0.7252, source="Hebei 2022")
    worth = Factors([local]).worth(100, unit="kWh", item_code="01000", on=TODAY)
    assert (worth["co2"], worth["kgce"]) == (72.52, 12.29)


def test_every_shipped_factor_names_its_source() -> None:
    assert all(len(factor.source) > 5 for factor in shipped_factors())
