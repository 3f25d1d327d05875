"""Puts the gateway together, runs it, and ends it so that nothing is lost."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from drivers.waiting import first_of
from edge_agent.boots import PREFIX
from edge_agent.buffer.contract import BufferUnavailable
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.buses import Tools, make_buses
from edge_agent.config import Config
from edge_agent.control.service import Control
from edge_agent.health import JSON, METRICS, Page, Pages, PortTaken, serve_health
from edge_agent.identity.folder import (
    EXPIRED,
    Identity,
    IdentityDamaged,
    NotEnrolled,
    identity_stamp,
    load_identity,
)
from edge_agent.metrics import Metrics
from edge_agent.reporting import ReportingSink
from edge_agent.sink import BufferSink
from edge_agent.status import BufferStatus, DeviceStatus, Status, UplinkStatus
from edge_agent.timekeeper import Timekeeper
from edge_agent.uplink.delivery import Sender, Uplink
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.version import agent_version
from models.inventory import DEVICE_DESCRIBED
from models.reading import GATEWAY, Event
from models.times import Clock

# In real time. Together they stay below the 5 s after which a person thinks that it hangs.
LAST_POLL_S: Final = 2.0
LAST_UPLOAD_S: Final = 2.0

LOOK_FOR_IDENTITY_S: Final = 5.0  # a technician who has just enrolled waits for the first batch
RESTART_PAUSE_S: Final = 60.0  # after a bug in a part that polling does not need

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the agent asks of the machine that it runs on, beside the time."""

    is_synchronised: Callable[[], bool] = lambda: True  # whether a time service keeps the clock
    boot_id: str = ""
    judges_certificates: bool = False  # by the agent's time; else the system clock does


async def run_agent(
    config: Config, *, clock: Clock, stop: asyncio.Event, machine: Machine = Machine()
) -> None:
    """Poll, keep and deliver until `stop` is set; then finish what is under way and return.

    Raise NeedsAHuman when a person must decide before anything can run.
    """
    settings = config.settings
    timekeeper = Timekeeper(clock, is_synchronised=machine.is_synchronised, boot_id=machine.boot_id)
    async with await SqliteBuffer.open(
        config.buffer_file,
        clock=timekeeper.clock,
        retention_days=settings.buffer.retention_days,
        max_mb=settings.buffer.max_mb,
    ) as buffer:
        sink = BufferSink(buffer, timekeeper.clock)
        await timekeeper.begin(await buffer.marks(PREFIX), lambda marks: sink.put([], marks))
        await _Agent(config, buffer, sink, timekeeper, machine).run(stop)


class _Agent:
    """The parts of one running gateway."""

    def __init__(
        self, config: Config, buffer: SqliteBuffer, sink: BufferSink, timekeeper: Timekeeper, machine: Machine
    ) -> None:
        clock = timekeeper.clock
        self._config, self._buffer, self._sink, self._clock = config, buffer, sink, clock
        self._timekeeper, self._machine = timekeeper, machine
        self._started_ms = clock.now_ms()
        self._metrics = Metrics()
        self._polls_ended = asyncio.Event()
        self._identity: Identity | None = None
        self._identity_problem = ""
        self._uplink: Uplink | None = None
        self._buses = make_buses(
            config,
            Tools(
                sink=ReportingSink(self._sink, config.report_rules),
                clock=clock,
                on_poll=self._metrics.polled,
                on_missed=lambda bus, count: self._metrics.missed_polls.labels(bus).inc(count),
            ),
        )
        self._control = Control(
            config,
            self._buses,
            buffer=buffer,
            sink=sink,
            clock=clock,
            connect=self._make_carrier,
            another_identity=self._another_identity,
            is_time_known=lambda: timekeeper.is_set,
            on_told=self._hurry,
        )

    async def run(self, stop: asyncio.Event) -> None:
        async with self._health():
            await self._sink.put(self._opening_events())
            async with asyncio.TaskGroup() as tasks:
                keep_trying = tasks.create_task(self._sink.keep_trying(), name="disk")
                keep_time = tasks.create_task(self._timekeeper.run(self._sink.put), name="time")
                tasks.create_task(self._supervised(self._deliver), name="uplink")
                control = tasks.create_task(self._supervised(self._control.run), name="control")
                polls = [tasks.create_task(bus.run(), name=f"bus {bus.bus}") for bus in self._buses]
                await stop.wait()
                _log.info("stopping: what was read is stored, and what is stored is sent if that is quick")
                await self._control.finish()
                await self._finish_polls(polls)
                control.cancel()
                keep_trying.cancel()
                keep_time.cancel()
                await self._sink.flush()
                self._polls_ended.set()
        counts = await self._buffer.counts()
        _log.info("stopped; %d readings and events wait for the next start", counts.pending)

    @contextlib.asynccontextmanager
    async def _health(self) -> AsyncIterator[None]:
        """The pages, for as long as the block runs. Meters are read without them too."""
        health = self._config.settings.health
        async with contextlib.AsyncExitStack() as pages:
            _log.info("reading %d devices", len(self._config.settings.devices))
            try:
                port = await pages.enter_async_context(serve_health(health.host, health.port, self._pages()))
            except PortTaken as err:
                _log.error("%s", err)
            else:
                _log.info("status on http://%s:%d/status", health.host, port)
            yield

    async def _finish_polls(self, polls: list[asyncio.Task[None]]) -> None:
        for bus in self._buses:
            bus.stop()
        if polls:
            _, late = await asyncio.wait(polls, timeout=LAST_POLL_S)
            for task in late:
                task.cancel()
            await asyncio.wait(polls)

    async def _supervised(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a part that polling does not need, whatever happens in it, until the polls have ended."""
        while not self._polls_ended.is_set():
            try:
                await work()
            except Exception:
                _log.exception("a part of the agent failed; it starts again in %g s", RESTART_PAUSE_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RESTART_PAUSE_S):
                        await self._polls_ended.wait()

    async def _deliver(self) -> None:
        """Send with the identity that is on disk until another is there, or until the last upload."""
        stamp = identity_stamp(self._config.state_dir)
        try:
            self._identity = await asyncio.to_thread(load_identity, self._config.state_dir)
        except (NotEnrolled, IdentityDamaged) as err:
            _log.warning("readings are kept but not sent: %s", err)
            self._identity, self._uplink, self._identity_problem = None, None, str(err)
            await first_of(self._another_identity(stamp), self._polls_ended.wait())
            return
        self._identity_problem = ""
        if self._identity.has_expired:
            _log.error("%s", EXPIRED)
        carrier = self._make_carrier(self._identity)
        try:
            self._uplink = self._make_uplink(self._identity, carrier)
            await first_of(self._uplink.run(), self._another_identity(stamp), self._polls_ended.wait())
            if self._polls_ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_UPLOAD_S):
                        await self._uplink.flush()
        finally:
            await carrier.close()

    def _hurry(self) -> None:
        """Whoever has given a command waits for what came of it."""
        if self._uplink is not None:
            self._uplink.hurry()

    def _make_carrier(self, identity: Identity) -> HttpsCarrier:
        time, clock = self._timekeeper, self._clock

        def now_s() -> float | None:
            return clock.now_ms() / 1000 if time.is_set else None

        return HttpsCarrier(
            identity,
            clock.now_ms,
            monotonic_s=clock.monotonic_s,
            certificates_at_s=now_s if self._machine.judges_certificates else None,
        )

    async def _another_identity(self, stamp: tuple[int, int] | None) -> None:
        """Return when `edge-agent enroll` has been at work."""
        while identity_stamp(self._config.state_dir) == stamp:  # noqa: ASYNC110  # a file rings no bell
            await asyncio.sleep(LOOK_FOR_IDENTITY_S)

    def _make_uplink(self, identity: Identity, carrier: HttpsCarrier) -> Uplink:
        settings = self._config.settings.uplink
        return Uplink(
            self._buffer,
            carrier,
            Sender(
                gateway_id=identity.gateway_id,
                collector_key=identity.collector.collector_key,
                signing_key=identity.signing_key,
            ),
            clock=self._clock,
            live_every_s=settings.live_every_s,
            max_items=settings.max_items,
            timekeeper=self._timekeeper,
            on_delivered=self._metrics.delivered,
        )

    def _opening_events(self) -> list[Event]:
        """That the agent has started, and what its devices are."""
        settings, now_ms = self._config.settings, self._clock.now_ms()
        facts = {"version": agent_version(), "devices": len(settings.devices), "buses": len(settings.buses)}
        told = [(GATEWAY, "agent.started", facts)]
        for device in settings.devices:
            description = msgspec.to_builtins(self._config.description_of(device))
            told.append((device.id, DEVICE_DESCRIBED, description))
        return [
            Event(device_id=device_id, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms)
            for device_id, kind, data in told
        ]

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
            counts = await self._buffer.counts()
            self._metrics.buffer_is(counts, now_ms=self._clock.now_ms(), real_ms=self._timekeeper.real_ms)
        self._metrics.memory_is(held=self._sink.held, lost=self._sink.lost_total)
        for bus in self._buses:
            lost = sum(state.lost_since_ms is not None for state in bus.states)
            self._metrics.bus_is(bus.bus, answering=len(bus.states) - lost, lost=lost)
        if self._uplink is not None:
            self._metrics.failures_are(self._uplink.state.failures)
        return Page(self._metrics.text(), METRICS)

    async def _status_page(self) -> Page:
        return Page(msgspec.json.encode(await self._status()), JSON)

    async def _status(self) -> Status:
        buffer: BufferStatus | None = None
        with contextlib.suppress(BufferUnavailable):
            buffer = BufferStatus.of(
                await self._buffer.counts(),
                epoch=self._buffer.epoch,
                held_in_memory=self._sink.held,
                lost_from_memory=self._sink.lost_total,
                real_ms=self._timekeeper.real_ms,
            )
        return Status(
            running=True,
            version=agent_version(),
            now_ms=self._clock.now_ms(),
            started_ms=self._timekeeper.real_ms(self._started_ms),
            time_from=self._timekeeper.source,
            buffer=buffer,
            uplink=self._uplink_status(),
            devices=self._device_statuses(),
        )

    def _uplink_status(self) -> UplinkStatus:
        identity, uplink = self._identity, self._uplink
        if identity is None or uplink is None:
            return UplinkStatus(state="not-enrolled", problem=self._identity_problem, needs_a_human=True)
        state = uplink.state
        problem = EXPIRED if state.problem and identity.has_expired else state.problem
        return UplinkStatus(
            state="failing" if problem else "ok",
            problem=problem,
            needs_a_human=state.needs_a_human or problem == EXPIRED,
            gateway_id=identity.gateway_id,
            url=identity.collector.url,
            certificate_expires=identity.expires.isoformat(),
            delivered_batches=state.delivered_batches,
            last_receipt_ms=state.last_receipt_ms,
        )

    def _device_statuses(self) -> list[DeviceStatus]:
        known = {state.id: state for bus in self._buses for state in bus.states}
        return [
            DeviceStatus.of(device, known[device.id], self._timekeeper.real_ms)
            for device in self._config.settings.devices
        ]
