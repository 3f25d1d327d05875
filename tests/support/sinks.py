"""Receivers of alerts that really listen: a mail server and a web server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

from aiosmtpd.smtp import SMTP


@dataclass
class Post:
    """One request as it came over the wire."""

    headers: dict[str, str]
    body: bytes


@dataclass
class WebSink:
    """A web server that keeps what is posted to it, and answers what the test tells it to."""

    port: int = 0
    status: int = 200
    posts: list[Post] = field(default_factory=list)
    silent: bool = False
    posted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=not-for-logs"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.posts.append(Post(headers, body))
                self.posted.set()
                if self.silent:
                    await reader.read()  # until the other side gives up
                    break
                writer.write(f"HTTP/1.1 {self.status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def web_sinks() -> AsyncIterator[Callable[[], Awaitable[WebSink]]]:
    """Opens any number of web servers."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_sink() -> WebSink:
            sink = WebSink()
            server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
            await stack.enter_async_context(server)
            sink.port = server.sockets[0].getsockname()[1]
            return sink

        yield open_sink


@dataclass
class MailSink:
    """A mail server that keeps what it takes."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # by recipient: what is answered
    answer: str = "250 OK"

    async def handle_RCPT(  # the library's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=modern)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return self.answer


@contextlib.asynccontextmanager
async def open_mail_sink() -> AsyncIterator[MailSink]:
    sink = MailSink()
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: SMTP(sink, hostname="sink"), "127.0.0.1", 0) as server:
        sink.port = server.sockets[0].getsockname()[1]
        yield sink
