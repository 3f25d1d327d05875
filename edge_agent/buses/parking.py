"""Makes what follows the bays of all buses, and the bus of the zones that are counted from them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from drivers.contract import CommandRefused, DeviceState
from drivers.parking.sensor import SILENT_PERIODS
from drivers.waiting import sleep_unless
from edge_agent.bays import Bays, Watched
from edge_agent.buses.contract import Tools
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.config.zones import bays_of
from models.parking import BayState, Debounce, counted
from models.profile import Profile
from models.reading import Reading
from models.times import Clock

_FAMILIES: Final = ("parking_sensor", "parking_controller")
"""Whose points called `occupied` are bays in any case. Elsewhere that may be a room, and its zone says it."""


def with_bays(config: Config, tools: Tools) -> Tools:
    """The same tools, with a sink that follows the bays of the configuration, if it has any."""
    watched = [
        bay
        for device in config.settings.devices
        for bay in _watched(device, config.profile_of(device))
        if device.zone is not None or config.profile_of(device).family in _FAMILIES
    ]
    has_zones = any(bus.kind == "parking" for bus in config.settings.buses)
    if not watched and not has_zones:
        return tools
    bays = Bays(tools.sink, watched, tools.clock)
    return dataclasses.replace(tools, sink=bays, bays=bays)


def make_zones(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> "Zones":
    """Of tools that `with_bays` made."""
    if tools.bays is None:
        raise NotImplementedError("a bus of zones without bays")
    points = {device.id: [point.name for point in config.profile_of(device).points] for device in devices}
    return Zones(bus.id, devices, points, tools.bays, tools.clock)


def _watched(device: DeviceSection, profile: Profile) -> list[Watched]:
    settled = profile.settled_parameters(device.parameters)
    debounce = Debounce(round(settled.get("confirm_times", 1)), settled.get("confirm_s", 0.0))
    return [
        Watched(
            device_id=device.id,
            point=point,
            source=profile.profile,
            limit_s=settled.get("silent_periods", SILENT_PERIODS) * device.period_s,
            zone=device.zone,
            debounce=debounce,
        )
        for point in bays_of(profile)
    ]


class Zones:
    """A `edge_agent.buses.contract.Bus` of zones: counts each every period, and when a bay has changed."""

    def __init__(
        self,
        bus: str,
        devices: Sequence[DeviceSection],
        points: Mapping[str, Sequence[str]],
        bays: Bays,
        clock: Clock,
    ) -> None:
        self.bus = bus
        self._points, self._bays, self._clock = points, bays, clock
        self._news = bays.news()
        self._periods = {device.id: device.period_s for device in devices}
        self._states = {device.id: DeviceState(device.id) for device in devices}
        self._due_s = dict.fromkeys(self._periods, 0.0)
        self._told: dict[str, dict[BayState, int]] = {}
        self._stopping = False

    @property
    def states(self) -> Sequence[DeviceState]:
        return list(self._states.values())

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        while not self._stopping:
            self._news.clear()
            readings: list[Reading] = []
            for zone in self._periods:
                readings += await self._count(zone)
            if readings:
                await self._bays.put(readings)
            wait_s = min(self._due_s.values()) - self._clock.monotonic_s()
            await sleep_unless(self._news, max(0.001, wait_s), self._clock)

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> NoReturn:
        raise CommandRefused(device_id, action, "a zone is only counted")

    async def _count(self, zone: str) -> list[Reading]:
        """Its readings, when they are due or other than before."""
        counts = counted(await self._bays.states_of(zone))
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        if now_s < self._due_s[zone] and counts == self._told.get(zone):
            return []
        if now_s >= self._due_s[zone]:
            self._due_s[zone] = now_s + self._periods[zone]
        self._told[zone] = counts
        self._states[zone].answered_ms = now_ms
        values = {f"bays_{state}": float(count) for state, count in counts.items()}
        return [
            Reading(device_id=zone, point=point, value=values[point], measured_ms=now_ms, received_ms=now_ms)
            for point in self._points[zone]
        ]
