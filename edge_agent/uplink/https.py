"""Carries questions over HTTPS with the gateway's certificate."""

from collections.abc import Callable
from typing import Final

import httpx

from edge_agent.identity.folder import Identity
from edge_agent.proxy import Proxy
from edge_agent.tls import explain
from edge_agent.uplink.carrier import Answer, Request

CONNECT_TIMEOUT_S: Final = 10.0
REPLY_TIMEOUT_S: Final = 60.0  # a collector under load answers late; sooner would only add to its load
MOST_CONNECTIONS: Final = 4  # a question that waits, such as for commands, must not make a batch wait


class HttpsCarrier:
    """See `edge_agent.uplink.carrier.Carrier`."""

    def __init__(
        self,
        identity: Identity,
        *,
        certificates_at_s: Callable[[], float | None] | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """`certificates_at_s` judges certificates in place of the system clock; None while it is unknown."""
        self.url = identity.collector.url
        self._certificates_at_s = certificates_at_s
        self._proxy = proxy
        self._client = httpx.AsyncClient(
            base_url=self.url,
            verify=identity.ssl_context(certificates_at_s),
            proxy=None if proxy is None else proxy.of_httpx(),
            trust_env=False,  # no CA, proxy or password from the environment
            limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=2),
        )

    async def exchange(self, request: Request) -> Answer:
        headers = {"content-type": "application/octet-stream", **request.headers}
        timeout = httpx.Timeout(REPLY_TIMEOUT_S + request.wait_s, connect=CONNECT_TIMEOUT_S)
        try:
            response = await self._client.request(
                request.method, request.path, content=request.body, headers=headers, timeout=timeout
            )
        except httpx.ProxyError as err:
            raise explain(f"{self.url} by the proxy {self._proxy}", err) from err
        except httpx.HTTPError as err:
            raise explain(self.url, err) from err
        unjudged = None
        if self._certificates_at_s is not None and self._certificates_at_s() is None:
            unjudged = response.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        return Answer(response.status_code, response.headers, response.content, unjudged)

    async def close(self) -> None:
        await self._client.aclose()
