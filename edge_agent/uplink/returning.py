"""Asks the collector to take this gateway back after its certificate has ended: without one."""

from collections.abc import Callable

import httpx
from pydantic import ValidationError

from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.tls import CollectorUnreachable, explain, verifying_context
from edge_agent.uplink.carrier import Answer
from edge_agent.uplink.questions import checked
from models.protocol import NextKeyRequest, ReturnResponse

TIMEOUT_S = 20.0


async def ask_to_return(
    identity: Identity,
    request: NextKeyRequest,
    *,
    certificates_at_s: Callable[[], float | None] | None = None,
    proxy: Proxy | None = None,
) -> ReturnResponse:
    """What has been decided so far. Always by HTTPS: a broker wants a certificate.

    Raise CollectorBusy, CollectorRefused, and what `edge_agent.tls` raises.
    """
    url = identity.collector.url
    try:
        async with httpx.AsyncClient(
            base_url=url,
            verify=verifying_context(identity.ca_der, certificates_at_s),
            proxy=None if proxy is None else proxy.of_httpx(),
            trust_env=False,
            timeout=TIMEOUT_S,
        ) as client:
            response = await client.post(
                "/gateway/v1/return",
                content=request.model_dump_json(),
                headers={"content-type": "application/json"},
            )
    except httpx.HTTPError as err:
        raise explain(url, err) from err
    answer = checked(url, Answer(response.status_code, response.headers, response.content))
    try:
        return ReturnResponse.model_validate_json(answer.body)
    except ValidationError:
        raise CollectorUnreachable(url, "what answers there is no collector") from None
