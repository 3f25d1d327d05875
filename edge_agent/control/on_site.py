"""The door for whoever stands at the gateway: a socket in the state folder, for its owner and root alone.

A question is one line of JSON, and so is the answer. Who asks is told by the kernel and not by the asker.
"""

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from drivers.contract import Exchange
from edge_agent.reconfigure import Reloaded
from edge_agent.stick.stick import SealedUp, Settled
from models.command import Outcome
from models.errors import NeedsAHuman
from models.reading import Reading

SOCKET: Final = "control.sock"
MOST_QUESTION: Final = 65_536  # bytes
MOST_CONVERSATIONS: Final = 8
QUESTION_LIMIT_S: Final = 5.0  # in real time, for whoever connects and says nothing

_PEER: Final = struct.Struct("3i")  # SO_PEERCRED: process, user, group
_NO_LOGIN: Final = 0xFFFF_FFFF


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wanted of a device, or of the agent. Arguments may be secret: no `repr` shows them."""

    do: Literal["act", "read", "reload", "seal", "settle", "confirm-time"]
    device: str = ""
    action: str = ""
    arguments: dict[str, Any] = {}
    why: str = ""  # of a change, for the record
    collector: str = ""  # whose batches are to be sealed or settled
    until: int = 0  # as for `edge_agent.stick.stick.Stick.seal`
    statement: str = ""  # base64, as for `Stick.settle`

    def __repr__(self) -> str:
        return f"Question(do={self.do!r}, device={self.device!r}, action={self.action!r})"


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it. With `error`, nothing was done; `code` says why to programs."""

    error: str = ""
    code: str = ""
    buses: list[str] = []  # that the agent has, where it does not know the device
    state: str = ""
    outcome: Outcome | None = None
    readings: list[Reading] = []
    exchanges: list[Exchange] = []
    reloaded: Reloaded | None = None
    sealed: SealedUp | None = None
    settled: Settled | None = None


class Peer(NamedTuple):
    """Who is at the other end, as the kernel knows it."""

    uid: int
    login: int | None  # the user that logged in, where that is another one than `uid`

    @property
    def name(self) -> str:
        """For the record, such as `li (uid 1000)` or `li (uid 1000) as root`."""
        if self.login is None:
            return f"{_user(self.uid)} (uid {self.uid})"
        return f"{_user(self.login)} (uid {self.login}) as {_user(self.uid)}"


class SocketTaken(NeedsAHuman):
    """The socket cannot be made."""


Answerer = Callable[[Question, Peer], Awaitable[Answer]]


@contextlib.asynccontextmanager
async def serve_on_site(path: Path, answerer: Answerer) -> AsyncIterator[None]:
    """Answer at `path` until the end of the block. One that a killed agent left is replaced."""
    conversations: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(conversations) >= MOST_CONVERSATIONS:
            writer.close()
            return
        conversations.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
                await _converse(reader, writer, answerer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            conversations.discard(task)

    listener = _bound(path)
    server = await asyncio.start_unix_server(
        connected, sock=listener, limit=MOST_QUESTION, start_serving=False
    )
    try:
        await server.start_serving()  # in here, for it may be cancelled
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240  # a folder of ours on a local disk
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        await server.wait_closed()


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for `path` of few characters, however deep it lies: a socket's has at most 107."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer_of(connection: Any) -> Peer:
    """Who has opened this connection. `connection` is a socket, or what stands for one in asyncio."""
    pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return Peer(uid, login_of(pid, uid))


def login_of(pid: int | Literal["self"], uid: int) -> int | None:
    """The user that logged in before he became `uid`; None when he did not, or nobody knows."""
    login = _NO_LOGIN
    with contextlib.suppress(OSError, ValueError):  # no such thing in a container, or it has ended
        login = int(Path(f"/proc/{pid}/loginuid").read_text())
    return None if login in (_NO_LOGIN, uid) else login


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_name(path) as name:
            listener.bind(name)
        path.chmod(0o600)  # who came in before is asked who he is all the same
    except OSError as err:
        listener.close()
        raise SocketTaken(f"{path}: {err.strerror}; is the folder writable?") from err
    return listener


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answerer: Answerer) -> None:
    peer = peer_of(writer.get_extra_info("socket"))
    if peer.uid not in (0, os.geteuid()):
        answer = Answer(error="only root and the user that the agent runs as may ask", code="not-you")
    else:
        async with asyncio.timeout(QUESTION_LIMIT_S):
            line = await reader.readuntil(b"\n")
        try:
            question = msgspec.json.decode(line, type=Question)
        except (msgspec.MsgspecError, RecursionError) as err:
            answer = Answer(error=f"not a question: {err}", code="malformed")
        else:
            answer = await answerer(question, peer)
    writer.write(msgspec.json.encode(answer) + b"\n")
    await writer.drain()


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "user"
