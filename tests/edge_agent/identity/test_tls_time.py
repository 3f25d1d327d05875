"""Whether a certificate is in its time is judged by the gateway's own time: the system clock may be wrong."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from edge_agent.tls import CollectorNotTrusted, check_time, explain, verifying_context
from tests.support.certificates import DAY, Authority
from tests.support.clocks import settle
from tests.support.https import Answer, Collector

NOW_S = datetime.now(UTC).timestamp()
DECADE_S = timedelta(days=3650).total_seconds()


@pytest.fixture(autouse=True)
async def connections_have_time_to_end() -> AsyncIterator[None]:
    """Those that were refused in their handshake are closed by the loop, after the test."""
    yield
    await settle()


async def ask(collector: Collector, context: ssl.SSLContext) -> httpx.Response:
    collector.script.append(Answer(204))
    async with httpx.AsyncClient(verify=context, trust_env=False, base_url=collector.url) as client:
        return await client.get("/")


async def test_a_certificate_in_its_time_is_taken_whatever_the_system_clock_shows() -> None:
    collector = Collector()
    later = collector.authority.server_context(began=-DAY, ends=2 * DAY)  # to the system clock: tomorrow
    async with collector.serve(later):
        tomorrow_s = NOW_S + 1.5 * DAY.total_seconds()
        context = verifying_context(collector.authority.der, lambda: tomorrow_s)
        assert (await ask(collector, context)).status_code == 204
        with pytest.raises(httpx.HTTPError):
            await ask(collector, verifying_context(collector.authority.der))
    assert len(collector.requests) == 1


@pytest.mark.parametrize(("off_s", "reason"), [(DECADE_S, "expired"), (-DECADE_S, "not-yet-valid")])
async def test_a_certificate_out_of_its_time_gets_not_one_byte(off_s: float, reason: str) -> None:
    async with Collector().serve() as collector:
        with pytest.raises(httpx.HTTPError) as caught:
            await ask(collector, verifying_context(collector.authority.der, lambda: NOW_S + off_s))
    told = explain(collector.url, caught.value)
    assert isinstance(told, CollectorNotTrusted)
    assert told.reason == reason
    assert collector.requests == []


@pytest.mark.parametrize("wrong", ["name", "ca", "self-signed"])
async def test_everything_else_is_verified_while_the_time_is_unknown(wrong: str) -> None:
    collector = Collector()
    trusted = Authority.make() if wrong == "ca" else collector.authority
    names = ("other.example",) if wrong == "name" else ("127.0.0.1",)
    context = collector.authority.server_context(names=names, self_signed=wrong == "self-signed")
    async with collector.serve(context):
        with pytest.raises(httpx.HTTPError) as caught:
            await ask(collector, verifying_context(trusted.der, lambda: None))
    assert isinstance(explain(collector.url, caught.value), CollectorNotTrusted)
    assert collector.requests == []


async def test_a_certificate_can_be_judged_once_the_time_is_known() -> None:
    async with Collector().serve() as collector:
        collector.script.append(Answer(204))
        context = verifying_context(collector.authority.der, lambda: None)
        async with httpx.AsyncClient(verify=context, trust_env=False, base_url=collector.url) as client:
            answer = await client.get("/")
            connection = answer.extensions["network_stream"].get_extra_info("ssl_object")
            certificate = connection.getpeercert()
            check_time(certificate, NOW_S)
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                check_time(certificate, NOW_S + DECADE_S)
