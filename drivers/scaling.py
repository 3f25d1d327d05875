"""From the whole number that a device sends to the reading of its point.

Scale, parameters and offset are decimal numbers in the profile and are kept as exact fractions until the
value is rounded, once, to the resolution of the point.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import prod

from models.profile import Point
from models.reading import Quality, Reading, Reason


class Scale:
    """How one point's raw numbers become readings. `size` is what one unit of the raw number is worth."""

    def __init__(
        self, point: Point, parameters: Mapping[str, float], device_id: str, size: Fraction = Fraction(1)
    ) -> None:
        self._device_id, self._name = device_id, point.name
        self._steps = 10**point.decimals  # of the resolution in one unit
        ratio = prod((_decimal(parameters[name]) for name in point.multiply_by), start=Fraction(1))
        offset = _decimal(point.offset)
        self._factor = _decimal(point.scale) * size * ratio * self._steps
        self._addend = offset * self._steps
        # Bounds are given for parameters of 1, as the value before they multiply it.
        self._low, self._high = (
            None if bound is None else ((_decimal(bound) - offset) * ratio + offset) * self._steps
            for bound in (point.min, point.max)
        )

    def reading(self, raw: int, measured_ms: int, received_ms: int) -> Reading:
        """The reading; SUSPECT when the value is outside of the point's bounds."""
        steps = round(raw * self._factor + self._addend)
        is_low = self._low is not None and steps < self._low
        is_high = self._high is not None and steps > self._high
        is_suspect = is_low or is_high
        return Reading(
            device_id=self._device_id,
            point=self._name,
            value=steps / self._steps,
            quality=Quality.SUSPECT if is_suspect else Quality.GOOD,
            reason=Reason.OUT_OF_RANGE if is_suspect else Reason.NONE,
            measured_ms=measured_ms,
            received_ms=received_ms,
        )

    def bad(self, reason: Reason, measured_ms: int, received_ms: int) -> Reading:
        """A reading without a value, and why."""
        return Reading(
            device_id=self._device_id,
            point=self._name,
            value=None,
            quality=Quality.BAD,
            reason=reason,
            measured_ms=measured_ms,
            received_ms=received_ms,
        )


def _decimal(number: float) -> Fraction:
    """The decimal number that a person wrote, which the float only comes near to."""
    return Fraction(str(number))
