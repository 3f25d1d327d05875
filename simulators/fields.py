"""Kinds of values that the simulators' files share."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from simulators.durations import DurationMistake, duration_ms


class Section(BaseModel):
    """A mapping in a scenario: unknown keys are mistakes. A field `delay_ms` is `delay: 3s` in the file."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.removesuffix("_ms"),
        validate_by_alias=True,
        validate_by_name=True,
    )


def _milliseconds(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        try:
            return duration_ms(value)
        except DurationMistake as err:
            raise ValueError(str(err)) from err
    if info.mode == "json":  # from a file: 5 of what?
        raise ValueError("a duration has a unit; write it like 9d6h, 1h30m, 3s or 500ms")
    return value


DurationMs = Annotated[int, Field(ge=0), BeforeValidator(_milliseconds)]
"""Milliseconds; in files and on the command line text such as `9d6h`."""


def _hours(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"([01]?\d|2[0-4]):([0-5]\d)", value)):
        return int(match[1]) + int(match[2]) / 60
    if isinstance(value, str) or info.mode == "json":
        raise ValueError("a time of day is written like 08:30")
    return value


HourOfDay = Annotated[float, Field(ge=0, le=24.99), BeforeValidator(_hours)]
"""Hours since midnight; in files text such as `08:30`."""


class Timed(Section):
    """Something with a beginning and perhaps an end, counted from the start of the scenario."""

    after_ms: DurationMs | None = Field(default=None, description="from the scenario's start, as 9d6h")
    for_ms: DurationMs | None = Field(default=None, description="how long; without it: to the end")

    def window(self, origin_ms: int, now_ms: int) -> tuple[int, int | None]:
        """When it begins and ends. Without `after` it begins now."""
        start_ms = now_ms if self.after_ms is None else origin_ms + self.after_ms
        return start_ms, None if self.for_ms is None else start_ms + self.for_ms
