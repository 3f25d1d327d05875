"""A collector runs from its folder until it is told to stop, and one part that fails stops nothing else."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.x509 import SubjectAlternativeName, load_pem_x509_certificate

from collector.identity.home import Home, HomeUnusable
from collector.serve import CannotListen, JobLoop, run_collector
from collector.settings import FILE
from collector.store.engine import StoreUnusable
from models.document import DocumentMistakes
from models.errors import RetryLater
from tests.support.clocks import VirtualClock, settle
from tests.support.collector import StandingClock
from tests.support.running import new_home, running


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    return await new_home(tmp_path / "collector", http=True)


async def test_it_serves_page_and_api_by_tls_and_to_this_machine_without(
    home: Home, standing: StandingClock
) -> None:
    async with running(home, standing.clock) as collector:
        plain = httpx.AsyncClient(base_url=f"http://127.0.0.1:{collector.at.http_port}", trust_env=False)
        token = await collector.api_token("read")
        async with collector.client() as tls, plain:
            for client in (tls, plain):
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/readyz")).status_code == 200
                assert (await client.get("/api/v1/sites")).status_code == 401
                answer = await client.get("/api/v1/sites", headers={"authorization": f"Bearer {token}"})
                assert [site["code"] for site in answer.json()["items"]] == ["a1"]
    with pytest.raises(httpx.ConnectError):
        await httpx.AsyncClient(trust_env=False).get(f"http://127.0.0.1:{collector.at.http_port}/healthz")


async def test_stopping_ends_streams_that_would_never_end(home: Home, standing: StandingClock) -> None:
    async with running(home, standing.clock) as collector:
        headers = {"authorization": f"Bearer {await collector.api_token('read')}"}
        client = collector.client()
        async with client, client.stream("GET", "/api/v1/stream", headers=headers) as stream:
            assert stream.status_code == 200
            reading = asyncio.create_task(read_to_the_end(stream))
            collector.stop()
            await reading


async def read_to_the_end(stream: httpx.Response) -> None:
    async for _ in stream.aiter_bytes():
        pass


async def test_cancelling_it_leaves_nothing_open(home: Home, standing: StandingClock) -> None:
    ready = asyncio.Event()
    task = asyncio.create_task(
        run_collector(home.folder, clock=standing.clock, stop=asyncio.Event(), ready=lambda _: ready.set())
    )
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_taken_port_is_named_with_the_place_where_it_is_set(
    home: Home, standing: StandingClock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = home.folder / FILE
        settings.write_text(settings.read_text().replace("port: 0}\nlocal", f"port: {port}}}\nlocal"))
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}: .* change `listen` in collector.yaml"):
            await run_collector(home.folder, clock=standing.clock, stop=asyncio.Event())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (FILE, DocumentMistakes),
        ("ca.key", HomeUnusable),
        ("envelope.key", HomeUnusable),
        ("command.key", HomeUnusable),
        ("collector.db", StoreUnusable),
    ],
)
async def test_it_does_not_start_without_one_of_its_files(
    home: Home, standing: StandingClock, name: str, error: type[Exception]
) -> None:
    (home.folder / name).unlink()
    with pytest.raises(error):
        await run_collector(home.folder, clock=standing.clock, stop=asyncio.Event())


async def test_a_new_name_in_the_settings_gets_into_the_certificate(
    home: Home, standing: StandingClock
) -> None:
    settings = home.folder / FILE
    settings.write_text(settings.read_text().replace("names: []", 'names: ["collector.example"]'))
    async with running(home, standing.clock):
        pass
    certificate = load_pem_x509_certificate(home.server_certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert "collector.example" in [str(name.value) for name in names]


class Job:
    """Does what it is told, run for run."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.runs = 0

    async def run_once(self) -> None:
        self.runs += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


@contextlib.asynccontextmanager
async def looping(job: Job, clock: VirtualClock) -> AsyncIterator[JobLoop]:
    loop = JobLoop("test", job.run_once, 30, clock.clock.sleep)
    task = asyncio.create_task(loop.run())
    await settle()
    yield loop
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_job_runs_at_once_and_then_again_and_again() -> None:
    job, clock = Job(), VirtualClock()
    async with looping(job, clock) as loop:
        assert job.runs == 1
        await clock.advance(300)
        assert (job.runs, loop.alive) == (11, True)


async def test_a_job_that_cannot_work_now_is_tried_again_and_said_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    job, clock = Job(RetryLater("disk full"), RetryLater("disk full"), None), VirtualClock()
    async with looping(job, clock) as loop:
        await clock.advance(90)
        assert (job.runs, loop.alive) == (4, True)
    assert caplog.messages == ["test cannot work: disk full", "test works again"]


async def test_a_job_with_a_mistake_of_ours_stops_alone_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job, clock = Job(ZeroDivisionError("ours")), VirtualClock()
    async with looping(job, clock) as loop:
        await clock.advance(90)
        assert (job.runs, loop.alive) == (1, False)
    assert "test has stopped" in caplog.text
