"""What goes out over the socket to a server that cannot prove who it is: its handshake, nothing of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.identity.certificates import next_key_request
from edge_agent.identity.enroll import enroll
from edge_agent.identity.folder import Identity
from edge_agent.proxy import proxy_from
from edge_agent.tls import CollectorNotTrusted
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import Questions
from edge_agent.uplink.returning import ask_to_return
from models.protocol import NextKeyRequest
from tests.support.certificates import WRONG_SERVERS
from tests.support.clocks import settle
from tests.support.https import Collector
from tests.support.proxies import ConnectProxy

HANDSHAKE, CHANGE_CIPHER, ALERT, ENCRYPTED = 22, 20, 21, 23
ENCRYPTED_ALERT_BYTES = 2 + 1 + 16  # an alert, its type, and the tag of the cipher


def encrypted_bytes(sent: bytes) -> list[int]:
    """The sizes of all TLS records (RFC 8446, 5.1) that may hold more than the hello."""
    found = []
    while sent:
        kind, size = sent[0], int.from_bytes(sent[3:5], "big")
        assert kind in (HANDSHAKE, CHANGE_CIPHER, ALERT, ENCRYPTED)
        if kind == ENCRYPTED:
            found.append(size)
        sent = sent[5 + size :]
    return found


async def renewing(collector: Collector, identity: Identity, request: NextKeyRequest, proxy: str) -> None:
    carrier = HttpsCarrier(identity, proxy=proxy_from(proxy, None))
    try:
        await Questions(carrier, identity, lambda: 0).renew(request)
    finally:
        await carrier.close()


async def returning(collector: Collector, identity: Identity, request: NextKeyRequest, proxy: str) -> None:
    await ask_to_return(identity, request, proxy=proxy_from(proxy, None))


async def enrolling(collector: Collector, identity: Identity, request: NextKeyRequest, proxy: str) -> None:
    again = identity.folder.parent / "again"
    await asyncio.to_thread(enroll, collector.token, state_dir=again, proxy=proxy_from(proxy, None))


Ask = Callable[[Collector, Identity, NextKeyRequest, str], Awaitable[None]]


@pytest.mark.parametrize("reason", WRONG_SERVERS)
@pytest.mark.parametrize("ask", [enrolling, renewing, returning], ids=lambda ask: ask.__name__)
async def test_a_wrong_server_gets_not_one_byte_of_a_question_about_identity(
    tmp_path: Path, ask: Ask, reason: str
) -> None:
    collector = Collector(certificates_end=timedelta(days=1))
    async with collector.serve():
        right = urlsplit(collector.url)
        identity = await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path)
        url = collector.url
    request = next_key_request("gw-1", identity.signing_key, Ed25519PrivateKey.generate())
    collector.requests.clear()
    collector.payload_bytes = 0
    async with collector.serve(WRONG_SERVERS[reason](collector.authority)):
        elsewhere = (urlsplit(collector.url).hostname or "", urlsplit(collector.url).port or 0)
        collector.url = url  # where the identity and the token still lead to
        async with ConnectProxy(elsewhere=elsewhere).serve() as proxy:
            with pytest.raises(CollectorNotTrusted) as refused:
                await ask(collector, identity, request, proxy.url)
            await settle()
            sent = bytes(proxy.passed)
    assert refused.value.reason == reason
    assert right.port is not None
    assert (collector.requests, collector.payload_bytes) == ([], 0)
    assert sent[0] == HANDSHAKE
    # No client certificate, no question: no more than the alert that ends it.
    assert all(size <= ENCRYPTED_ALERT_BYTES for size in encrypted_bytes(sent))
    for secret in (collector.secret, request.proof, "gw-1"):
        assert secret.encode() not in sent


async def test_the_right_server_gets_its_question_by_the_same_way(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    collector = Collector(certificates_end=timedelta(days=1))
    async with collector.serve():
        identity = await asyncio.to_thread(enroll, collector.token, state_dir=tmp_path)
        request = next_key_request("gw-1", identity.signing_key, Ed25519PrivateKey.generate())
        async with ConnectProxy().serve() as proxy:
            await returning(collector, identity, request, proxy.url)
            assert max(encrypted_bytes(bytes(proxy.passed))) > ENCRYPTED_ALERT_BYTES
