"""Tells other programs: JSON, posted and signed.

The signature is HMAC-SHA256 with the receiver's secret over `TIMESTAMP.BODY`, the timestamp being the text
of the header `Gatehouse-Timestamp` (seconds since 1970) and the body the bytes as posted. A receiver
compares it, refuses timestamps that are minutes old, and ignores an `Idempotency-Key` it has seen before.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from collector.alerts.receivers import WebhookReceiver
from collector.alerts.sender import TIMEOUT_S, NotDelivered, tls_context

_TRY_AGAIN: Final = frozenset({408, 425, 429})


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header `Gatehouse-Signature` says."""
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


class WebhookSender:
    """One client for each receiver, so that none waits for another's connections."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        # Redirects are refused: the signed body would go to an address that nobody configured.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S, verify=tls_context(receiver.ca_file), trust_env=False, follow_redirects=False
        )

    async def send(self, message: Mapping[str, Any], *, key: str, now_ms: int) -> None:
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(now_ms // 1000)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "Gatehouse-Timestamp": timestamp,
            "Gatehouse-Signature": signature(self._receiver.secret.get_secret_value(), timestamp, body),
        }
        url = self._receiver.url.get_secret_value()
        try:
            response = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as err:
            raise NotDelivered(f"no connection: {type(err).__name__}", down=True) from None
        if not response.is_success:
            status = response.status_code
            down = status >= 500 or status in _TRY_AGAIN
            raise NotDelivered(f"the receiver answered {status}", down=down)

    async def close(self) -> None:
        await self._client.aclose()
