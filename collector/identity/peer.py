"""Which gateway is at the other end of a connection, as TLS has proved it."""

import asyncio
import functools
import ssl
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from models.signing import KeyUnusable, key_bytes

_KEY = "tls"  # the name that the ASGI extension for TLS uses
BROKER: Final = "gatehouse.broker"
"""The ASGI extension for what came by a broker, which has checked the certificate; `gateway_id` in it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What the client certificate says. That our authority issued it was checked in the handshake.

    Whether it is in its time is for whoever asks: a connection may outlive its certificate, and a gateway
    whose certificate has ended is to be told so.
    """

    gateway_id: str
    public_key: bytes
    certificate: bytes  # DER
    begins_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class BrokerPeer:
    """Who asks by a broker, which has checked the certificate and tells its name alone."""

    gateway_id: str


class PeerCertificateProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also tells the application the client's certificate."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_KEY] = {"client_cert_der": der}
            await inner(scope, receive, send)

        self.app = app


def is_behind_tls(scope: Any) -> bool:
    """Whether the request came by TLS to this very process, and not by the plain door for this machine."""
    return _KEY in (scope.get("extensions") or {})


def peer_of(scope: Any) -> Peer | BrokerPeer | None:
    """The gateway that sends this request; None when it has shown no certificate."""
    extensions = scope.get("extensions") or {}
    if BROKER in extensions:
        return BrokerPeer(extensions[BROKER]["gateway_id"])
    der = extensions.get(_KEY, {}).get("client_cert_der")
    return None if der is None else _peer(der)


@functools.lru_cache(maxsize=1024)
def _peer(der: bytes) -> Peer | None:
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    times = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    begins_ms, ends_ms = (round(time.timestamp() * 1000) for time in times)
    try:
        key = key_bytes(certificate.public_key())
    except KeyUnusable:
        return None
    return Peer(str(names[0].value), key, der, begins_ms, ends_ms) if len(names) == 1 else None
