"""What can go wrong on the air and with an adapter, chosen by seed and by the number of the advertisement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from simulators.fields import DurationMs, Timed
from simulators.noise import chance, key_of

BleKind = Literal[
    "lost", "duplicate", "replayed", "wrong_key", "downgrade", "garbage", "foreign", "jump", "counter_reset",
    "reboot",
]  # fmt: skip
AdapterKind = Literal["stalled", "adapter_off"]


class BleFault(Timed):
    """One way in which a device, or somebody in its place, misbehaves. What an advertisement meets:

    lost           nobody receives it; a device that is asked does not answer
    duplicate      it is received twice
    replayed       somebody sends an old one of this device once more, after it
    wrong_key      somebody without the key sends one in its place that was sealed with another
    downgrade      somebody sends a plain one with invented values in its place
    garbage        its bytes are noise; a device that is asked sends noise before its answer
    foreign        the device's own one, and then the same bytes under a stranger's address
    jump           the device shows `by` more than there is, in the unit of its first point
    counter_reset  the battery is changed: counters begin again at 0
    reboot         the device is silent for `lasts`, and then its counters begin again at 0
    """

    kind: BleKind
    probability: float = Field(default=1.0, gt=0, le=1, description="for each advertisement; 1: every one")
    times: int | None = Field(default=None, ge=1, description="at most so often")
    lasts_ms: DurationMs | None = Field(default=None, description="of a reboot, as 30s")
    by: float | None = Field(default=None, description="of a jump, in the unit of the first point")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if (self.by is None) == (self.kind == "jump"):
            raise ValueError("`jump` needs `by`, such as 100, and no other kind has it")
        if self.lasts_ms is not None and self.kind != "reboot":
            raise ValueError("only `reboot` lasts")
        if self.kind in ("counter_reset", "reboot") and self.probability == 1 and self.times is None:
            raise ValueError(
                f"`{self.kind}` at every advertisement is no device; give `times` or a probability"
            )
        return self


class AdapterFault(Timed):
    """One way in which the adapter fails, from `after` on.

    stalled      it discovers nothing any more and says nothing of it, until a client scans anew (`cure`:
                 scan) or switches the power (`cure`: power)
    adapter_off  it loses its power until `for` is over, or until a client switches it on
    """

    kind: AdapterKind
    cure: Literal["scan", "power"] = "scan"


@dataclass(slots=True, eq=False)
class ActiveBleFault:
    """A fault with its place in time; the handle to take it away again."""

    fault: BleFault
    key: int
    start_ms: int
    end_ms: int | None
    struck: int = 0

    def strikes(self, number: int, now_ms: int) -> bool:
        """Whether it hits the advertisement with this number, and if so remember it."""
        fault = self.fault
        is_over = self.end_ms is not None and now_ms >= self.end_ms
        if now_ms < self.start_ms or is_over or (fault.times is not None and self.struck >= fault.times):
            return False
        if fault.probability < 1 and chance(self.key, number) >= fault.probability:
            return False
        self.struck += 1
        return True


class BleFaultSet:
    """The faults of one device. All that strike an advertisement are told, in the order of their addition."""

    def __init__(self, name: str, *, seed: int, origin_ms: int, now_ms: Callable[[], int]) -> None:
        self._key = key_of(seed, "ble-fault", name)
        self._origin_ms, self._now_ms = origin_ms, now_ms
        self._active: list[ActiveBleFault] = []
        self._added = 0

    def add(self, fault: BleFault) -> ActiveBleFault:
        """From now on, or from its `after` on. Its `for` counts from there."""
        start_ms, end_ms = fault.window(self._origin_ms, self._now_ms())
        active = ActiveBleFault(fault, key_of(self._key, self._added), start_ms, end_ms)
        self._added += 1
        self._active.append(active)
        return active

    def remove(self, active: ActiveBleFault) -> None:
        """Take one away; it may be gone already."""
        if active in self._active:
            self._active.remove(active)

    def strike(self, number: int, now_ms: int) -> dict[str, BleFault]:
        """What the advertisement with this number meets, by kind."""
        return {active.fault.kind: active.fault for active in self._active if active.strikes(number, now_ms)}
