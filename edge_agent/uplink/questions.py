"""What a gateway asks a collector: typed, over any carrier."""

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from pydantic import ValidationError

from edge_agent.identity.folder import Identity
from edge_agent.problems import problem_of
from edge_agent.tls import CollectorUnreachable, check_time, explain
from edge_agent.uplink.carrier import Answer, Carrier, Request
from models.errors import NeedsAHuman, RetryLater
from models.protocol import (
    CLOCK_HEADER,
    CollectorKeyOffer,
    CommandOffer,
    NextKeyRequest,
    Receipt,
    RenewResponse,
)

MAX_RETRY_AFTER_S: Final = 3600.0
BUSY_PAUSE_S: Final = 5.0  # where a busy collector names no time

_BUSY: Final = (429, 503)


class CollectorBusy(RetryLater):
    """The collector asks for a pause."""

    def __init__(self, url: str, retry_after_s: float) -> None:
        super().__init__(f"{url}: the collector is busy and asks for {retry_after_s:g} s")
        self.url, self.retry_after_s = url, retry_after_s


class CollectorRefused(NeedsAHuman):
    """The collector has understood and said no. `code` is of `models.protocol.Code`, or "" for none."""

    def __init__(self, url: str, status: int, code: str, detail: str, bad_seq: int | None = None) -> None:
        super().__init__(f"{url}: refused ({code or status}): {detail}")
        self.url, self.status, self.code, self.detail, self.bad_seq = url, status, code, detail, bad_seq


class Told(NamedTuple):
    """What the collector's clock showed, at some time after it was asked."""

    collector_ms: int  # since 1970
    asked_s: float  # of the gateway's monotonic clock


class Questions:
    """To one collector. Any may be asked again: the collector stores everything once.

    All raise CollectorBusy, CollectorRefused, and what the carrier does.
    """

    heard: Told | None = None
    """The time as of the last answer to `send_batch` that named it."""

    def __init__(
        self,
        carrier: Carrier,
        identity: Identity,
        now_ms: Callable[[], int],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        on_answer: Callable[[float], None] = lambda asked_s: None,
    ) -> None:
        """`on_answer` is called for each question that is answered, with the time when it was asked."""
        self._carrier, self._identity = carrier, identity
        self._now_ms, self._monotonic_s = now_ms, monotonic_s
        self._on_answer = on_answer
        self._url = carrier.url

    async def ask_time(self) -> Told:
        """What the collector's clock shows. While the time is unknown, ask this before anything else."""
        asked_s = self._monotonic_s()
        answer = await self._ask(Request("GET", "/gateway/v1/time"))
        told = _told(answer, asked_s)
        if told is None:
            raise CollectorUnreachable(self._url, "it does not tell the time")
        if answer.unjudged is not None:
            self._check_time(answer, told.collector_ms / 1000)
        return told

    async def ask_collector_key(self) -> CollectorKeyOffer:
        """What content keys are to be sealed to from now on; nobody has vouched for it yet."""
        answer = await self._ask(Request("GET", "/gateway/v1/collector-key"))
        try:
            return CollectorKeyOffer.model_validate_json(answer.body)
        except ValidationError:
            raise CollectorUnreachable(self._url, "what answers there offers no key") from None

    async def send_key(self, key_id: bytes, package: bytes) -> None:
        """Return once the collector keeps the package of a content key."""
        await self._ask(Request("PUT", f"/gateway/v1/keys/{key_id.hex()}", package))

    async def announce(self, gateway_id: str, announcement: bytes) -> None:
        """Return once the collector knows a gateway for which another collector, which asks, forwards."""
        await self._ask(Request("PUT", f"/gateway/v1/forwarded/{gateway_id}", announcement))

    async def send_batch(self, body: bytes, *, after: int | None = None) -> Receipt:
        """Send an envelope; the receipt has not been compared with it yet.

        `after` is of who forwards: it shares no item between that number and this batch.
        """
        asked_s = self._monotonic_s()
        query = "" if after is None else f"?after={after}"
        answer = await self._ask(Request("POST", f"/gateway/v1/batches{query}", body))
        self.heard = _told(answer, asked_s)
        try:
            return Receipt.model_validate_json(answer.body)
        except ValidationError:
            raise CollectorUnreachable(self._url, "what answers there is no collector") from None

    async def ask_commands(self, *, got: Sequence[str], everything: bool, wait_s: float) -> list[bytes]:
        """See `edge_agent.control.fetch.Asking`."""
        asked = {"wait_s": f"{wait_s:g}", "got": list(got), "everything": str(everything).lower()}
        path = "/gateway/v1/commands?" + urlencode(asked, doseq=True)
        answer = await self._ask(Request("GET", path, wait_s=wait_s))
        try:
            offer = CommandOffer.model_validate_json(answer.body)
            return [base64.b64decode(signed, validate=True) for signed in offer.commands]
        except ValueError:  # pydantic's ValidationError is one
            raise CollectorUnreachable(self._url, "what answers there offers no commands") from None

    async def renew(self, request: NextKeyRequest) -> str:
        """The certificate (PEM) for the next key of this gateway."""
        body = request.model_dump_json().encode()
        answer = await self._ask(Request("POST", "/gateway/v1/certificate", body))
        try:
            return RenewResponse.model_validate_json(answer.body).certificate_pem
        except ValidationError:
            raise CollectorUnreachable(self._url, "what answers there gives no certificate") from None

    def _check_time(self, answer: Answer, now_s: float) -> None:
        """Take no time from who could not be our collector at that time."""
        try:
            check_time(answer.unjudged or {}, now_s)
        except ssl.SSLCertVerificationError as err:
            raise explain(self._url, err) from err
        if now_s < self._identity.certificate.not_valid_before_utc.timestamp():
            raise CollectorUnreachable(self._url, "it tells a time before this gateway was enrolled")

    async def _ask(self, request: Request) -> Answer:
        asked_s = self._monotonic_s()
        answer = await self._carrier.exchange(
            Request(
                request.method,
                request.path,
                request.body,
                {CLOCK_HEADER: str(self._now_ms())},
                wait_s=request.wait_s,
            )
        )
        good = checked(self._url, answer)
        self._on_answer(asked_s)
        return good


def checked(url: str, answer: Answer) -> Answer:
    """The answer, if it is a good one. Raise CollectorBusy, CollectorRefused or CollectorUnreachable."""
    if 200 <= answer.status < 300:
        return answer
    if answer.status in _BUSY:
        raise CollectorBusy(url, _retry_after_s(answer))
    problem = problem_of(answer.status, answer.body)
    if answer.status >= 500:
        raise CollectorUnreachable(url, problem.told)
    raise CollectorRefused(url, answer.status, problem.code, problem.told, problem.bad_seq)


def _told(answer: Answer, asked_s: float) -> Told | None:
    text = answer.headers.get(CLOCK_HEADER, "")
    return Told(int(text), asked_s) if _is_number(text) else None


def _retry_after_s(answer: Answer) -> float:
    """The pause that the collector asks for, in seconds."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if _is_number(text) else BUSY_PAUSE_S


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16
