"""The collector of the virtual week, and the way to it: real intake and store, no sockets."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI

from collector.api.live import LiveHub
from collector.app import create_app
from collector.control.desk import CommandDesk
from collector.identity.enrolment import Enrolment
from collector.identity.home import Home
from collector.identity.next_key import NextKeys
from collector.intake.service import Intake
from collector.settings import load_settings
from collector.store.engine import Store
from edge_agent.identity.folder import Identity
from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.carrier import Answer, Request
from models.times import Clock
from simulators.lab.plan import Fault

PATIENCE_S = 60.0  # after which a gateway gives up waiting for an answer
_CHANGES = ("POST", "PUT")


class District:
    """A collector that can be killed by taking its disk away."""

    def __init__(self, folder: Path, clock: Clock, real_now_ms: Callable[[], int]) -> None:
        self._home, self._clock, self._real_now_ms = Home(folder), clock, real_now_ms
        self._opened: contextlib.AsyncExitStack | None = None
        self._app: FastAPI | None = None
        self.runs = asyncio.Event()  # cleared while it is held up
        self.runs.set()

    @property
    def is_there(self) -> bool:
        return self._app is not None

    async def start(self) -> None:
        home, clock, now_ms = self._home, self._clock, self._real_now_ms
        keyring, command_key = home.keyring(), home.commanding_key()
        lives = load_settings(home.folder).certificates.lives
        authority = home.authority()
        self._opened = opened = contextlib.AsyncExitStack()
        store = await opened.enter_async_context(await Store.open(home.database))
        intake = await opened.enter_async_context(Intake(store, keyring, clock, real_now_ms=now_ms))
        self._app = create_app(
            store,
            clock,
            live=LiveHub(store),
            desk=CommandDesk(store, clock, command_key),
            intake=intake,
            enrolment=Enrolment(
                store, authority, keyring, command_key.public_bytes(), lives=lives, now_ms=now_ms
            ),
            next_keys=NextKeys(store, authority, lives=lives, now_ms=now_ms),
            real_now_ms=now_ms,
        )

    async def end(self, kill: Callable[[], None] = lambda: None) -> None:
        """`kill` takes its disk away at the same moment."""
        kill()
        self._app = None
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def ask(self, request: Request, certificate: bytes) -> Answer:
        """Of whoever shows `certificate`. Raise CollectorUnreachable."""
        if self._app is None:
            raise CollectorUnreachable("virtual", "connection refused")
        path, _, query = request.path.partition("?")
        given = {"host": "virtual", "content-length": str(len(request.body)), **request.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("virtual", 1),
            "server": ("virtual", 443),
            "extensions": {"tls": {"client_cert_der": certificate}},
        }
        bodies = [{"type": "http.request", "body": request.body, "more_body": False}]
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return bodies.pop() if bodies else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            said.append(message)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
        return Answer(said[0]["status"], headers, b"".join(message.get("body", b"") for message in said[1:]))


class Way:
    """The carrier between them, and a target for the faults `network.…` and `requests.…`."""

    url = "virtual"

    def __init__(self, district: District, identity: Identity, chance: random.Random) -> None:
        self._district, self._chance = district, chance
        self._certificate = identity.certificate.public_bytes(Encoding.DER)
        self._now: dict[str, Fault] = {}
        self._changed = asyncio.Event()
        self._again: list[Request] = []
        self.lost_receipts = self.doubled = self.late = 0

    async def begin(self, fault: Fault) -> None:
        self._now[fault.what] = fault
        self._change()

    async def end(self, fault: Fault) -> None:
        del self._now[fault.what]
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """There is nothing to close."""

    async def exchange(self, request: Request) -> Answer:
        """See `edge_agent.uplink.carrier.Carrier`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._go()
                if "deaf" in self._now:
                    await asyncio.Event().wait()
                answer = await self._fate(request)
                await self._go()
                if "mute" in self._now:
                    await asyncio.Event().wait()
                return answer
        except TimeoutError:
            raise CollectorUnreachable(self.url, "no answer") from None

    async def _go(self) -> None:
        """One way along the line."""
        now = self._now
        await asyncio.sleep(0.02)
        if delay := now.get("delay"):
            late_ms = delay.how["delay_ms"] + self._chance.uniform(0, delay.how["jitter_ms"])
            await asyncio.sleep(late_ms / 1000)
        if loss := now.get("loss"):
            pause_s = 0.2
            while self._chance.random() < loss.how["share"]:
                await asyncio.sleep(pause_s)
                pause_s *= 2
        while "silent" in now:
            await self._changed.wait()
        if "cut" in now or "refused" in now:
            raise CollectorUnreachable(self.url, "connection refused")

    async def _fate(self, request: Request) -> Answer:
        now, chance = self._now, self._chance
        if busy := now.get("busy"):
            return Answer(chance.choice([429, 503]), {"retry-after": str(round(busy.how["pause_s"]))}, b"")
        if "failing" in now:
            return Answer(chance.choice([500, 502, 504]), {}, b"")
        await self._district.runs.wait()
        answer = await self._district.ask(request, self._certificate)
        if request.method not in _CHANGES:
            return answer
        while self._again:
            self.late += 1
            await self._district.ask(self._again.pop(), self._certificate)
        if self._strikes("late_again"):
            self._again.append(request)
        if self._strikes("twice"):
            self.doubled += 1
            answer = await self._district.ask(request, self._certificate)
        if self._strikes("lost_receipt"):
            self.lost_receipts += 1
            raise CollectorUnreachable(self.url, "connection reset")
        return answer

    def _strikes(self, what: str) -> bool:
        fault = self._now.get(what)
        return fault is not None and self._chance.random() < fault.how["share"]
