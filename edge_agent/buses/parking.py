"""Makes what follows the bays of all buses, and the bus of the zones that are counted from them."""

import asyncio
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

from drivers.contract import CommandRefused, DeviceState
from drivers.parking.sensor import SILENT_PERIODS
from drivers.waiting import sleep_unless
from edge_agent.bays import Bays, Watched
from edge_agent.buses.contract import ChangeSteps, Tools
from edge_agent.config import BusSection, Config, DeviceSection
from edge_agent.config.zones import bays_of
from models.parking import BayState, Debounce, counted
from models.profile import Profile
from models.reading import Reading
from models.times import Clock

_FAMILIES: Final = ("parking_sensor", "parking_controller")
"""Whose points called `occupied` are bays in any case. Elsewhere that may be a room, and its zone says it."""


def bays_watched(config: Config) -> list[Watched]:
    """All bays of a configuration, whatever bus they are on."""
    return [
        bay
        for device in config.settings.devices
        for bay in _watched(device, config.profile_of(device))
        if device.zone is not None or config.profile_of(device).family in _FAMILIES
    ]


def with_bays(config: Config, tools: Tools) -> Tools:
    """The same tools, with a sink that follows the bays of the configuration."""
    bays = Bays(tools.sink, bays_watched(config), tools.clock)
    return dataclasses.replace(tools, sink=bays, bays=bays)


def make_zones(config: Config, bus: BusSection, devices: list[DeviceSection], tools: Tools) -> "Zones":
    """Of tools that `with_bays` made."""
    if tools.bays is None:
        raise NotImplementedError("a bus of zones without bays")
    return Zones(bus.id, devices, _points(config, devices), tools.bays, tools.clock)


def _points(config: Config, devices: Sequence[DeviceSection]) -> dict[str, list[str]]:
    return {device.id: [point.name for point in config.profile_of(device).points] for device in devices}


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
    """A `LivingBus` of zones: counts each every period, and when a bay has changed."""

    def __init__(
        self,
        bus: str,
        devices: Sequence[DeviceSection],
        points: Mapping[str, Sequence[str]],
        bays: Bays,
        clock: Clock,
    ) -> None:
        self.bus = bus
        self._bays, self._clock = bays, clock
        self._news = bays.news()
        self._points: dict[str, Sequence[str]] = {}
        self._periods: dict[str, float] = {}
        self._states: dict[str, DeviceState] = {}
        self._due_s: dict[str, float] = {}
        self._told: dict[str, dict[BayState, int]] = {}
        self._counting = asyncio.Lock()
        self._stopping = False
        self._take(devices, points)

    @property
    def states(self) -> Sequence[DeviceState]:
        return list(self._states.values())

    def stop(self) -> None:
        self._stopping = True
        self._news.set()

    def prepare(self, config: Config, gone: Collection[str], put: Sequence[DeviceSection]) -> ChangeSteps:
        """See `LivingBus`."""
        points = _points(config, put)

        async def let_go() -> None:
            async with self._counting:
                for zone in gone:
                    del self._periods[zone], self._states[zone], self._points[zone], self._due_s[zone]
                    self._told.pop(zone, None)

        async def take() -> None:
            async with self._counting:
                self._take(put, points)
            self._news.set()

        return ChangeSteps(let_go, take)

    def _take(self, devices: Sequence[DeviceSection], points: Mapping[str, Sequence[str]]) -> None:
        for device in devices:
            due_s = self._due_s.get(device.id, 0.0)
            self._due_s[device.id] = min(due_s, self._clock.monotonic_s() + device.period_s)
            self._points[device.id], self._periods[device.id] = points[device.id], device.period_s
            self._states[device.id] = DeviceState(device.id)

    async def run(self) -> None:
        try:
            while not self._stopping:
                self._news.clear()
                await self._count_all()
                wait_s = min(self._due_s.values(), default=0.0) - self._clock.monotonic_s()
                await sleep_unless(self._news, max(0.001, wait_s), self._clock)
        finally:
            self._bays.no_news(self._news)

    async def _count_all(self) -> None:
        async with self._counting:
            readings: list[Reading] = []
            for zone in self._periods:
                readings += await self._count(zone)
            if readings:
                await self._bays.put(readings)

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
