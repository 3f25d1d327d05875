"""A mailbox and a program that is told of alerts: where the messages of the demonstration arrive."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Received:
    """What has arrived so far."""

    mail_port: int = 0
    hook_port: int = 0
    subjects: list[str] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """A mail, as aiosmtpd hands it over."""
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.subjects.append(str(message["Subject"]))
        return "250 taken"

    async def handle_post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a webhook."""
        # A collector that is killed while it sends sends the message again.
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
            length = int(fields["content-length"])
            self.posts.append(json.loads(await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()


@asynccontextmanager
async def sinks() -> AsyncIterator[Received]:
    """Both listen on free ports while the block runs."""
    received = Received()
    hook = await asyncio.start_server(received.handle_post, "127.0.0.1", 0)
    mail = await asyncio.get_running_loop().create_server(lambda: SMTP(received), "127.0.0.1", 0)
    received.hook_port = hook.sockets[0].getsockname()[1]
    received.mail_port = mail.sockets[0].getsockname()[1]
    try:
        yield received
    finally:
        hook.close()
        mail.close()
