"""What can be wrong with a meter or with what it measures, on request and at a known time."""

from typing import Annotated, Literal

from pydantic import Field

from simulators.fields import HourOfDay, Timed


class Excess(Timed):
    """The load is higher than usual: a level shift, or with `hours` something that runs at night."""

    kind: Literal["excess"]
    factor: float = Field(default=1.0, ge=0, le=1000, description="times the usual power")
    extra_kw: float = Field(default=0.0, ge=0, description="and so much more")
    hours: tuple[HourOfDay, HourOfDay] | None = Field(
        default=None, description="local times; [22:00, 06:00] runs over midnight; without it: always"
    )


class Stuck(Timed):
    """All registers freeze, while the load goes on."""

    kind: Literal["stuck"]


class Restart(Timed):
    """Counters begin again: they lost what they had counted, or another meter hangs there now."""

    kind: Literal["reset", "replaced"]
    start: float = Field(default=0.0, ge=0, description="what the counters show then, in their own units")


class Rollover(Timed):
    """Every counter that can roll over does so at `after`, after counting up to it all the time."""

    kind: Literal["rollover"]


class WrongTime(Timed):
    """The clock of the meter is off."""

    kind: Literal["wrong_time"]
    seconds: float = Field(description="how far it is ahead; negative: behind")


class Jump(Timed):
    """Points show more than there is."""

    kind: Literal["jump"]
    points: tuple[str, ...] = Field(min_length=1, description="names of points of the profile")
    by: float = Field(description="in the unit of the points; negative: less")


Anomaly = Annotated[Excess | Stuck | Restart | Rollover | WrongTime | Jump, Field(discriminator="kind")]
