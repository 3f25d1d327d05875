"""The way to the collector: each step fails where it is broken, and nowhere else."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_agent.doctor import collectors
from edge_agent.doctor.finding import Finding
from edge_agent.doctor.scene import Scene
from edge_agent.identity.folder import Identity, load_identity
from models.protocol import CLOCK_HEADER
from tests.support.certificates import WRONG_SERVERS
from tests.support.clocks import settle
from tests.support.gateways import Machine, configured, enrolled, scene, states
from tests.support.https import Answer, Collector, busy, problem
from tests.support.proxies import ConnectProxy


async def enrolled_identity(folder: Path, collector: Collector) -> Identity:
    async with collector.serve():
        await asyncio.to_thread(enrolled, folder, collector)
    collector.requests.clear()
    collector.payload_bytes = 0
    return load_identity(folder / "state")


def at(identity: Identity, url: str) -> Identity:
    """The same gateway, with a collector at another address."""
    return replace(identity, collector=msgspec.structs.replace(identity.collector, url=url))


async def looked(gateway: Scene, identity: Identity, url: str) -> list[Finding]:
    return await asyncio.to_thread(
        lambda: list(collectors.way(gateway, name="main", identity=at(identity, url)))
    )


async def until_it_has_served_all(collector: Collector) -> None:
    """A server takes up connections in their order, and ends this one, which is no TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(collector.url.rpartition(":")[2]))
    writer.write(b"\n" * 100)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    await settle()


def machine(folder: Path, collector: Collector) -> Machine:
    return Machine(folder / "m", now_ms=collector.now_ms)


async def test_a_way_that_works_is_well_from_end_to_end(tmp_path: Path) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    gateway = scene(tmp_path, machine(tmp_path, collector))
    async with collector.serve():
        found = await looked(gateway, identity, collector.url)
    assert states(found) == {**dict.fromkeys(collectors.NAMES, "ok"), "collector.proxy": "skipped"}, found
    assert found[3].facts["shown"]["issuer"] == "CN=test CA"
    assert [request.path for request in collector.requests] == ["/gateway/v1/time"]
    assert collector.requests[0].has_certificate


@pytest.mark.parametrize(
    ("url", "check", "told"),
    [
        ("https://collector..example:8443", "collector.dns", "name servers"),
        ("https://127.0.0.1:1", "collector.tcp", "nothing listens"),
    ],
)
async def test_what_comes_after_a_step_that_fails_is_skipped(
    tmp_path: Path, url: str, check: str, told: str
) -> None:
    identity = await enrolled_identity(tmp_path, Collector())
    found = await looked(scene(tmp_path), identity, url)
    bad = [finding for finding in found if finding.state == "problem"]
    assert [finding.check for finding in bad] == [check]
    assert told in bad[0].next
    after = list(collectors.NAMES).index(check) + 1
    assert [finding.state for finding in found[after:]] == ["skipped"] * (len(collectors.NAMES) - after)


@pytest.mark.parametrize("wrong", WRONG_SERVERS)
async def test_a_server_that_is_not_the_collector_is_named_and_asked_nothing(
    tmp_path: Path, wrong: str
) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    gateway = scene(tmp_path, machine(tmp_path, collector))
    async with collector.serve(WRONG_SERVERS[wrong](collector.authority)):
        found = await looked(gateway, identity, collector.url)
        await until_it_has_served_all(collector)
    assert states(found)["collector.tls"] == "problem"
    tls = found[3]
    assert "shown: CN=server, issued by CN=" in tls.seen
    assert len(tls.facts["shown"]["sha256"]) == 64
    assert (collector.requests, collector.payload_bytes) == ([], 0)
    assert states(found)["collector.answer"] == "skipped"


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections, as the kernel does for it, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


async def test_a_server_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors, "CONNECT_LIMIT_S", 0.2)
    identity = await enrolled_identity(tmp_path, Collector())
    with silent_server() as url:
        found = await looked(scene(tmp_path), identity, url)
    assert (states(found)["collector.tcp"], states(found)["collector.tls"]) == ("ok", "problem")


@pytest.mark.parametrize(
    ("answers", "state", "told"),
    [
        ([problem(403, "revoked")], "problem", "enroll --again"),
        ([problem(401, "no-certificate")], "problem", "enroll --again"),
        ([Answer(500)], "problem", "collector's log"),
        ([busy(30)], "warning", "wait"),
        ([Answer(404)], "problem", "update this agent"),
    ],
)
async def test_a_collector_that_does_not_answer_this_gateway_is_seen(
    tmp_path: Path, answers: Sequence[Answer], state: str, told: str
) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    gateway = scene(tmp_path, machine(tmp_path, collector))
    async with collector.serve():
        collector.script.extend(answers)
        found = await looked(gateway, identity, collector.url)
    assert states(found)["collector.answer"] == state
    assert told in found[4].next, found[4]


@pytest.mark.parametrize(("off_ms", "state"), [(0, "ok"), (-5000, "warning"), (120_000, "problem")])
async def test_a_clock_off_the_collectors_is_seen(tmp_path: Path, off_ms: int, state: str) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    gateway = scene(tmp_path, machine(tmp_path, collector))
    shown = str(collector.now_ms() - off_ms)
    async with collector.serve():
        collector.script.append(Answer(204, headers=((CLOCK_HEADER, shown),)))
        found = await looked(gateway, identity, collector.url)
    assert states(found)["clock.offset"] == state
    assert abs(found[5].facts["offset_ms"] - off_ms) < 3000


async def test_a_proxy_that_connects_is_well_and_the_rest_goes_through_it(tmp_path: Path) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    (tmp_path / "login").write_text("gateway:s3cret")
    async with collector.serve(), ConnectProxy(login="gateway:s3cret").serve() as proxy:
        uplink = {"proxy": proxy.url, "proxy_login_file": "login"}
        gateway = scene(tmp_path, machine(tmp_path, collector), uplink=uplink)
        found = await looked(gateway, identity, collector.url)
        (tmp_path / "login").write_text("gateway:wrong")
        refused = await looked(gateway, identity, collector.url)
        await until_it_has_served_all(collector)
    through = {"collector.dns": "skipped", "collector.tcp": "skipped"}
    assert states(found) == {**dict.fromkeys(collectors.NAMES, "ok"), **through}, found
    assert len(proxy.asked_for) == 4
    assert (refused[0].state, "407" in refused[0].seen) == ("problem", True)
    assert "proxy_login_file" in refused[0].next
    assert "s3cret" not in str(found) + str(refused)


async def test_a_proxy_that_is_not_there_is_seen(tmp_path: Path) -> None:
    identity = await enrolled_identity(tmp_path, Collector())
    gateway = scene(tmp_path, uplink={"proxy": "http://127.0.0.1:1"})
    found = await looked(gateway, identity, "https://collector.example:8443")
    assert states(found) == {**dict.fromkeys(collectors.NAMES, "skipped"), "collector.proxy": "problem"}


async def test_a_proxy_of_the_shell_is_named_without_its_password(tmp_path: Path) -> None:
    collector = Collector()
    identity = await enrolled_identity(tmp_path, collector)
    host = Machine(tmp_path).host(HTTPS_PROXY="http://me:s3cret@proxy:3128")
    found = await looked(Scene(configured(tmp_path), host), identity, "https://127.0.0.1:1")
    assert ("HTTPS_PROXY" in found[0].seen, "s3cret" in str(found)) == (True, False)
