"""Answers what gateways ask by other carriers, through the very addresses that serve HTTPS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from collector.identity.peer import BROKER
from models.protocol import CLOCK_HEADER

ADDRESSES: Final = "/gateway/v1/"
"""A gateway reaches nothing else of the collector."""

_HEADERS: Final = frozenset({CLOCK_HEADER})  # of a question; what else it says means nothing here


@dataclass(frozen=True, slots=True)
class Question:
    """From a gateway whose certificate somebody has checked whom the collector trusts with that."""

    gateway_id: str
    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """As it would go out by HTTPS."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


async def dispatch(app: ASGIApp, question: Question) -> Answer:
    """Good or bad, there is an answer to everything."""
    if not question.path.startswith(ADDRESSES):
        return Answer(404, {}, b"")
    status, headers, body = 500, dict[str, str](), bytearray()
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return {"type": "http.disconnect"}
        is_read = True
        return {"type": "http.request", "body": question.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            for name, value in message["headers"]:
                headers[name.decode("latin-1")] = value.decode("latin-1")
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(_scope(question), receive, send)
    return Answer(status, headers, bytes(body))


def _scope(question: Question) -> Scope:
    path, _, query = question.path.partition("?")
    headers = [(name, value) for name, value in question.headers.items() if name in _HEADERS]
    headers.append(("content-length", str(len(question.body))))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "https",
        "method": question.method,
        "path": unquote(path),
        "raw_path": path.encode("utf-8"),
        "query_string": query.encode("utf-8"),
        "root_path": "",
        "headers": [(name.encode(), value.encode("utf-8")) for name, value in headers],
        "client": None,
        "server": None,
        "extensions": {BROKER: {"gateway_id": question.gateway_id}},
    }
    return scope
