"""A whole collector for tests: its folder, itself serving on a free port, gateways enrolled at it."""

import asyncio
import base64
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from collector.commands.setup import Wanted, init
from collector.identity.home import Home
from collector.identity.tokens import issue_api_token, issue_enrollment_secret
from collector.serve import Listening, Rounds, run_collector
from collector.store.engine import Store
from models.envelope import STANDARD
from models.protocol import EnrollmentToken, EnrollRequest, EnrollResponse
from models.times import Clock
from tests.support.collector import Sender

ROUNDS = Rounds()
A_SEAL_KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class RunningCollector:
    """A collector that serves on this machine."""

    home: Home
    at: Listening
    stop: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.at.port}"

    async def enrollment_token(
        self, *, site: str = "a1", name: str = "gateway", hours: float = 1
    ) -> EnrollmentToken:
        async with await Store.open(self.home.database) as store:
            secret = await issue_enrollment_secret(
                store, site_code=site, gateway_name=name, hours=hours, now_ms=real_now_ms()
            )
        ca = self.home.authority().certificate_der()
        return EnrollmentToken(url=self.url, ca_certificate_der=ca, secret=secret)

    async def api_token(self, *scopes: str, sites: Sequence[str] | None = None) -> str:
        async with await Store.open(self.home.database) as store:
            return await issue_api_token(
                store,
                name=f"test {os.urandom(4).hex()}",
                scopes=scopes or ("read",),
                sites=sites,
                days=1,
                now_ms=real_now_ms(),
            )

    def client(self, certificate: Path | None = None) -> httpx.AsyncClient:
        """Trusts this collector's authority and no other; shows `certificate` (with its key) if given."""
        context = ssl.create_default_context(cafile=self.home.ca_certificate)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return httpx.AsyncClient(base_url=self.url, verify=context, trust_env=False, timeout=30)

    async def enrol(self, folder: Path, *, site: str = "a1", name: str = "gateway") -> tuple[Sender, Path]:
        """A gateway that has been enrolled over the wire, and the file with its certificate and key."""
        token = await self.enrollment_token(site=site, name=name)
        key = Ed25519PrivateKey.generate()
        sender = Sender("", self.home.keyring().current(STANDARD).public_bytes(), key)
        request = EnrollRequest(
            secret=token.secret, csr_pem=sender.csr_pem(), agent_version="test", seal_key=A_SEAL_KEY
        )
        async with self.client() as client:
            answer = await client.post("/gateway/v1/enroll", content=request.model_dump_json())
        assert answer.status_code == 201, answer.text
        response = EnrollResponse.model_validate_json(answer.text)
        path = folder / f"{response.gateway_id}.pem"
        path.write_bytes(key_pem(key) + response.certificate_pem.encode())
        return Sender(response.gateway_id, self.home.keyring().current(STANDARD).public_bytes(), key), path


def key_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def real_now() -> datetime:
    """Tokens and certificates live in real time."""
    return datetime.now(UTC)


def real_now_ms() -> int:
    return int(real_now().timestamp() * 1000)


async def new_home(folder: Path, *, site: str = "a1", http: bool = False, port: int = 0) -> Home:
    """A folder as `collector init` makes it, for any free port if none is given."""
    wanted = Wanted(url="https://localhost:8443", host="127.0.0.1", port=port, http_port=0 if http else None)
    await asyncio.to_thread(init, folder, wanted, site=site, site_name="Town hall")
    return Home(folder)


@contextlib.asynccontextmanager
async def running(
    home: Home,
    clock: Clock,
    *,
    real_now_ms: Callable[[], int] = real_now_ms,
    rounds: Rounds = ROUNDS,
) -> AsyncIterator[RunningCollector]:
    """The collector of that folder, in this process; certificates live by `real_now_ms`."""
    stop = asyncio.Event()
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run_collector(
            home.folder,
            clock=clock,
            stop=stop,
            ready=ready.set_result,
            rounds=rounds,
            real_now_ms=real_now_ms,
        ),
        name="collector",
    )
    try:
        waiting: set[asyncio.Future[Any]] = {task, ready}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task  # raises what went wrong
        yield RunningCollector(home, await ready, stop.set)
    finally:
        stop.set()
        await task
