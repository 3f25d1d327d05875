"""A parking sensor with its network server: all that is published about it, in order."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from models.times import DAY_MS
from simulators.building import Building
from simulators.noise import chance, drift, key_of
from simulators.parking.faults import SensorFault, Strikes
from simulators.parking.network_server import NetworkServer, Publication
from simulators.parking.sensors import MODELS, Bay, Said, Why
from simulators.parking.stays import Stays

AFTER_THE_NEXT_MS: Final = 1
STRANGER: Final = "ffffffffffffff00"
BATTERY_LASTS_DAYS: Final = 2000.0
_FOR_EVER: Final = 1 << 62
_NOWHERE: Final = 199  # an fPort that none of the models has


class Message(NamedTuple):
    """One publication, and what follows from it for a reader that has heard all before it."""

    at_ms: int  # when it is published
    publication: Publication
    measured_ms: int  # when its uplink was heard
    said: dict[str, float | None] | None = None  # None: nothing, or nothing new
    state: str | None = None  # the bay is from now on told to be free, occupied or out_of_service


@dataclass(frozen=True, slots=True)
class _Pending:
    """A publication that waits for its time."""

    publication: Publication
    measured_ms: int
    place: tuple[int, int] | None = None  # session and counter of an uplink
    said: Said | None = None
    is_repeated: bool = False


class SimulatedSensor:
    """One device in one bay."""

    def __init__(
        self,
        device: str,
        *,
        profile: str,
        building: Building,
        application: str,
        origin_ms: int,
        faults: Sequence[SensorFault] = (),
        alive_every_ms: int | None = None,
    ) -> None:
        """`profile` is one of `MODELS`; `alive_every_ms` is as the sensor is sold, unless given."""
        seed = building.seed
        self.device, self.profile = device, profile
        self.dev_eui = f"{key_of(seed, 'eui', device) & (1 << 56) - 1:014x}01"
        self._model = MODELS[profile]
        self.alive_every_ms = alive_every_ms or self._model.alive_every_ms
        self._stays = Stays(device, building)
        self._server = NetworkServer(device, self.dev_eui, application, seed)
        self._stranger = NetworkServer("stranger", STRANGER, application, seed)
        self._strikes = Strikes(device, faults, seed=seed, origin_ms=origin_ms)
        self._key = key_of(seed, "sensor", device)
        self._origin_ms = origin_ms
        self._frames = self._session = 0
        self._status_day = -1
        self._held: list[_Pending] = []
        self._before: _Pending | None = None
        self._silent_until_ms = origin_ms
        self._newest = (0, -1)
        self._state: str | None = None

    def messages(self) -> Iterator[Message]:
        """The same seed gives the same. It ends only when the sensor is silent for ever."""
        order = itertools.count()
        waiting: list[tuple[int, int, _Pending]] = []
        for at_ms, why in self._speaks():
            while waiting and waiting[0][0] <= at_ms:
                due_ms, _, pending = heapq.heappop(waiting)
                yield self._published(due_ms, pending)
            for due_ms, pending in self._transmit(at_ms, why):
                heapq.heappush(waiting, (due_ms, next(order), pending))
            if self._silent_until_ms == _FOR_EVER:
                break
        while waiting:
            due_ms, _, pending = heapq.heappop(waiting)
            yield self._published(due_ms, pending)

    def _speaks(self) -> Iterator[tuple[int, Why]]:
        """When it speaks, and why."""
        at_ms = self._origin_ms + int(chance(self._key, 0) * min(self.alive_every_ms, 60_000))
        yield at_ms, "started"
        changes = self._stays.changes(at_ms)
        change_ms, _ = next(changes)
        while True:
            alive_ms = at_ms + self.alive_every_ms
            if self._model.tells_changes and change_ms <= alive_ms:
                at_ms = change_ms
                yield at_ms, "change"
                change_ms, _ = next(changes)
            else:
                at_ms = alive_ms
                yield at_ms, "alive"

    def _transmit(self, at_ms: int, why: Why) -> Iterator[tuple[int, _Pending]]:
        """What is published of one uplink, and when."""
        if at_ms < self._silent_until_ms:
            return
        fault = self._strikes.next(at_ms)
        kind = "" if fault is None else fault.kind
        delay_ms = 0 if fault is None else fault.delay_ms
        if fault is not None and kind == "silent":
            self._silent_until_ms = _FOR_EVER if fault.lasts_ms is None else at_ms + fault.lasts_ms
            return
        if kind in ("rejoin", "reset"):
            self._session += 1
            news = self._server.join(at_ms) if kind == "rejoin" else self._server.reset(at_ms)
            yield at_ms, _Pending(news, at_ms)
        said = self._model.says(self._bay(at_ms), "fault" if kind == "sensor_fault" else why)
        pending = self._uplink(at_ms, said, kind, delay_ms)
        held, self._held = self._held, []
        match kind:
            case "lost":
                pass
            case "late":
                yield at_ms + delay_ms, pending
            case "out_of_order":
                self._held.append(pending)
            case "duplicate":
                yield at_ms, pending
                yield at_ms, replace(pending, is_repeated=True)
            case "replay":
                if self._before is not None:
                    yield at_ms, replace(self._before, is_repeated=True)
                yield at_ms, pending
            case "foreign":
                yield at_ms, _Pending(self._stranger.uplink(at_ms, said.port, said.payload), at_ms)
                yield at_ms, pending
            case _:
                yield at_ms, pending
        if kind != "lost":
            self._before = pending
        for late in held:
            yield at_ms + AFTER_THE_NEXT_MS, late
        if why == "started" or (at_ms - self._origin_ms) // DAY_MS != self._status_day:
            self._status_day = (at_ms - self._origin_ms) // DAY_MS
            battery = round(self._battery_pct(at_ms), 1)
            battery_said = None if self._model.tells_battery else Said(0, b"", {"battery_pct": battery})
            yield at_ms, _Pending(self._server.status(at_ms, battery), at_ms, said=battery_said)

    def _uplink(self, at_ms: int, said: Said, kind: str, delay_ms: int) -> _Pending:
        self._frames += 1
        port, payload = said.port, said.payload
        if kind == "garbage":
            payload = bytes((0xA5 ^ 37 * n ^ self._frames) & 0xFF for n in range(1, 12))
            payload = bytes((0x0F,)) + payload[1:]  # begins like nothing that the three models send
            port = _NOWHERE if self.profile.startswith("bosch") else port
        if kind == "wrong_port":
            port = _NOWHERE
        time_ms = at_ms + delay_ms if kind == "clock_wrong" else None
        publication = self._server.uplink(at_ms, port, payload, time_ms=time_ms)
        if kind == "malformed":
            publication = publication._replace(body=publication.body[: len(publication.body) // 2])
        place = (self._session, self._server.count)
        is_lost = kind in ("garbage", "malformed") or (kind == "wrong_port" and self._tells_ports)
        if kind == "malformed":
            return _Pending(publication, at_ms)
        return _Pending(publication, at_ms, place, None if is_lost else said)

    @property
    def _tells_ports(self) -> bool:
        """Whether the model's documents give each fPort a meaning; the others take any."""
        return self.profile.startswith("bosch")

    def _published(self, due_ms: int, pending: _Pending) -> Message:
        """What a reader learns from it."""
        values = None if pending.said is None or pending.is_repeated else dict(pending.said.values)
        if pending.place is not None and not pending.is_repeated:
            # The network tells how well it heard the sensor, also when nobody understands what that said.
            values = {**(values or {}), "signal_dbm": pending.publication.signal_dbm}
        message = Message(due_ms, pending.publication, pending.measured_ms, values)
        if pending.place is None or pending.is_repeated:
            return message
        is_new, self._newest = pending.place > self._newest, max(self._newest, pending.place)
        if not is_new or values is None or "occupied" not in values:
            return message
        state = {None: "out_of_service", 0.0: "free", 1.0: "occupied"}[values["occupied"]]
        if state == self._state:
            return message
        self._state = state
        return message._replace(state=state)

    def _bay(self, at_ms: int) -> Bay:
        return Bay(
            occupied=self._stays.is_taken(at_ms),
            temperature_c=round(12 + 9 * drift(self._key, at_ms, 6 * 3_600_000)),
            battery_pct=round(self._battery_pct(at_ms)),
            jitter_mm=round(15 * drift(self._key, at_ms, 600_000)),
            count=self._frames,
        )

    def _battery_pct(self, at_ms: int) -> float:
        days = (at_ms - self._origin_ms) / DAY_MS
        return max(1.0, 97.0 - 100 * days / BATTERY_LASTS_DAYS)
