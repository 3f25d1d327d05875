"""Whether a device of a door is there, and the events that tell when that changes, each once."""

from typing import Any

from drivers.contract import DeviceState, Sink
from models.reading import Event, Reason
from models.times import Clock

OFFLINE, BACK = "device.offline", "device.back"


class Presence:
    """What is known of one device. That it was told as lost survives a restart, so its return is told."""

    def __init__(self, device_id: str, clock: Clock) -> None:
        self.state = DeviceState(device_id)
        self._clock = clock
        self._mark = f"access/{device_id}/lost"
        self._sink: Sink | None = None
        self.heard_s = clock.monotonic_s()  # or when listening began

    async def begin(self, sink: Sink) -> None:
        self._sink, self.heard_s = sink, self._clock.monotonic_s()
        since = (await sink.marks(self._mark)).get(self._mark, "")
        self.state.lost_since_ms = int(since) if since.isdecimal() else None

    @property
    def silent_s(self) -> float:
        """For how long nothing was heard."""
        return self._clock.monotonic_s() - self.heard_s

    async def heard(self) -> None:
        """It has said something, or answered."""
        now_ms = self._clock.now_ms()
        self.heard_s, self.state.answered_ms = self._clock.monotonic_s(), now_ms
        since_ms, self.state.lost_since_ms = self.state.lost_since_ms, None
        self.state.reason = Reason.NONE
        if since_ms is not None:
            await self._tell(BACK, {"lost_s": max(0, round((now_ms - since_ms) / 1000))}, mark="")

    async def lost(self, reason: Reason) -> None:
        """It is silent for too long, or away for certain."""
        self.state.reason = reason
        if self.state.lost_since_ms is None:
            since_ms = self.state.answered_ms or self._clock.now_ms()
            self.state.lost_since_ms = since_ms
            await self._tell(OFFLINE, {"reason": reason.name.lower()}, mark=str(since_ms))

    async def _tell(self, kind: str, data: dict[str, Any], *, mark: str) -> None:
        if self._sink is not None:
            now_ms, device_id = self._clock.now_ms(), self.state.id
            event = Event(device_id=device_id, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms)
            await self._sink.put([event], {self._mark: mark})
