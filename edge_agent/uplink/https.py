"""Carries envelopes over HTTPS with the gateway's certificate."""

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

import httpx
from pydantic import ValidationError

from edge_agent.identity.folder import Identity
from edge_agent.problems import problem_of
from edge_agent.tls import CollectorUnreachable, check_time, explain
from edge_agent.uplink.carrier import CollectorBusy, CollectorRefused, Told
from models.protocol import CLOCK_HEADER, CommandOffer, Receipt

CONNECT_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 60.0  # a collector under load answers late; sooner would only add to its load
MAX_RETRY_AFTER_S = 3600.0
BUSY_PAUSE_S = 5.0  # where a busy collector names no time


class HttpsCarrier:
    """See `edge_agent.uplink.carrier.Carrier`."""

    heard: Told | None = None

    def __init__(
        self,
        identity: Identity,
        now_ms: Callable[[], int],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        certificates_at_s: Callable[[], float | None] | None = None,
    ) -> None:
        """`certificates_at_s` judges certificates in place of the system clock; None while it is unknown."""
        self._now_ms, self._monotonic_s, self._identity = now_ms, monotonic_s, identity
        self._certificates_at_s = certificates_at_s
        self._url = identity.collector.url
        self._client = httpx.AsyncClient(
            base_url=self._url,
            verify=identity.ssl_context(certificates_at_s),
            trust_env=False,  # no CA, proxy or password from the environment
            timeout=httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
        )

    async def send_key(self, key_id: bytes, package: bytes) -> None:
        await self._send("PUT", f"/gateway/v1/keys/{key_id.hex()}", package)

    async def ask_time(self) -> Told:
        asked_s = self._monotonic_s()
        response = await self._send("GET", "/gateway/v1/time", b"")
        told = _told(response, asked_s)
        if told is None:
            raise CollectorUnreachable(self._url, "it does not tell the time")
        if self._certificates_at_s is not None and self._certificates_at_s() is None:
            self._check_time(response, told.collector_ms / 1000)
        return told

    async def send_batch(self, body: bytes) -> Receipt:
        asked_s = self._monotonic_s()
        response = await self._send("POST", "/gateway/v1/batches", body)
        self.heard = _told(response, asked_s)
        try:
            return Receipt.model_validate_json(response.content)
        except ValidationError:
            raise CollectorUnreachable(self._url, "what answers there is no collector") from None

    async def ask_commands(self, *, got: Sequence[str], everything: bool, wait_s: float) -> list[bytes]:
        """See `edge_agent.control.fetch.Asking`."""
        asked = {"wait_s": f"{wait_s:g}", "got": list(got), "everything": str(everything).lower()}
        response = await self._send("GET", "/gateway/v1/commands?" + urlencode(asked, doseq=True), b"")
        try:
            offer = CommandOffer.model_validate_json(response.content)
            return [base64.b64decode(signed, validate=True) for signed in offer.commands]
        except ValueError:  # pydantic's ValidationError is one
            raise CollectorUnreachable(self._url, "what answers there offers no commands") from None

    async def close(self) -> None:
        await self._client.aclose()

    def _check_time(self, response: httpx.Response, now_s: float) -> None:
        """Take no time from who could not be our collector at that time."""
        try:
            check_time(response.extensions["network_stream"].get_extra_info("ssl_object"), now_s)
        except ssl.SSLCertVerificationError as err:
            raise explain(self._url, err) from err
        if now_s < self._identity.certificate.not_valid_before_utc.timestamp():
            raise CollectorUnreachable(self._url, "it tells a time before this gateway was enrolled")

    async def _send(self, method: str, path: str, body: bytes) -> httpx.Response:
        headers = {"content-type": "application/octet-stream", CLOCK_HEADER: str(self._now_ms())}
        try:
            response = await self._client.request(method, path, content=body, headers=headers)
        except httpx.HTTPError as err:
            raise explain(self._url, err) from err
        if response.is_success:
            return response
        if response.status_code in (429, 503):
            raise CollectorBusy(self._url, retry_after_s(response))
        problem = problem_of(response)
        if response.status_code >= 500:
            raise CollectorUnreachable(self._url, problem.told)
        raise CollectorRefused(self._url, response.status_code, problem.code, problem.told, problem.bad_seq)


def _told(response: httpx.Response, asked_s: float) -> Told | None:
    text = response.headers.get(CLOCK_HEADER, "")
    return Told(int(text), asked_s) if text.isdecimal() and len(text) < 16 else None


def retry_after_s(response: httpx.Response) -> float:
    """The pause that the collector asks for, in seconds."""
    text = response.headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isdecimal() else BUSY_PAUSE_S
