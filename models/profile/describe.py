"""What a configured device says of itself to the collector: its profile with its own parameters."""

import math

from pydantic import TypeAdapter, ValidationError

from models.document import Mistake
from models.inventory import DeviceDescription, PointDescription
from models.profile.parts import MOST_DECIMALS, Point, Profile, Ratio

_RATIO = TypeAdapter[float](Ratio)


def parameter_mistakes(profile: Profile, given: dict[str, float]) -> list[Mistake]:
    """What is wrong with the parameters that a device's configuration gives; paths begin at `parameters`."""
    mistakes = []
    for name, value in given.items():
        have = ", ".join(profile.parameters) or "none"
        if name not in profile.parameters:
            what = f"profile {profile.profile} has no parameter '{name}'"
            mistakes.append(Mistake(("parameters", name), what, f"have: {have}"))
            continue
        try:
            _RATIO.validate_python(value, strict=True)
        except ValidationError:
            what = f"must be a number above 0, up to 1000000, with at most {MOST_DECIMALS} decimals"
            mistakes.append(Mistake(("parameters", name), what))
    return mistakes


def multiplier(point: Point, parameters: dict[str, float]) -> float:
    """What the parameters multiply the values of a point by."""
    return math.prod(parameters[name] for name in point.multiply_by)


def describe(
    profile: Profile,
    *,
    device_id: str,
    name: str,
    period_s: float,
    parameters: dict[str, float] | None = None,
) -> DeviceDescription:
    """What the collector is told of a device that this profile describes.

    `parameters` are those of the device's configuration, without `parameter_mistakes`.
    """
    settled = profile.settled_parameters(parameters or {})
    return DeviceDescription(
        device_id=device_id,
        name=name,
        profile=profile.profile,
        profile_version=profile.version,
        period_s=period_s,
        points=tuple(_describe_point(point, multiplier(point, settled)) for point in profile.points),
        unauthenticated=profile.unauthenticated,
    )


def _describe_point(point: Point, factor: float) -> PointDescription:
    return PointDescription(
        name=point.name,
        unit=point.unit,
        kind=point.kind,
        item_code=point.item_code,
        decimals=0 if point.kind == "state" else point.decimals,
        modulus=point.modulus and point.modulus * factor,
        max_rate_per_h=point.max_rate_per_h and point.max_rate_per_h * factor,
    )
