"""Puts a collector together from its folder, and runs it until it is told to stop."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from collector.alerts.outbox import outbox_jobs
from collector.api.live import LiveHub
from collector.app import create_app
from collector.control.desk import CommandDesk
from collector.energy.job import EnergyJob
from collector.forward.book import share_nothing
from collector.forward.upstream import Upstream
from collector.identity.ca import CertificateAuthority
from collector.identity.enrolment import Enrolment, real_now_ms
from collector.identity.home import Home
from collector.identity.keyring import Keyring
from collector.identity.next_key import NextKeys
from collector.identity.peer import PeerCertificateProtocol
from collector.insight.factors import Factors
from collector.insight.job import InsightJob
from collector.intake.mqtt import BrokerDoor
from collector.intake.service import Intake
from collector.settings import Settings, load_settings
from collector.store.engine import Store
from models.command import CommandKey
from models.errors import NeedsAHuman, RetryLater
from models.times import Clock

CERTIFICATE_EVERY_S = 86_400.0
CERTIFICATE_LOOKS = 20  # in the life of a short one
GRACE_S = 10  # for answers that are under way when the collector is told to stop
KEEP_ALIVE_S = 75  # a gateway sends every 10 s or so: a new connection each time would cost a handshake

NO_CHECK_TIME = 0x20_0000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for

Sleep = Callable[[float], Awaitable[None]]

_log = logging.getLogger(__name__)


class CannotListen(NeedsAHuman):
    """The address of the settings cannot be listened at."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the collector is reached; ports as they are when the settings say "any free port"."""

    port: int
    http_port: int | None


@dataclass(frozen=True, slots=True)
class Rounds:
    """How long each job rests after a round, in seconds of this machine, whatever clock the readings have."""

    energy_s: float = 30.0
    insight_s: float = 300.0  # detectors look at hours
    outbox_s: float = 5.0
    forward_s: float = 2.0  # how late what is shared may be
    commands_s: float = 1.0  # how late a command of the command line may be


class JobLoop:
    """Runs one job again and again. A job that fails for good stops alone, and `/readyz` says so."""

    def __init__(
        self,
        name: str,
        run_once: Callable[[], Awaitable[object]],
        rest_s: float,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = name
        self.alive = True
        self._run_once = run_once
        self._rest_s = rest_s
        self._sleep = sleep
        self._is_failing = False

    async def run(self) -> None:
        try:
            while True:
                await self._try()
                await self._sleep(self._rest_s)
        except Exception:
            self.alive = False
            _log.exception("%s has stopped: start the collector again, and report this", self.name)

    async def _try(self) -> None:
        try:
            await self._run_once()
        except (RetryLater, OperationalError) as err:  # such as a full disk: the next round does it all
            if not self._is_failing:
                _log.warning("%s cannot work: %s", self.name, err)
            self._is_failing = True
        else:
            if self._is_failing:
                _log.info("%s works again", self.name)
            self._is_failing = False


async def run_collector(
    folder: Path,
    *,
    clock: Clock,
    stop: asyncio.Event,
    ready: Callable[[Listening], None] = lambda _: None,
    rounds: Rounds = Rounds(),  # frozen
    real_now_ms: Callable[[], int] = real_now_ms,
) -> None:
    """Serve until `stop` is set; what has been begun is then finished. `ready` is called once it serves.

    `real_now_ms` is what certificates and tokens live by, whatever `clock` shows.
    Raise NeedsAHuman for settings, keys or a database that cannot be used; nothing has been opened then.
    """
    settings = load_settings(folder)
    home = Home(folder)
    keys = _Keys(home.authority(), home.keyring(), home.commanding_key())
    lives = settings.certificates.lives
    home.ensure_server_certificate(settings.server_names(), datetime.now(UTC), lives.server)
    async with contextlib.AsyncExitStack() as opened:
        sockets = opened.enter_context(_listening(settings))
        store = await opened.enter_async_context(await Store.open(home.database))
        intake = await opened.enter_async_context(Intake(store, keys.ring, clock, real_now_ms=real_now_ms))
        parts = _put_together(settings, keys, store, intake, clock, rounds, real_now_ms)
        for job in outbox_jobs(store, clock, settings.receivers):
            opened.push_async_callback(job.close)
            parts.loops.append(JobLoop(f"outbox {job.name}", job.run_once, rounds.outbox_s))
        if settings.mqtt is not None:
            home.ensure_broker_client_certificate(datetime.now(UTC), lives.server)
            group = _share_group(keys.commanding)
            parts.doors.append(BrokerDoor(parts.app, settings.mqtt.broker, home, group=group))
        if settings.upstream is None:
            await share_nothing(store)
        else:
            upstream = Upstream(
                home,
                store,
                keys.ring,
                settings.upstream,
                now_ms=clock.now_ms,
                real_now_ms=real_now_ms,
                rest_s=rounds.forward_s,
            )
            parts.upstreams.append(upstream)
            await upstream.prepare()
        await _serve(parts, sockets, home, settings, stop, ready)


@dataclass(frozen=True, slots=True)
class _Keys:
    """What makes this collector the one that its gateways know."""

    authority: CertificateAuthority
    ring: Keyring
    commanding: CommandKey


@dataclass(frozen=True, slots=True)
class _Parts:
    """What runs while the collector serves."""

    app: FastAPI
    live: LiveHub
    desk: CommandDesk
    loops: list[JobLoop]
    doors: list[BrokerDoor]
    upstreams: list[Upstream]


def _put_together(
    settings: Settings,
    keys: _Keys,
    store: Store,
    intake: Intake,
    clock: Clock,
    rounds: Rounds,
    real_now_ms: Callable[[], int],
) -> _Parts:
    """What every collector has; doors and upstreams are still to come."""
    loops: list[JobLoop] = []
    doors: list[BrokerDoor] = []
    upstreams: list[Upstream] = []
    live = LiveHub(store)
    desk = CommandDesk(store, clock, keys.commanding)
    lives = settings.certificates.lives
    enrolment = Enrolment(
        store, keys.authority, keys.ring, keys.commanding.public_bytes(), lives=lives, now_ms=real_now_ms
    )
    app = create_app(
        store,
        clock,
        live=live,
        desk=desk,
        intake=intake,
        enrolment=enrolment,
        next_keys=NextKeys(store, keys.authority, lives=lives, now_ms=real_now_ms),
        real_now_ms=real_now_ms,
        factors=Factors(settings.factors),
        jobs=lambda: (
            {loop.name: loop.alive for loop in loops}
            | {one.name: one.is_alive for one in doors}
            | {one.name: one.is_alive for one in upstreams}
        ),
    )
    insight = InsightJob(store, clock, settings, real_now_ms=real_now_ms)
    loops += [
        JobLoop("energy", EnergyJob(store, clock).run_once, rounds.energy_s),
        JobLoop("insight", insight.run_once, rounds.insight_s),
        JobLoop("commands", desk.run_once, rounds.commands_s),
    ]
    return _Parts(app, live, desk, loops, doors, upstreams)


async def _serve(
    parts: _Parts,
    sockets: Sequence[socket.socket],
    home: Home,
    settings: Settings,
    stop: asyncio.Event,
    ready: Callable[[Listening], None],
) -> None:
    """Until `stop` is set."""
    tls = _tls_context(home)
    app = parts.app
    servers = [_Server(_tls_config(app, tls)), *([_Server(_config(app))] if len(sockets) > 1 else [])]
    async with asyncio.TaskGroup() as tasks:
        serving = [
            tasks.create_task(server.serve([listener]), name=f"serve {listener.getsockname()[1]}")
            for server, listener in zip(servers, sockets, strict=True)
        ]
        serving += [tasks.create_task(door.run(), name=door.name) for door in parts.doors]
        working = [tasks.create_task(loop.run(), name=loop.name) for loop in parts.loops]
        working += [tasks.create_task(one.run(), name=one.name) for one in parts.upstreams]
        working.append(tasks.create_task(parts.live.run(), name="live"))
        working.append(tasks.create_task(_keep_certified(home, settings, tls), name="certificate"))
        ports = [listener.getsockname()[1] for listener in sockets]
        _log.info("serving at port %s", " and ".join(map(str, ports)))
        ready(Listening(ports[0], ports[1] if len(ports) > 1 else None))
        try:
            await stop.wait()
        finally:
            parts.live.close()  # or the servers would wait for streams that never end
            parts.desk.close()
            for server in servers:
                server.should_exit = True
            for door in parts.doors:
                door.close()
            await asyncio.wait(serving)
            for task in working:
                task.cancel()


def _share_group(key: CommandKey) -> str:
    """The group in which the collectors of one folder take turns at a broker."""
    return key.keyed_digest(b"the collectors that share a subscription").hex()[:32]


class _Server(uvicorn.Server):
    """uvicorn, which leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _tls_config(app: FastAPI, tls: ssl.SSLContext) -> uvicorn.Config:
    config = _config(app)
    config.http = PeerCertificateProtocol
    config.ssl_context_factory = lambda _config, _default: tls
    return config


def _tls_context(home: Home) -> ssl.SSLContext:
    """Every gateway must show a certificate of ours; people and programs have tokens instead.

    Whether a gateway's certificate is in its time is looked at with each request (`Intake.check_peer`), so
    that one whose certificate has ended hears it, and one that stays connected does not outlive it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.server_certificate)
    context.load_verify_locations(home.ca_certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= NO_CHECK_TIME
    return context


async def _keep_certified(home: Home, settings: Settings, tls: ssl.SSLContext) -> None:
    """Certificates live in real time, whatever clock the readings have."""
    life = settings.certificates.lives.server
    while True:
        await asyncio.sleep(min(CERTIFICATE_EVERY_S, life.total_seconds() / CERTIFICATE_LOOKS))
        if home.ensure_server_certificate(settings.server_names(), datetime.now(UTC), life):
            tls.load_cert_chain(home.server_certificate)  # for connections from now on
        if settings.mqtt is not None:
            home.ensure_broker_client_certificate(datetime.now(UTC), life)


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[Sequence[socket.socket]]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(_socket(settings.listen.host, settings.listen.port, "listen"))]
        if settings.local_http is not None:
            sockets.append(opened.enter_context(_socket("127.0.0.1", settings.local_http.port, "local_http")))
        yield sockets


def _socket(host: str, port: int, section: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as err:
        raise CannotListen(
            f"{host}:{port}: {err.strerror}; stop the program that has this port, or change "
            f"`{section}` in collector.yaml"
        ) from err
