"""The way to a collector, step by step: name, port, TLS, an answer to a question of this gateway."""

import asyncio
import base64
import hashlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene
from edge_agent.doctor.time import judged_offset
from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.tls import CollectorNotTrusted, explain
from edge_agent.uplink.carriers import make_carrier, proxy_of
from edge_agent.uplink.https import HttpsCarrier
from edge_agent.uplink.questions import CollectorBusy, CollectorRefused, Questions
from models.errors import GatehouseError
from models.protocol import Code

CONNECT_LIMIT_S: Final = 3.0
ANSWER_LIMIT_S: Final = 3.0

MOST_HEAD: Final = 16_384  # bytes of a proxy's answer

NAMES: Final = (
    "collector.proxy",
    "collector.dns",
    "collector.tcp",
    "collector.tls",
    "collector.answer",
    "clock.offset",
)
_PROXIES: Final = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
_REVOKED_HINT = "ask the collector's people; if the gateway is to send again: edge-agent enroll --again TOKEN"


def way(scene: Scene, name: str, identity: Identity) -> Iterator[Finding]:
    """Each step only when the one before it went well; the rest is skipped."""
    settings = scene.settings_of(name)
    if settings is not None and settings.carrier == "stick":
        for step in NAMES:
            yield skipped(step, "batches go there on a stick: edge-agent export", subject=name)
        return
    steps = iter(NAMES)
    for finding in _steps(scene, name, identity):
        yield finding
        next(steps)
        if finding.state == "problem":
            why = f"{finding.check} must work first"
            yield from (skipped(step, why, subject=name) for step in steps)
            return


def no_way(_: Scene, name: str) -> Iterator[Finding]:
    """Of a collector at which the gateway is not enrolled: where it is stands in the identity."""
    for step in NAMES:
        yield skipped(step, "there is no identity that can be used", subject=name)


def _steps(scene: Scene, name: str, identity: Identity) -> Iterator[Finding]:
    settings = scene.settings_of(name)
    url = identity.collector.url
    if settings is not None and settings.carrier == "mqtt" and settings.broker is not None:
        url = settings.broker  # it has a certificate of the collector's CA, and is asked in its place
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 8883)
    proxy = None if settings is None else proxy_of(settings)
    if proxy is None:
        yield _no_proxy(scene, name)
        yield resolved("collector.dns", name, host, port)
        yield reached("collector.tcp", name, host, port)
    else:
        yield _through(proxy, name, host, port)
        yield skipped("collector.dns", f"the proxy {proxy} looks it up", subject=name)
        yield skipped("collector.tcp", f"the proxy {proxy} connects", subject=name)
    yield _trusted(name, identity, url, host, port, proxy)
    finding, offset_ms = _answered(scene, name, identity)
    yield finding
    if offset_ms is not None:
        yield judged_offset(offset_ms, synchronised=scene.host.is_synchronised(), subject=name)


def _no_proxy(scene: Scene, name: str) -> Finding:
    named = sorted(variable for variable in _PROXIES if scene.host.environment.get(variable))
    why = "none is configured"
    if named:  # their values may hold a password
        why += f"; {', '.join(named)} of this shell are for other programs: set uplink.proxy if it is needed"
    return skipped("collector.proxy", why, subject=name)


def _through(proxy: Proxy, name: str, host: str, port: int) -> Finding:
    """Whether the proxy is there and lets the gateway through to the collector."""
    try:
        connected(host, port, proxy).close()
    except TunnelRefused as err:
        hint = "write user:password into uplink.proxy_login_file" if err.status == 407 else "ask who runs it"
        return problem("collector.proxy", str(err), hint, subject=name, facts={"status": err.status})
    except (OSError, UnicodeError) as err:
        seen = f"{proxy}: {getattr(err, 'strerror', None) or err}"
        return problem("collector.proxy", seen, "correct uplink.proxy, or start the proxy", subject=name)
    return ok("collector.proxy", f"{proxy} connects to {host} port {port}", subject=name)


class TunnelRefused(OSError):
    """A proxy does not connect to the collector."""

    def __init__(self, proxy: Proxy, status: int, line: str) -> None:
        super().__init__(f"{proxy}: {line}")
        self.status = status


def connected(host: str, port: int, proxy: Proxy | None) -> socket.socket:
    """A connection to the collector. Raise OSError."""
    if proxy is None:
        return socket.create_connection((host, port), timeout=CONNECT_LIMIT_S)
    connection = socket.create_connection(proxy.address, timeout=CONNECT_LIMIT_S)
    try:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if proxy.login is not None:
            login = base64.b64encode(":".join(proxy.login).encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {login}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < MOST_HEAD:
            byte = connection.recv(1)  # what follows the head is TLS
            if not byte:
                break
            head += byte
        line = head.partition(b"\r\n")[0].decode("latin-1")
        status = line.split(" ")[1] if line.count(" ") else ""
        if status != "200":
            raise TunnelRefused(proxy, int(status) if status.isdecimal() else 0, line or "no answer")
    except BaseException:
        connection.close()
        raise
    return connection


def resolved(check: str, subject: str, host: str, port: int) -> Finding:
    """Whether `host` has an address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        told = getattr(err, "strerror", None) or str(err)
        hint = "check the name, the cable, and the name servers in /etc/resolv.conf"
        return problem(check, f"{host}: {told}", hint, subject=subject)
    addresses = sorted({str(address[0]) for *_, address in found})
    return ok(check, f"{host} is {', '.join(addresses)}", subject=subject, facts={"addresses": addresses})


def reached(check: str, subject: str, host: str, port: int) -> Finding:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_LIMIT_S):
            return ok(check, f"{host} port {port} answers", subject=subject)
    except TimeoutError:
        seen = f"{host} port {port}: no answer within {CONNECT_LIMIT_S:g} s"
        hint = "a firewall drops it, or the address is wrong: try from another machine of this network"
    except ConnectionRefusedError:
        seen = f"{host} port {port}: refused"
        hint = "the machine is there, and nothing listens at this port: start it there, or correct the port"
    except OSError as err:
        seen = f"{host} port {port}: {err.strerror or err}"
        hint = "check cable, address and route: ip route"
    return problem(check, seen, hint, subject=subject)


def _trusted(name: str, identity: Identity, url: str, host: str, port: int, proxy: Proxy | None) -> Finding:
    """Verified as the agent itself does it. Nothing is sent."""
    try:
        with (
            connected(host, port, proxy) as plain,
            identity.ssl_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            der = secured.getpeercert(binary_form=True) or b""
            seen = f"{secured.version()}; shown: {_described(der)}"
            return ok("collector.tls", seen, subject=name, facts={"shown": _facts(der)})
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        told = explain(url, err)
    shown = _shown_by(host, port) if proxy is None else b""
    seen = told.detail + (f"; shown: {_described(shown)}" if shown else "")
    hint = told.hint if isinstance(told, CollectorNotTrusted) else "something else answers at this port"
    return problem("collector.tls", seen, hint, subject=name, facts={"shown": _facts(shown)})


def _shown_by(host: str, port: int) -> bytes:
    """The certificate of whoever answers, to name him. He gets nothing: neither ours nor a byte after it."""
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port), timeout=CONNECT_LIMIT_S))
    except (OSError, ValueError):
        return b""


def _described(der: bytes) -> str:
    facts = _facts(der)
    if not facts:
        return "a certificate that cannot be read"
    return f"{facts['subject']}, issued by {facts['issuer']}, until {str(facts['ends'])[:10]}"


def _facts(der: bytes) -> dict[str, object]:
    try:
        found = x509.load_der_x509_certificate(der)
        return {
            "subject": found.subject.rfc4514_string(),
            "issuer": found.issuer.rfc4514_string(),
            "begins": found.not_valid_before_utc.isoformat(),
            "ends": found.not_valid_after_utc.isoformat(),
            "sha256": hashlib.sha256(der).hexdigest(),
        }
    except ValueError:
        return {}


def _answered(scene: Scene, name: str, identity: Identity) -> tuple[Finding, int | None]:
    """Ask for the time, with the certificate of this gateway. The offset in ms, where the answer has it."""
    try:
        collector_ms, here_ms, took_ms = asyncio.run(_ask(scene, identity))
    except CollectorRefused as err:
        hint = _REVOKED_HINT if err.code in (Code.REVOKED, Code.NO_CERTIFICATE) else "update this agent"
        return problem("collector.answer", str(err), hint, subject=name, facts={"code": err.code}), None
    except CollectorBusy as err:
        return warning("collector.answer", str(err), "wait; it takes all later", subject=name), None
    except TimeoutError:
        seen = f"no answer to a question within {ANSWER_LIMIT_S:g} s"
        return problem("collector.answer", seen, "look at the collector's log", subject=name), None
    except GatehouseError as err:
        hint = "it may not accept the certificate of this gateway; look at the collector's log"
        return problem("collector.answer", str(err), hint, subject=name), None
    seen = f"knows this gateway, and answered in {took_ms} ms"
    finding = ok("collector.answer", seen, subject=name, facts={"took_ms": took_ms})
    return finding, here_ms - collector_ms


async def _ask(scene: Scene, identity: Identity) -> tuple[int, int, int]:
    settings = scene.settings_of(identity.folder.name)
    carrier = HttpsCarrier(identity) if settings is None else make_carrier(identity, settings, None)
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            asked_ms = scene.host.now_ms()
            told = await Questions(carrier, identity, scene.host.now_ms).ask_time()
            took_ms = scene.host.now_ms() - asked_ms
            return told.collector_ms, asked_ms + took_ms // 2, took_ms
    finally:
        await carrier.close()
