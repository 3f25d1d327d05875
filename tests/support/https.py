"""A small HTTPS server for tests, which plays a collector and misbehaves when it is told to."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_csr

from models.batch import Columns
from models.command import CommandKey
from models.envelope import (
    STANDARD,
    CollectorPrivateKey,
    ContentKey,
    EnvelopeRefused,
    Origin,
    envelope_digest,
    open_envelope,
    open_package,
    read_header,
)
from models.protocol import (
    CLOCK_HEADER,
    PROBLEM,
    EnrollmentToken,
    EnrollRequest,
    collector_key_statement,
    command_key_statement,
)
from models.reading import Event, Item, Quality, Reading, Reason
from tests.support.certificates import DAY, Authority


@dataclass(frozen=True, slots=True)
class Request:
    """What came in."""

    method: str
    path: str
    body: bytes
    has_certificate: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out; without a status the connection ends and nothing goes out."""

    status: int | None
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Scripted = Answer | Callable[[Answer], Answer]

LOST = Answer(None)
COMMANDS = "/gateway/v1/commands"


def problem(status: int, code: str, **more: object) -> Answer:
    body = {"type": PROBLEM + code, "status": status, "detail": f"it is {code}", **more}
    return Answer(status, json.dumps(body).encode(), (("content-type", "application/problem+json"),))


def busy(retry_after_s: int) -> Answer:
    return Answer(503, b"", (("retry-after", str(retry_after_s)),))


@dataclass
class Collector:
    """Opens, checks and keeps what gateways send. `script` answers the next requests in its place.

    An answer in `script` may be a function of the true answer: then the request has had its effect.
    """

    authority: Authority = field(default_factory=Authority.make)
    secret: str = "s3cret-of-one-use"
    gateway_id: str = "gw-1"
    certificates_end: timedelta = DAY
    script: deque[Scripted] = field(default_factory=deque)
    refuse_item: Callable[[Item], bool] = field(default=lambda item: False)
    say_bad_seq: bool = False
    requests: list[Request] = field(default_factory=list)
    payload_bytes: int = 0
    public_key: Ed25519PublicKey | None = None
    private_key: CollectorPrivateKey = field(default_factory=CollectorPrivateKey.generate)
    command_key: CommandKey = field(default_factory=CommandKey.generate)
    keys: dict[bytes, ContentKey] = field(default_factory=dict)
    bodies: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    items: dict[tuple[bytes, int], Item] = field(default_factory=dict)  # by epoch and sequence number
    missing: list[tuple[int, int]] = field(default_factory=list)
    url: str = ""
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def token(self) -> EnrollmentToken:
        return EnrollmentToken(url=self.url, ca_certificate_der=self.authority.der, secret=self.secret)

    async def until(self, condition: Callable[["Collector"], bool]) -> None:
        """Wait until a request has been answered after which the condition holds."""
        async with asyncio.timeout(60):
            while not condition(self):
                self._answered.clear()
                await self._answered.wait()

    def paths(self) -> list[str]:
        """What was asked for, without the names of keys."""
        return [
            f"{r.method} {r.path.rpartition('/')[0] if '/keys/' in r.path else r.path}" for r in self.requests
        ]

    def values(self) -> list[float | None]:
        """The values of all readings, in the order of their numbers, epoch by epoch as they came."""
        return [item.value for item in self.items.values() if isinstance(item, Reading)]

    def events(self) -> list[Event]:
        return [item for item in self.items.values() if isinstance(item, Event)]

    @contextlib.asynccontextmanager
    async def serve(self, context: ssl.SSLContext | None = None) -> AsyncIterator["Collector"]:
        """Listen on a free port until the end of the block."""
        conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            conversations[task] = writer
            try:
                with contextlib.suppress(asyncio.CancelledError):  # the end of the block; asyncio minds it
                    await self._talk(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError, ssl.SSLError):
                    await writer.wait_closed()
                del conversations[task]

        server = await asyncio.start_server(
            connected,
            "127.0.0.1",
            0,
            ssl=context or self.authority.server_context(),
            ssl_handshake_timeout=10,
        )
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            tasks = dict(conversations)
            for writer in tasks.values():
                writer.transport.abort()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            while (request := await self._read(reader, writer)) is not None:
                if request.path.startswith(COMMANDS):
                    await asyncio.Event().wait()  # this collector has none to give: the question stays open
                answer = self._answer(request)
                if answer.status is None:
                    return
                head = [f"HTTP/1.1 {answer.status} x", f"content-length: {len(answer.body)}"]
                head += [f"{name}: {value}" for name, value in answer.headers]
                writer.write("\r\n".join([*head, "", ""]).encode() + answer.body)
                await writer.drain()
                self._answered.set()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        line = await reader.readline()
        if not line:
            return None
        method, path, _ = line.decode().split()
        length = 0
        while (header := (await reader.readline()).decode().strip()) != "":
            name, _, value = header.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        body = await reader.readexactly(length)
        self.payload_bytes += length
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        request = Request(method, path, body, bool(tls.getpeercert(binary_form=True)))
        if not path.startswith(COMMANDS):
            self.requests.append(request)
        return request

    def _answer(self, request: Request) -> Answer:
        scripted = self.script.popleft() if self.script else None
        if isinstance(scripted, Answer):
            return scripted
        answer = self._true_answer(request)
        return scripted(answer) if scripted is not None else answer

    def _true_answer(self, request: Request) -> Answer:
        if request.path == "/gateway/v1/enroll":
            return self._enroll(request)
        if request.path == "/gateway/v1/return":
            return Answer(200, json.dumps({"state": "waiting", "code": "x"}).encode())
        if not request.has_certificate:
            return problem(401, "no-certificate")
        if request.path == "/gateway/v1/time":
            return Answer(204, headers=((CLOCK_HEADER, str(self.now_ms())),))
        try:
            if request.path.startswith("/gateway/v1/keys/"):
                return self._keep_key(request)
            return self._keep_batch(request)
        except EnvelopeRefused as err:
            return problem(400 if err.code == "malformed" else 422, err.code)

    def _enroll(self, request: Request) -> Answer:
        wanted = EnrollRequest.model_validate_json(request.body)
        if wanted.secret != self.secret:
            return problem(403, "token-unknown")
        key = load_pem_x509_csr(wanted.csr_pem.encode()).public_key()
        assert isinstance(key, Ed25519PublicKey)
        self.public_key = key
        answer = {
            "gateway_id": self.gateway_id,
            "site_code": "a1",
            "certificate_pem": self.authority.certify(
                wanted.csr_pem, self.gateway_id, ends=self.certificates_end
            ),
            "suite": STANDARD.name,
            "collector_key": base64.b64encode(self.private_key.public_bytes()).decode(),
            "collector_key_proof": base64.b64encode(
                self.authority.key.sign(
                    collector_key_statement(self.gateway_id, STANDARD.name, self.private_key.public_bytes()),
                    ec.ECDSA(hashes.SHA256()),
                )
            ).decode(),
            "command_key": base64.b64encode(self.command_key.public_bytes()).decode(),
            "command_key_proof": base64.b64encode(
                self.authority.key.sign(
                    command_key_statement(self.gateway_id, self.command_key.public_bytes()),
                    ec.ECDSA(hashes.SHA256()),
                )
            ).decode(),
        }
        return Answer(201, json.dumps(answer).encode())

    @property
    def _origin(self) -> Origin:
        assert self.public_key is not None
        return Origin(self.gateway_id, STANDARD, self.public_key.public_bytes_raw())

    def _keep_key(self, request: Request) -> Answer:
        key = open_package(request.body, origin=self._origin, private_keys=[self.private_key])
        assert request.path.endswith(key.key_id.hex())
        self.keys[key.key_id] = key
        return Answer(204)

    def _keep_batch(self, request: Request) -> Answer:
        key = self.keys.get(read_header(request.body).key_id)
        if key is None:
            return problem(409, "unknown-key")
        header, columns = open_envelope(request.body, origin=self._origin, content_key=key)
        items = _items(columns, header.first_seq)
        for seq, item in items.items():
            if self.refuse_item(item):
                return problem(422, "refused", **({"bad_seq": seq} if self.say_bad_seq else {}))
        already = (header.epoch, header.number) in self.bodies
        if already and self.bodies[header.epoch, header.number] != request.body:
            return problem(409, "chain-broken")
        self.bodies[header.epoch, header.number] = request.body
        self.items.update({(header.epoch, seq): item for seq, item in items.items()})
        receipt = {
            "epoch": header.epoch.hex(),
            "number": header.number,
            "digest": envelope_digest(request.body).hex(),
            "stored": header.count,
            "already": already,
            "quarantined": [],
            "high_water": header.last_seq,
            "missing": self.missing,
        }
        return Answer(200, json.dumps(receipt).encode())


def _items(columns: Columns, first_seq: int) -> dict[int, Item]:
    items: dict[int, Item] = {first_seq + offset: event for offset, event in columns.events}
    for row, offset in enumerate(columns.offset):
        device_id, point = columns.series[columns.series_index[row]]
        items[first_seq + offset] = Reading(
            device_id=device_id,
            point=point,
            value=columns.value[row],
            quality=Quality(columns.quality[row]),
            reason=Reason(columns.reason[row]),
            measured_ms=columns.measured_ms[row],
            received_ms=columns.received_ms[row],
        )
    return dict(sorted(items.items()))


def as_it_is(answer: Answer) -> Answer:
    """In a script: answer truly."""
    return answer


def but_lost(answer: Answer) -> Answer:
    """In a script: take what came, and let the answer get lost."""
    return LOST
