"""What can go wrong between a parking sensor and its reader, by seed and by the number of the uplink."""

from collections.abc import Sequence
from typing import Final, Literal, get_args

from pydantic import Field, ValidationError

from models.document_hints import suggest
from simulators.faults import FaultMistake
from simulators.fields import DurationMs, Timed
from simulators.noise import chance, key_of

Kind = Literal[
    "lost", "duplicate", "late", "out_of_order", "replay", "rejoin", "reset", "silent", "sensor_fault",
    "garbage", "wrong_port", "clock_wrong", "malformed", "foreign",
]  # fmt: skip
KINDS: Final[tuple[str, ...]] = get_args(Kind)


class SensorFault(Timed):
    """One way to misbehave. What happens to an uplink when it strikes:

    lost          nobody hears it; the counter goes on
    duplicate     it is published twice
    late          it is published `delay` later, with the time at which it was heard
    out_of_order  it is published after the next one
    replay        the one before it is published again as well
    rejoin        the device joins before it: another address, and the counter from 0
    reset         the counter begins at 0 again, and the network server says so
    silent        the device says nothing for `lasts`: its battery is empty
    sensor_fault  the sensor says that it cannot tell, if it is able to
    garbage       its payload are bytes that mean nothing
    wrong_port    it comes on an fPort that the sensor does not have
    clock_wrong   its time is `delay` ahead
    malformed     its message is broken JSON
    foreign       a device that nobody knows publishes as well
    """

    kind: Kind
    probability: float = Field(default=1.0, gt=0, le=1, description="for each uplink; 1: every one")
    times: int | None = Field(default=None, ge=1, description="at most so often")
    delay_ms: DurationMs = Field(default=120_000, description="of a late uplink or a wrong clock, as 2m")
    lasts_ms: DurationMs | None = Field(default=None, description="of a silence; without it: for ever")


def parse_sensor_fault(text: str) -> SensorFault:
    """`lost=0.01`, `late=0.01:5m`, `silent=0.001:3h`: kind=probability[:duration]. Raises FaultMistake."""
    kind, _, rest = text.partition("=")
    kind = kind.strip().replace("-", "_")
    if kind not in KINDS:
        raise FaultMistake(f"--fault {text}: there is no fault '{kind}' ({suggest(kind, KINDS)})")
    probability, _, duration = rest.partition(":")
    fields: dict[str, object] = {"kind": kind}
    try:
        fields["probability"] = float(probability) if probability else 1.0
        if duration:
            fields["lasts" if kind == "silent" else "delay"] = duration
        return SensorFault.model_validate(fields)
    except (ValidationError, ValueError) as err:
        hint = "write it like lost=0.01, late=0.01:5m or silent=0.001:3h"
        raise FaultMistake(f"--fault {text}: '{rest}' is not probability[:duration]; {hint}") from err


class Strikes:
    """The faults of one sensor: which of them its next uplink meets."""

    def __init__(self, name: str, faults: Sequence[SensorFault], *, seed: int, origin_ms: int) -> None:
        self._faults = [
            (fault, key_of(seed, "parking fault", name, number), *fault.window(origin_ms, origin_ms))
            for number, fault in enumerate(faults)
        ]
        self._struck = [0] * len(self._faults)
        self._uplinks = 0

    def next(self, at_ms: int) -> SensorFault | None:
        """Each call counts one uplink. The first fault that strikes wins."""
        self._uplinks += 1
        for number, (fault, key, start_ms, end_ms) in enumerate(self._faults):
            if at_ms < start_ms or (end_ms is not None and at_ms >= end_ms):
                continue
            if fault.times is not None and self._struck[number] >= fault.times:
                continue
            if fault.probability >= 1 or chance(key, self._uplinks) < fault.probability:
                self._struck[number] += 1
                return fault
        return None
