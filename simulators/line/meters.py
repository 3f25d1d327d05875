"""What the sections of all meters on lines have in common, and the parts of gateway.yaml that read them."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from models.document import DocumentMistakes, Mistake
from models.document_hints import suggest
from models.profile import Profile, WrongFamily, parameter_mistakes
from simulators.anomalies import Anomaly, Jump
from simulators.faults import Fault
from simulators.fields import Section
from simulators.profiles import UnknownProfile, profile_of


class AnyMeter(Section):
    """One meter that shares its wire with others."""

    id: str = Field(min_length=1, max_length=60, description="its name in the ledger")
    profile: str = Field(description="name or .yaml file of a profile")
    load_kw: float = Field(default=20.0, gt=0, le=100_000, description="what it draws on a usual working day")
    night_share: float | None = Field(
        default=None, ge=0, le=1, description="where it differs from the building's"
    )
    parameters: dict[str, float] = Field(default={}, description="of the profile, such as ct")
    anomalies: tuple[Anomaly, ...] = ()
    faults: tuple[Fault, ...] = ()


class Addressed(AnyMeter):
    """One meter with an address, which each family gives its form."""

    address: str


def mistakes_of(
    meters: Sequence[AnyMeter], model: type[Profile], *, by: Literal["address", "unit"] = "address"
) -> Iterator[Mistake]:
    """What is wrong with the meters of one wire though each value is right; paths begin at their place.

    `by`: what they are told apart by there.
    """
    ids: set[str] = set()
    taken: set[str] = set()
    for m, meter in enumerate(meters):
        own = str(getattr(meter, by)).upper()
        if meter.id in ids:
            yield Mistake((m, "id"), f"a meter '{meter.id}' stands above already")
        if own in taken:
            yield Mistake((m, by), f"{by} {own} stands above already on the same wire")
        ids.add(meter.id)
        taken.add(own)
        for mistake in _meter_mistakes(meter, model):
            yield dataclasses.replace(mistake, path=(m, *mistake.path))


def devices_of(meters: Sequence[Any], bus_id: str, *, period_s: float) -> list[dict[str, Any]]:
    """The sections of meters as devices of gateway.yaml, by address or unit id."""
    return [
        {
            "id": meter.id,
            "name": meter.id,
            "bus": bus_id,
            **({"unit": meter.unit} if hasattr(meter, "unit") else {"address": meter.address}),
            "profile": meter.profile,
            "period_s": period_s,
            **({"parameters": meter.parameters} if meter.parameters else {}),
        }
        for meter in meters
    ]


def _meter_mistakes(meter: AnyMeter, model: type[Profile]) -> Iterator[Mistake]:
    try:
        profile = profile_of(meter.profile, model)
    except UnknownProfile as err:
        yield Mistake(("profile",), f"there is no profile '{meter.profile}'", err.hint)
        return
    except DocumentMistakes as err:
        yield Mistake(("profile",), f"the profile is wrong: {err.problems[0]}")
        return
    except WrongFamily as err:
        yield Mistake(("profile",), f"'{meter.profile}' is of another family, {err.family}")
        return
    yield from parameter_mistakes(profile, meter.parameters)
    known = [point.name for point in profile.points]
    for a, anomaly in enumerate(meter.anomalies):
        for name in anomaly.points if isinstance(anomaly, Jump) else ():
            if name not in known:
                path = ("anomalies", a, "points")
                yield Mistake(path, f"there is no point '{name}'", suggest(name, known))
