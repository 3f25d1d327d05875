"""What an excess of energy amounts to in standard coal and CO2, by factors that are data."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.document import load_document


class Factor(BaseModel):
    """One set for one kind of energy, from a day on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    item: str = Field(min_length=2, max_length=5, description="the beginning of the item codes it is for")
    unit: str
    kgce: float = Field(gt=0, description="kilograms of standard coal per unit")
    kgce_source: str
    co2_kg: float = Field(ge=0, description="kilograms of CO2 per unit")
    co2_source: str
    valid_from: date


class _Factors(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    factors: tuple[Factor, ...]


@cache
def shipped_factors() -> Sequence[Factor]:
    file = files("collector").joinpath("insight", "factors.yaml")
    return load_document(file.read_bytes(), _Factors, file=file.name).factors


def worth(amount: float, unit: str, item_code: str | None, at_ms: int) -> dict[str, Any]:
    """Standard coal and CO2 of an amount, with the source; empty where no factor is known."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC).date()
    fitting = [
        factor
        for factor in shipped_factors()
        if factor.unit == unit and (item_code or "").startswith(factor.item) and factor.valid_from <= day
    ]
    if not fitting:
        return {}
    factor = max(fitting, key=lambda each: each.valid_from)
    return {
        "kgce": round(amount * factor.kgce, 2),
        "co2": round(amount * factor.co2_kg, 2),
        "factors": f"{factor.kgce_source}; {factor.co2_source}",
    }
