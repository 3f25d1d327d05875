"""Nothing is told to a controller that has not proved who it is, and no secret is in any message."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from drivers.access.errors import BadBody, NotLetIn, NotOffered, NotReached, SaidNo
from drivers.access.isapi import Isapi, certificates_from
from drivers.contract import DeviceUnreachable
from models.times import Clock
from simulators.access.sections import DoorFault
from tests.support.certificates import WRONG_SERVERS, Authority
from tests.support.clocks import settle
from tests.support.doors import a_controller, a_section
from tests.support.pushes import exchange

PASSWORD = "do-not-show-this"


class RawServer:
    """Answers each connection with the same bytes, and keeps what it was told."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.told = answer, b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):  # who asks goes when it has seen enough
                self.told += await reader.read(65_536)
                writer.write(self.answer)
                await writer.drain()
        finally:
            writer.transport.abort()


async def ask(server: RawServer, context: ssl.SSLContext | None, certificates: ssl.SSLContext) -> bytes:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as serving:
        port = serving.sockets[0].getsockname()[1]
        scheme = "http" if context is None else "https"
        isapi = Isapi(
            f"{scheme}://127.0.0.1:{port}", username="u", password=PASSWORD, certificates=certificates,
            reply_timeout_s=3.0,
        )  # fmt: skip
        try:
            return await isapi.get("/ISAPI/System/time")
        finally:
            await isapi.close()
            await settle()  # the server sees that the other side has gone


@pytest.mark.parametrize("kind", WRONG_SERVERS)
async def test_nothing_is_sent_to_a_controller_whose_certificate_is_wrong(kind: str, tmp_path: Path) -> None:
    right = Authority.make()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(right.certificate.public_bytes(Encoding.PEM))
    server = RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NotReached):
        await ask(server, WRONG_SERVERS[kind](right), certificates_from(str(ca_file)))
    assert server.told == b""


async def test_a_controller_with_a_certificate_of_the_given_ca_is_asked(tmp_path: Path) -> None:
    right = Authority.make()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(right.certificate.public_bytes(Encoding.PEM))
    server = RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert await ask(server, right.server_context(), certificates_from(str(ca_file))) == b"{}"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", SaidNo, id="elsewhere"),
        pytest.param(
            b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n', NotLetIn, id="password-in-clear"
        ),
        pytest.param(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", NotLetIn, id="no-challenge"),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", NotOffered, id="not-there"),
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", DeviceUnreachable, id="busy"),
        pytest.param(
            b'HTTP/1.1 403 No\r\nContent-Length: 34\r\n\r\n{"subStatusCode": "notSupport"}   ',
            NotOffered,
            id="not-supported",
        ),
        pytest.param(
            b'HTTP/1.1 400 No\r\nContent-Length: 35\r\n\r\n{"subStatusCode": "badParameters" } ',
            SaidNo,
            id="no",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", DeviceUnreachable, id="broken-off"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", DeviceUnreachable, id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 4_100_000, BadBody, id="without-end"),
    ],
)
async def test_what_a_controller_answers_says_what_can_be_done(answer: bytes, error: type[Exception]) -> None:
    server = RawServer(answer)
    with pytest.raises(error) as caught:
        await ask(server, None, certificates_from(None))
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert PASSWORD.encode() not in server.told
    assert b"Basic" not in server.told


async def test_the_password_is_right_or_it_is_not(clock: Clock) -> None:
    async with a_controller(a_section(), clock) as controller:
        for password, error in ((a_section().password, None), ("wrong", NotLetIn)):
            isapi = Isapi(
                controller.url, username="gateway", password=password, certificates=certificates_from(None),
                reply_timeout_s=3.0,
            )  # fmt: skip
            try:
                if error is None:
                    assert abs(await isapi.clock_ms() - clock.now_ms()) < 5000
                else:
                    with pytest.raises(error):
                        await isapi.clock_ms()
            finally:
                await isapi.close()


async def test_a_controller_that_is_not_there_was_not_reached() -> None:
    async with await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    isapi = Isapi(
        f"http://127.0.0.1:{port}", username="u", password="p", certificates=certificates_from(None),
        reply_timeout_s=3.0,
    )  # fmt: skip
    with pytest.raises(NotReached, match="refused"):
        await isapi.clock_ms()
    await isapi.close()


async def test_a_wrong_answer_of_the_simulator_is_an_answer_all_the_same(clock: Clock) -> None:
    async with a_controller(a_section(), clock) as controller:
        controller.add(DoorFault(kind="refused"))
        port = int(controller.url.rpartition(":")[2])
        answer = await exchange(
            port, [b"GET /ISAPI/System/time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
        )
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"Digest" in answer
