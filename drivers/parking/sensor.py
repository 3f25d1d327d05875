"""One LoRaWAN sensor: what its messages mean, one after the other, and when it is silent for too long."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec

from drivers.contract import DeviceState
from drivers.parking.codec import OCCUPIED, PayloadRefused, SensorDecoder, unpack
from drivers.parking.messages import (
    MOST_TEXT,
    Heard,
    Join,
    Message,
    MessageRefused,
    NetworkLog,
    NetworkStatus,
    Uplink,
)
from drivers.parking.sessions import Memory, Verdict, from_mark, to_mark
from models.profile.parking_sensor import ParkingSensorProfile
from models.reading import Event, Item, Reading, Reason

COUNTER_RESET: Final = "UPLINK_F_CNT_RESET"
TELL_REFUSALS_S: Final = 3600.0
"""Of one sensor and for one reason, an event not more often than this: it tells how many there were."""

BACKLOG_S: Final = 10.0
"""After a start nobody is called silent before what the broker has kept for us is here."""

AT_ONCE_MS: Final = 1000
"""What was kept for us comes many in a millisecond."""

SILENT_PERIODS: Final = 2.0
"""After so many periods without a word a bay is unknown, where neither profile nor device say otherwise."""


@dataclass(slots=True)
class _Refusals:
    """What was refused for one reason and not yet told."""

    count: int = 0
    told_s: float | None = None


class Sensor:
    """What is known of one device, and what follows from what it says. Its times are the caller's."""

    def __init__(
        self,
        device_id: str,
        eui: str,
        profile: ParkingSensorProfile,
        parameters: Mapping[str, float],
        period_s: float,
    ) -> None:
        settled = profile.settled_parameters(dict(parameters))
        self.state = DeviceState(device_id)
        self.eui = eui.upper()
        self._section = profile.lorawan
        self._decoder = SensorDecoder(profile, parameters, device_id)
        self._period_s = period_s
        self._limit_s = settled.get("silent_periods", SILENT_PERIODS) * period_s
        self.memory = Memory()
        """Never changed, only replaced: who has it can tell whether something was learnt."""
        self._refusals: dict[str, _Refusals] = {}
        self.due_s = 0.0
        """On the monotonic clock: when it is too long silent, and while it is, when to say so again."""

    @property
    def mark(self) -> str:
        return f"parking/{self.state.id}/fcnt"

    @property
    def remembered(self) -> str:
        """What the mark must hold."""
        return to_mark(self.memory)

    def restore(self, mark: str | None, now_ms: int, now_s: float) -> None:
        """Begin with what a mark says; what was in memory is forgotten, for it may not have been stored."""
        self.memory = from_mark(mark)
        self._heard(now_ms if self.memory.heard_ms is None else self.memory.heard_ms, now_ms, now_s)
        self.due_s = max(self.due_s, now_s + BACKLOG_S)

    def take(self, heard: Heard, measured_ms: int, received_ms: int, now_s: float) -> list[Item]:
        """What follows from one message that was measured at that time. Nothing, when it came before."""
        message = heard.message
        message_id = message.deduplication_id or _digest(message)
        if self.memory.knows(message_id):
            return []
        self.memory = self.memory.noting(message_id)
        match message:
            case Uplink():
                return self._uplink(message, heard.time_ms, measured_ms, received_ms, now_s)
            case Join():
                self.memory = self.memory.begin(message.dev_addr, heard.time_ms)
                data = {"dev_addr": message.dev_addr}
                return [self._event("radio.joined", data, measured_ms, received_ms)]
            case NetworkStatus():
                return [*self._decoder.from_network(message.told, measured_ms, received_ms)]
            case NetworkLog():
                return self._log(message, heard.time_ms, measured_ms, received_ms)

    def refuse(self, reason: str, detail: str, now_ms: int, now_s: float) -> list[Item]:
        """What is told of something from this sensor that could not be taken."""
        refusals = self._refusals.setdefault(reason, _Refusals())
        refusals.count += 1
        if refusals.told_s is not None and now_s - refusals.told_s < TELL_REFUSALS_S:
            return []
        data = {"reason": reason, "detail": detail[:MOST_TEXT], "count": refusals.count}
        self._refusals[reason] = _Refusals(0, now_s)
        return [self._event("radio.refused", data, now_ms, now_ms)]

    def silence(self, now_ms: int, now_s: float) -> list[Reading]:
        """What is told of a sensor that is due: once a period, that it says nothing."""
        if now_s < self.due_s:
            return []
        self.due_s = now_s + self._period_s
        if self.state.lost_since_ms is None:
            self.state.lost_since_ms, self.state.reason = now_ms, Reason.NO_REPLY
        return self._decoder.silent(now_ms)

    def _uplink(
        self, uplink: Uplink, time_ms: int | None, measured_ms: int, received_ms: int, now_s: float
    ) -> list[Item]:
        verdict, self.memory = self.memory.judge(uplink.dev_addr, uplink.f_cnt, time_ms)
        if verdict is Verdict.REPEATED:
            return []
        if verdict is Verdict.TOO_OLD:
            return self.refuse("too-old", f"fCnt {uplink.f_cnt} is far behind the newest", received_ms, now_s)
        is_late = verdict is Verdict.LATE
        measured_ms = self._in_order(measured_ms, received_ms, is_late=is_late)
        items: list[Item] = [*self._decoder.from_network(_radio(uplink), measured_ms, received_ms)]
        try:
            payload = unpack(self._section, uplink.f_port, uplink.payload)
        except (PayloadRefused, MessageRefused) as err:
            items += self.refuse(err.reason, err.detail, received_ms, now_s)
            return self._known(items, is_late, measured_ms, received_ms, now_s)
        if payload.unread:
            detail = f"the last {payload.unread} bytes begin with an unknown channel"
            items += self.refuse("unknown-channel", detail, received_ms, now_s)
        was_occupied = None if is_late else self.memory.occupied
        items += self._decoder.readings(payload, was_occupied, measured_ms, received_ms)
        if payload.event is not None:
            data = {**payload.facts, "f_cnt": uplink.f_cnt, **({"history": True} if is_late else {})}
            items.append(self._event(payload.event, data, measured_ms, received_ms))
        return self._known(items, is_late, measured_ms, received_ms, now_s)

    def _in_order(self, measured_ms: int, received_ms: int, *, is_late: bool) -> int:
        """The time of an uplink, in the order of the counters: clocks jump, and counters do not."""
        newest_ms = self.memory.heard_ms
        if newest_ms is None:
            return measured_ms
        if is_late:
            return min(measured_ms, newest_ms - 1)
        if measured_ms > newest_ms:
            return measured_ms
        came_at_once = 0 <= newest_ms - received_ms < AT_ONCE_MS
        return newest_ms + 1 if came_at_once else received_ms

    def _known(
        self, items: list[Item], is_late: bool, measured_ms: int, received_ms: int, now_s: float
    ) -> list[Item]:
        """Remember what a new uplink said."""
        if is_late:
            return items
        told = [item for item in items if isinstance(item, Reading) and item.point == OCCUPIED]
        self.memory = msgspec.structs.replace(
            self.memory,
            heard_ms=measured_ms,
            occupied=bool(told[0].value) if told and told[0].value is not None else self.memory.occupied,
        )
        self.state.answered_ms = received_ms
        if told:
            self._heard(measured_ms, received_ms, now_s)
            self.state.lost_since_ms, self.state.reason = None, Reason.NONE
        return items

    def _heard(self, measured_ms: int, received_ms: int, now_s: float) -> None:
        """The next word is due so long after this one was measured, which may be long before it came."""
        age_s = max(0.0, (received_ms - measured_ms) / 1000)
        self.due_s = now_s + max(0.0, self._limit_s - age_s)

    def _log(
        self, message: NetworkLog, time_ms: int | None, measured_ms: int, received_ms: int
    ) -> list[Item]:
        if message.code == COUNTER_RESET and self.memory.now is not None:
            self.memory = self.memory.begin(self.memory.now.address, time_ms)
        data = {"level": message.level, "code": message.code, "description": message.description[:MOST_TEXT]}
        return [self._event("radio.log", data, measured_ms, received_ms)]

    def _event(self, kind: str, data: dict[str, Any], measured_ms: int, received_ms: int) -> Event:
        return Event(
            device_id=self.state.id, kind=kind, data=data, measured_ms=measured_ms, received_ms=received_ms
        )


def _radio(uplink: Uplink) -> dict[str, float]:
    """How the best of the LoRaWAN gateways heard it."""
    if not uplink.rx_info:
        return {}
    best = max(uplink.rx_info, key=lambda info: (info.rssi, info.snr))
    return {"signal_dbm": best.rssi, "snr_db": best.snr}


def _digest(message: Message) -> str:
    """For what has no id: an uplink has its counter instead, the others are told apart by what they say."""
    if isinstance(message, Uplink):
        return ""
    return blake2b(msgspec.json.encode(message), digest_size=16).hexdigest()
