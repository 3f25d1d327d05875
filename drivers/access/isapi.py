"""Asks a door controller by HTTP: its log, its clock, its doors, the people it knows.

The password travels as a digest alone: a controller that wants it in clear gets nothing. Its certificate is
checked, redirections are not followed, and neither bodies nor passwords are in any message.
"""

import asyncio
import contextlib
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, timezone
from typing import Any, Final

import httpx
import msgspec

from drivers.access.errors import BadBody, NotLetIn, NotOffered, NotReached, SaidNo
from drivers.access.heard import Page, read_fields, read_page, when_ms, zone_of
from drivers.contract import DeviceUnreachable

MOST_ANSWER: Final = 4_000_000  # bytes; a page of 1000 events has 1 MB
CONNECT_TIMEOUT_S: Final = 5.0

_STREAM: Final = "/ISAPI/Event/notification/alertStream"
_LOG: Final = "/ISAPI/AccessControl/AcsEvent?format=json"
_TIME: Final = "/ISAPI/System/time"
_NOT_OFFERED: Final = ("notsupport", "methodnotallowed", "invalidoperation", "badurlformat")


class Isapi:
    """One controller. Every method raises DeviceUnreachable, NotLetIn, NotOffered, BadBody or SaidNo."""

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        certificates: ssl.SSLContext,
        reply_timeout_s: float,
    ) -> None:
        """`certificates` checks the controller, if `url` is https."""
        self.endpoint = url
        self.zone: timezone = UTC  # of the controller's clock, once it has told it
        self._timeout = httpx.Timeout(reply_timeout_s, connect=min(CONNECT_TIMEOUT_S, reply_timeout_s))
        self._limit_s = reply_timeout_s + CONNECT_TIMEOUT_S
        self._auth, self._certificates = httpx.DigestAuth(username, password), certificates
        self._opened: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Let go of all connections. Another request opens new ones."""
        client, self._opened = self._opened, None
        if client is not None:
            await client.aclose()

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._opened is None:
            self._opened = httpx.AsyncClient(
                base_url=self.endpoint,
                auth=self._auth,
                verify=self._certificates,
                trust_env=False,  # no proxy and no password from the environment
                headers={"accept-encoding": "identity"},  # nothing that grows when it is unpacked
                limits=httpx.Limits(max_connections=4, max_keepalive_connections=1),
            )
        return self._opened

    async def search_log(self, *, begin: int, position: int, count: int, search: str) -> Page:
        """The events from serial number `begin` on, `position` of them left out, at most `count`."""
        condition = {
            "searchID": search,
            "searchResultPosition": position,
            "maxResults": count,
            "major": 0,  # of all kinds: a hole in the numbers is then always a loss
            "minor": 0,
            "beginSerialNo": begin,
        }
        return read_page(await self.post(_LOG, {"AcsEventCond": condition}), self.zone)

    async def clock_ms(self) -> int:
        """What its clock shows; it tells its time zone by the way."""
        fields = read_fields(await self._send("GET", _TIME))
        shown = fields.get("Time", fields)
        text = shown.get("localTime") if isinstance(shown, dict) else None
        self.zone = zone_of(text) or self.zone
        at_ms = when_ms(text, self.zone)
        if at_ms is None:
            raise BadBody("no time")
        return at_ms

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        """The events as they happen: the Content-Type and the bytes, until the controller ends it.

        Silence is not noticed here: that is for whoever knows how often it should say something.
        """
        with self._explained("alertStream"):
            timeout = httpx.Timeout(self._timeout.connect, read=None)
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(self._limit_s):  # for the head of the answer
                    opening = self._client.stream("GET", _STREAM, timeout=timeout)
                    response = await stack.enter_async_context(opening)
                    await self._check(response, "alertStream")
                yield response.headers.get("content-type", ""), response.aiter_raw()

    async def post(self, path: str, fields: Mapping[str, Any]) -> bytes:
        return await self._send("POST", path, msgspec.json.encode(fields))

    async def put(self, path: str, fields: Mapping[str, Any]) -> bytes:
        return await self._send("PUT", path, msgspec.json.encode(fields))

    async def put_xml(self, path: str, document: str) -> bytes:
        return await self._send("PUT", path, document.encode(), "application/xml")

    async def get(self, path: str) -> bytes:
        return await self._send("GET", path)

    async def _send(
        self, method: str, path: str, content: bytes | None = None, kind: str = "application/json"
    ) -> bytes:
        headers = {} if content is None else {"content-type": kind}
        what = path.partition("?")[0].removeprefix("/ISAPI/")
        with self._explained(what):
            async with (
                asyncio.timeout(self._limit_s),  # of the whole, for one that sends a byte now and then
                self._client.stream(
                    method, path, content=content, headers=headers, timeout=self._timeout
                ) as response,
            ):
                await self._check(response, what)
                return await _body(response)

    async def _check(self, response: httpx.Response, what: str) -> None:
        if response.is_success:
            return
        code = _refusal(await _body(response))
        status = response.status_code
        if status in (404, 405, 501) or code.lower() in _NOT_OFFERED:
            raise NotOffered(self.endpoint, what)
        if status in (401, 403) and not code.lower().startswith("lowprivilege"):
            raise NotLetIn(self.endpoint, status)
        if status >= 500 or status in (408, 429):
            raise DeviceUnreachable(self.endpoint, f"answers {what} with status {status}")
        raise SaidNo(self.endpoint, status, code)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise DeviceUnreachable(self.endpoint, f"no answer to {what} in time") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as err:
            raise NotReached(self.endpoint, _plain(err)) from err
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as err:
            raise DeviceUnreachable(self.endpoint, _plain(err)) from err


def new_search() -> str:
    """A name for a search of its own: the controller keeps a place for each."""
    return uuid.uuid4().hex


def certificates_from(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the CA, or the certificate itself, in that file; without one, those of the system.

    Raises OSError or ssl.SSLError for a file that holds none.
    """
    return ssl.create_default_context(cafile=ca_file)


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MOST_ANSWER:
            raise BadBody("an answer without end")
    return bytes(body)


def _refusal(body: bytes) -> str:
    """The word of a controller for why it refuses; "" when it says none that can be shown."""
    with contextlib.suppress(BadBody):
        fields = read_fields(body)
        status = fields.get("ResponseStatus", fields)
        word = status.get("subStatusCode") if isinstance(status, dict) else None
        if isinstance(word, str) and word.isascii() and word.isalnum() and len(word) <= 60:
            return word
    return ""


def _plain(err: BaseException) -> str:
    """What a failed connection means, found in the chain of its causes."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted ({cause.verify_message})"
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return str(err) or type(err).__name__
