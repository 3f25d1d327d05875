"""What is looked for, and how eagerly: the section `detectors` of the settings."""

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnusualConsumption(_Section):
    """A counter that uses more or less than its past lets expect at that hour of the week."""

    enabled: bool = True


class StuckMeter(_Section):
    """A meter that answers but shows the same values for too long."""

    enabled: bool = True
    after_hours: int = Field(default=6, ge=1, le=168, description="or half as long again as it ever stood")


class SilentGateway(_Section):
    """A gateway from which nothing arrives."""

    enabled: bool = True
    after_minutes: float = Field(
        default=15, gt=0, le=1440, description="but never less than three periods of its slowest device"
    )


class RefusedGateway(_Section):
    """A gateway in whose name the collector is sent what it must refuse: changed, forged, out of order."""

    enabled: bool = True


class ReturningGateway(_Section):
    """A gateway that asks to be taken back: its certificate has ended, and somebody has to decide."""

    enabled: bool = True


class LateUpstream(_Section):
    """A higher collector that gets nothing, though something waits for it."""

    enabled: bool = True
    after_minutes: float = Field(default=15, gt=0, le=10_080)


class FallenCounter(_Section):
    """A counter that fell, or grew impossibly fast, so that consumption had to be left out."""

    enabled: bool = True


class Detectors(_Section):
    """What is looked for. Every detector runs unless it is switched off."""

    unusual_consumption: UnusualConsumption = UnusualConsumption()
    stuck_meter: StuckMeter = StuckMeter()
    silent_gateway: SilentGateway = SilentGateway()
    refused_gateway: RefusedGateway = RefusedGateway()
    returning_gateway: ReturningGateway = ReturningGateway()
    late_upstream: LateUpstream = LateUpstream()
    fallen_counter: FallenCounter = FallenCounter()
