"""One configured device: from what is received of it to its readings, each frame once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from drivers.ble.formats import advert_decoder, conversation
from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal
from drivers.ble.novelty import Novelty, fingerprint
from drivers.ble.replay import Judged, Verdict
from drivers.contract import DeviceState
from drivers.scaling import Scale
from models.profile.ble import BlePoint, BleProfile
from models.profile.ble_formats import RSSI, field_of
from models.reading import Event, Item, Quality, Reading, Reason

LOST_PERIODS: Final = 3
SHORTEST_WAIT_S: Final = 60.0
"""How long a counter must be silent at least before another life of it is believed in."""


@dataclass(slots=True)
class Heard:
    """What came of one frame."""

    items: list[Item] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    detail: str = ""  # of the last refusal, for people
    is_alive: bool = False  # it could only be sent by the device itself, now


class BleDevice:
    """A device with its key and its memory. Pure but for that memory: times are parameters."""

    def __init__(
        self,
        *,
        device_id: str,
        address: str,
        profile: BleProfile,
        key: bytes | None,
        period_s: float,
        parameters: Mapping[str, float],
    ) -> None:
        self.id, self.address, self.profile, self.period_s = device_id, address.upper(), profile, period_s
        self.state = DeviceState(device_id)
        self.conversation = conversation(profile.ble)
        self._decode = advert_decoder(profile.ble)
        self._key = key
        settled = profile.settled_parameters(dict(parameters))
        self._scales = {
            (point.name, name): Scale(point, settled, device_id, _size(profile, name))
            for point in profile.points
            for name in point.fields
        }
        self._novelty = self._fresh()

    @property
    def lost_after_s(self) -> float:
        """How long it may be silent before it counts as lost."""
        return LOST_PERIODS * self.period_s

    def restart(self, marks: Mapping[str, str]) -> None:
        """Forget what this run knows, and go on from what is stored."""
        self._novelty = self._fresh()
        self._novelty.restore(marks)

    def hear(self, advert: Advert, now_ms: int, now_s: float) -> Heard:
        """What an advertisement of this device brings. `now_s` never goes back."""
        if self._decode is None:
            return Heard()
        try:
            frame = self._decode(advert, self._key)
        except FrameRefused as err:
            return Heard(refusals=[err.refusal], detail=err.detail)
        if frame is None:
            return Heard()
        readings = self._readings(frame, {RSSI: advert.rssi}, now_ms, now_ms)
        judged = self._novelty.judge(frame, readings, now_ms, now_s)
        return self._outcome(frame, judged, now_ms)

    def answered(self, frame: Frame, measured_ms: int, received_ms: int) -> list[Reading]:
        """The readings of a frame that was asked for over GATT. Points that it lacks are not available."""
        readings = {reading.point: reading for reading in self._readings(frame, {}, measured_ms, received_ms)}
        return [
            readings.get(point.name) or self._bad(point, Reason.NOT_AVAILABLE, received_ms)
            for point in self.profile.points
        ]

    def silent(self, reason: Reason, now_ms: int) -> list[Reading]:
        """A BAD reading for each point."""
        return [self._bad(point, reason, now_ms) for point in self.profile.points]

    def _fresh(self) -> Novelty[Sequence[Reading]]:
        wait_s = max(SHORTEST_WAIT_S, self.lost_after_s)
        return Novelty(self.id, fingerprint(self.address, self._key), period_s=self.period_s, wait_s=wait_s)

    def _outcome(self, frame: Frame, judged: Judged[Sequence[Reading]], now_ms: int) -> Heard:
        verdict = judged.verdict
        heard = Heard(marks=judged.marks)
        heard.refusals = [Refusal.REPLAYED] * (judged.dropped + (verdict is Verdict.REPLAYED))
        if heard.refusals:
            heard.detail = "sent before: its counter, or the frame itself, is an old one"
        heard.is_alive = verdict in (Verdict.FIRST, Verdict.NEXT, Verdict.HELD, Verdict.NEW_LIFE) or (
            verdict is Verdict.REPEATED and frame.counter is None and not frame.is_numbered
        )
        if verdict is Verdict.FIRST and frame.counter is not None:
            heard.items.append(self._event("ble.counter_started", {"counter": frame.counter}, now_ms))
        if verdict is Verdict.NEW_LIFE:
            facts = {"from": judged.before, "to": self._novelty.first_counter, "held": len(judged.taken)}
            heard.items.append(self._event("ble.counter_reset", facts, now_ms))
        for readings in judged.taken:
            heard.items += readings
        return heard

    def _readings(
        self, frame: Frame, also: Mapping[str, int], measured_ms: int, received_ms: int
    ) -> list[Reading]:
        """One for each point that the frame has a field for."""
        values = {**frame.values, **also}
        readings = []
        for point in self.profile.points:
            name = next((name for name in point.fields if name in values), None)
            if name is None:
                continue
            raw, scale = values[name], self._scales[point.name, name]
            if raw is None:
                readings.append(scale.bad(Reason.NOT_AVAILABLE, measured_ms, received_ms))
            else:
                readings.append(scale.reading(raw, measured_ms, received_ms))
        return readings

    def _bad(self, point: BlePoint, reason: Reason, now_ms: int) -> Reading:
        return Reading(
            device_id=self.id,
            point=point.name,
            value=None,
            quality=Quality.BAD,
            reason=reason,
            measured_ms=now_ms,
            received_ms=now_ms,
        )

    def _event(self, kind: str, data: dict[str, Any], now_ms: int) -> Event:
        return Event(device_id=self.id, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms)


def _size(profile: BleProfile, name: str) -> Fraction:
    """What one of a field is worth, in the unit of its format."""
    found = field_of(profile.ble.format, name)
    if found is None:
        raise ValueError(f"{profile.profile}: {profile.ble.format} has no field '{name}'")
    return Fraction(found.factor)
