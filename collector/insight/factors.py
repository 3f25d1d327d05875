"""Says what an amount of energy is worth in standard coal, carbon dioxide and money; the factors are data."""

from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.document import load_document

SHIPPED: Final = "factors.yaml"

Quantity = Literal["kgce", "co2", "cost"]


class Factor(BaseModel):
    """What one unit is worth: kg of standard coal, kg of CO2, or money."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: Quantity
    unit: str = Field(min_length=1, description="of the counter: kWh, m3")
    per_unit: float = Field(ge=0)
    item: str = Field(
        default="", max_length=5, description='beginning of the energy item code, "01"; empty: any'
    )
    currency: str = Field(default="", max_length=3, description="for cost, such as CNY")
    valid_from: date = date.min
    valid_to: date = Field(default=date.max, description="the first day it no longer holds")
    source: str = Field(min_length=1, description="who says so: a standard, an announcement, a contract")


class FactorFile(BaseModel):
    """All of `factors.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factors: list[Factor]


@cache
def shipped_factors() -> tuple[Factor, ...]:
    """The factors that come with the collector."""
    text = files("collector").joinpath("insight", SHIPPED).read_bytes()
    return tuple(load_document(text, FactorFile, file=SHIPPED).factors)


class Factors:
    """Picks for each quantity the first factor that holds; local ones stand before the shipped ones."""

    def __init__(self, local: Sequence[Factor] = ()) -> None:
        self._factors = (*local, *shipped_factors())

    def worth(self, amount: float, *, unit: str, item_code: str | None, on: date) -> dict[str, float | str]:
        """`amount` in every quantity that a factor is known for, with the sources."""
        result: dict[str, float | str] = {}
        sources = []
        for factor in self._factors:
            holds = factor.unit == unit and factor.valid_from <= on < factor.valid_to
            if factor.quantity in result or not holds or not (item_code or "").startswith(factor.item):
                continue
            result[factor.quantity] = round(amount * factor.per_unit, 2)
            if factor.quantity == "cost":
                result["currency"] = factor.currency
            sources.append(f"{factor.quantity} {factor.per_unit:g} per {unit}: {factor.source}")
        if sources:
            result["factors"] = "; ".join(sources)
        return result
