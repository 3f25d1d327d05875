"""A gateway behind a proxy: it passes bytes on, and can neither read nor change them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edge_agent.config import load_config
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.secret_files import SecretUnusable
from edge_agent.tls import CollectorNotTrusted, CollectorUnreachable
from edge_agent.uplink.carriers import make_carrier, proxy_of
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from tests.support.certificates import WRONG_SERVERS
from tests.support.https import Collector
from tests.support.proxies import ConnectProxy

LOGIN = "gateway:s3cret"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector().serve() as serving:
        yield serving


async def enrolled(collector: Collector, folder: Path, proxy: Proxy | None = None) -> Identity:
    return await asyncio.to_thread(enroll, collector.token, state_dir=folder / "state", proxy=proxy)


async def ask_time(identity: Identity, proxy: Proxy) -> None:
    carrier = HttpsCarrier(identity, proxy=proxy)
    try:
        await Questions(carrier, identity, lambda: 1_790_000_000_000).ask_time()
    finally:
        await carrier.close()


def address(collector: Collector) -> tuple[str, int]:
    parts = urlsplit(collector.url)
    return parts.hostname or "", parts.port or 0


async def test_enrolment_and_questions_go_through_a_proxy_that_wants_a_password(
    collector: Collector, tmp_path: Path
) -> None:
    async with ConnectProxy(login=LOGIN).serve() as proxy:
        through = Proxy(proxy.url, ("gateway", "s3cret"))
        identity = await enrolled(collector, tmp_path, through)
        await ask_time(identity, through)
    assert collector.paths() == ["POST /gateway/v1/enroll", "GET /gateway/v1/time"]
    assert proxy.asked_for == ["{}:{}".format(*address(collector))] * 2
    assert proxy.passed
    for readable in (b"gateway/v1", collector.secret.encode(), base64.b64encode(LOGIN.encode())):
        assert readable not in proxy.passed


async def test_a_wrong_password_is_told_without_it(collector: Collector, tmp_path: Path) -> None:
    identity = await enrolled(collector, tmp_path)
    async with ConnectProxy(login=LOGIN).serve() as proxy:
        with pytest.raises(CollectorUnreachable, match="by the proxy http://127") as caught:
            await ask_time(identity, Proxy(proxy.url, ("gateway", "wr0ng")))
    assert "407" in str(caught.value)
    assert "wr0ng" not in str(caught.value) + repr(Proxy(proxy.url, ("gateway", "wr0ng")))


@pytest.mark.parametrize("reason", WRONG_SERVERS)
async def test_whoever_a_proxy_leads_to_must_be_the_collector(
    collector: Collector, tmp_path: Path, reason: str
) -> None:
    identity = await enrolled(collector, tmp_path)
    impostor = Collector(authority=collector.authority)
    server = WRONG_SERVERS[reason](collector.authority)
    async with impostor.serve(server), ConnectProxy(elsewhere=address(impostor)).serve() as proxy:
        with pytest.raises(CollectorNotTrusted) as caught:
            await ask_time(identity, Proxy(proxy.url))
    assert caught.value.reason == reason
    assert impostor.requests == []


async def test_a_proxy_of_the_environment_counts_for_nothing(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ConnectProxy().serve() as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        identity = await enrolled(collector, tmp_path)
        carrier = HttpsCarrier(identity)
        try:
            await Questions(carrier, identity, lambda: 0).ask_time()
        finally:
            await carrier.close()
    assert proxy.asked_for == []


async def test_the_configuration_names_proxy_and_password_file(collector: Collector, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "uplink: {proxy: 'http://proxy.example:3128', proxy_login_file: proxy.login}\n"
        "collectors: {main: {}}\n"
    )
    [settings] = load_config(file).collectors
    identity = await enrolled(collector, tmp_path)
    with pytest.raises(SecretUnusable, match=r"proxy\.login"):
        make_carrier(identity, settings, None)
    (tmp_path / "proxy.login").write_text(LOGIN + "\n")
    assert proxy_of(settings) == Proxy("http://proxy.example:3128", ("gateway", "s3cret"))
    file.write_text(file.read_text().replace("main: {}", "main: {proxy: none}"))
    [settings] = load_config(file).collectors
    assert proxy_of(settings) is None
