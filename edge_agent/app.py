"""Puts the gateway together, runs it, and ends it so that nothing is lost."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from edge_agent.at_rest_key import at_rest_of
from edge_agent.boots import PREFIX
from edge_agent.buffer.contract import BufferUnavailable, Counts
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.changes import Changes
from edge_agent.config import Config
from edge_agent.config.collectors import CollectorSettings
from edge_agent.control.service import Control
from edge_agent.fleet import Fleet
from edge_agent.health import JSON, METRICS, Page, Pages, PortTaken, serve_health
from edge_agent.metrics import Metrics
from edge_agent.reconfigure import Reconfigurer, describe_devices
from edge_agent.service_manager import ServiceManager
from edge_agent.sink import BufferSink
from edge_agent.status import BufferStatus, DeviceStatus, OutboxStatus, Status
from edge_agent.supervision import supervised
from edge_agent.timekeeper import Timekeeper
from edge_agent.trials import Trials
from edge_agent.uplink.collector import Collector, Shared
from edge_agent.uplink.collectors import Collectors
from edge_agent.version import agent_version
from models.reading import GATEWAY, Event
from models.times import Clock

BY_SIGNAL: Final = "a signal (SIGHUP)"
"""Who has asked for a reload, where nobody can be told from another."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the agent asks of the machine that it runs on, beside the time."""

    is_synchronised: Callable[[], bool] = lambda: True  # whether a time service keeps the clock
    boot_id: str = ""
    judges_certificates: bool = False  # by the agent's time; else the system clock does
    manager: ServiceManager = field(default_factory=ServiceManager)


async def run_agent(
    config: Config,
    *,
    clock: Clock,
    stop: asyncio.Event,
    machine: Machine = Machine(),
    reload: asyncio.Event | None = None,
) -> None:
    """Poll, keep and deliver until `stop` is set; then finish what is under way and return.

    Whenever `reload` is set, the configuration is read again, and `reload` is cleared.
    Raise NeedsAHuman when a person must decide before anything can run.
    """
    settings = config.settings
    timekeeper = Timekeeper(clock, is_synchronised=machine.is_synchronised, boot_id=machine.boot_id)
    async with await SqliteBuffer.open(
        config.buffer_file,
        clock=timekeeper.clock,
        at_rest=at_rest_of(config),
        retention_days=settings.buffer.retention_days,
        max_mb=settings.buffer.max_mb,
    ) as buffer:
        for collector in config.collectors:  # what is read before a gateway is enrolled is for it too
            await buffer.outbox(collector.name)
        sink = BufferSink(buffer, timekeeper.clock)
        await timekeeper.begin(await buffer.marks(PREFIX), lambda marks: sink.put([], marks))
        await _Agent(config, buffer, sink, timekeeper, machine).run(stop, reload or asyncio.Event())


class _Agent:
    """The parts of one running gateway."""

    def __init__(
        self, config: Config, buffer: SqliteBuffer, sink: BufferSink, timekeeper: Timekeeper, machine: Machine
    ) -> None:
        clock = timekeeper.clock
        self._buffer, self._sink, self._clock = buffer, sink, clock
        self._timekeeper, self._manager = timekeeper, machine.manager
        self._started_ms = clock.now_ms()
        self._metrics = Metrics()
        self._polls_ended = asyncio.Event()
        self._fleet = Fleet(
            config,
            sink,
            clock,
            on_poll=self._metrics.polled,
            on_missed=lambda bus, count: self._metrics.missed_polls.labels(bus).inc(count),
        )
        self._reconfigurer = Reconfigurer(
            self._fleet, sink=sink, clock=clock, on_changed=self._follow, on_told=self._hurry
        )
        self._trials = Trials(self._fleet, self._reconfigurer, sink=sink, clock=clock)
        self._control = Control(
            self._fleet,
            self._reconfigurer,
            self._trials,
            buffer=buffer,
            sink=sink,
            clock=clock,
            timekeeper=timekeeper,
            on_told=self._hurry,
        )
        self._state_dir = config.state_dir.resolve()
        self._shared = Shared(config.state_dir, buffer, timekeeper, machine.judges_certificates)
        self._collectors = Collectors(config.collectors, self._make_collector, self._polls_ended)
        self._pages_served = contextlib.AsyncExitStack()

    async def run(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        async with self._pages_served:
            _log.info("reading %d devices", len(self._fleet.config.settings.devices))
            await self._serve_pages()
            await self._sink.put(self._opening_events())
            await self._trials.begin()
            async with asyncio.TaskGroup() as tasks:
                keep_trying = tasks.create_task(self._sink.keep_trying(), name="disk")
                keep_time = tasks.create_task(self._timekeeper.run(self._sink.put), name="time")
                tasks.create_task(self._collectors.run(), name="collectors")
                control = tasks.create_task(supervised(self._control.run, self._polls_ended), name="control")
                fleet = tasks.create_task(self._fleet.run(), name="buses")
                signals = tasks.create_task(self._follow_signals(reload), name="reload")
                alive = tasks.create_task(self._manager.keep_alive(), name="watchdog")
                self._manager.ready(f"reading {len(self._fleet.config.settings.devices)} devices")
                trials = tasks.create_task(self._trials.run(), name="trials")
                await stop.wait()
                self._manager.stopping("finishing what is under way")
                _log.info("stopping: what was read is stored, and what is stored is sent if that is quick")
                signals.cancel()
                trials.cancel()
                await self._control.finish()
                self._fleet.stop()
                await fleet
                control.cancel()
                keep_trying.cancel()
                keep_time.cancel()
                alive.cancel()
                await self._sink.flush()
                self._polls_ended.set()
        for name, counts in (await self._counts()).items():
            _log.info("stopped; %d readings and events wait for the collector %s", counts.pending, name)

    async def _serve_pages(self) -> None:
        """In place of those that are served now, if any. Meters are read without them too."""
        await self._pages_served.aclose()
        health = self._fleet.config.settings.health
        try:
            serving = serve_health(health.host, health.port, self._pages())
            port = await self._pages_served.enter_async_context(serving)
        except PortTaken as err:
            _log.error("%s", err)
        else:
            _log.info("status on http://%s:%d/status", health.host, port)

    async def _follow_signals(self, reload: asyncio.Event) -> None:
        while True:
            await reload.wait()
            reload.clear()
            await self._reconfigurer.reload(by=BY_SIGNAL)

    async def _follow(self, changes: Changes) -> None:
        """Bring to the new configuration what the fleet does not."""
        if "health" in changes.sections:
            await self._serve_pages()
        await self._collectors.use(self._fleet.config.collectors)

    def _make_collector(self, settings: CollectorSettings) -> Collector:
        return Collector(
            settings,
            self._shared,
            ended=self._polls_ended,
            on_delivered=partial(self._metrics.delivered, settings.name),
            on_answer=partial(self._trials.heard, settings.name),
            services=[partial(self._control.fetch, settings.name)],
        )

    def _hurry(self) -> None:
        """Whoever has given a command waits for what came of it."""
        self._collectors.hurry()

    def _opening_events(self) -> list[Event]:
        """That the agent has started, and what its devices are."""
        config, now_ms = self._fleet.config, self._clock.now_ms()
        settings = config.settings
        facts = {"version": agent_version(), "devices": len(settings.devices), "buses": len(settings.buses)}
        started = Event(
            device_id=GATEWAY, kind="agent.started", data=facts, measured_ms=now_ms, received_ms=now_ms
        )
        return [started, *describe_devices(config, [device.id for device in settings.devices], now_ms)]

    def _pages(self) -> Pages:
        return {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
            "/status": self._status_page,
        }

    async def _healthz(self) -> Page:
        return Page(b"ok\n")

    async def _readyz(self) -> Page:
        """Ready means: what is read now is kept on disk."""
        if self._sink.held:
            return Page(b"the disk refuses readings\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        return Page(b"ready\n")

    async def _metrics_page(self) -> Page:
        with contextlib.suppress(BufferUnavailable):
            now_ms, real_ms = self._clock.now_ms(), self._timekeeper.real_ms
            for name, counts in (await self._counts()).items():
                self._metrics.outbox_is(name, counts, now_ms=now_ms, real_ms=real_ms)
        self._metrics.memory_is(held=self._sink.held, lost=self._sink.lost_total)
        self._metrics.buses_are(self._fleet.buses)
        for collector in self._collectors:
            self._metrics.failures_are(collector.name, collector.failures)
            if collector.certificate_ends_s is not None:
                self._metrics.certificate_ends.labels(collector.name).set(collector.certificate_ends_s)
        return Page(self._metrics.text(), METRICS)

    async def _status_page(self) -> Page:
        return Page(msgspec.json.encode(await self._status()), JSON)

    async def _status(self) -> Status:
        buffer: BufferStatus | None = None
        with contextlib.suppress(BufferUnavailable):
            buffer = BufferStatus(
                bytes_used=await self._buffer.bytes_used(),
                outboxes={
                    name: OutboxStatus.of(
                        counts, (await self._buffer.outbox(name)).epoch, self._timekeeper.real_ms
                    )
                    for name, counts in (await self._counts()).items()
                },
                held_in_memory=self._sink.held,
                lost_from_memory=self._sink.lost_total,
            )
        return Status(
            running=True,
            version=agent_version(),
            state_dir=str(self._state_dir),
            now_ms=self._clock.now_ms(),
            started_ms=self._timekeeper.real_ms(self._started_ms),
            time_from=self._timekeeper.source,
            buffer=buffer,
            collectors={collector.name: collector.status() for collector in self._collectors},
            devices=self._device_statuses(),
        )

    async def _counts(self) -> dict[str, Counts]:
        """By collector, also of those for which something is kept though they are not configured any more."""
        names = await self._buffer.outboxes()
        return {name: await (await self._buffer.outbox(name)).counts() for name in names}

    def _device_statuses(self) -> list[DeviceStatus]:
        known = self._fleet.states()
        return [
            DeviceStatus.of(device, known[device.id], self._timekeeper.real_ms)
            for device in self._fleet.config.settings.devices
            if device.id in known  # else it is coming or going just now
        ]
