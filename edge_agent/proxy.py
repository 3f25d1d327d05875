"""A proxy between the gateway and a collector: it passes bytes on, and TLS goes through it end to end."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy with CONNECT. Its `str` shows no password."""

    url: str  # http://host:port
    login: tuple[str, str] | None = field(default=None, repr=False)  # user and password

    def __str__(self) -> str:
        return self.url

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def of_httpx(self) -> httpx.Proxy:
        host, port = self.address
        return httpx.Proxy(f"http://{f'[{host}]' if ':' in host else host}:{port}", auth=self.login)


def proxy_from(url: str, login: str | None) -> Proxy:
    """`login` is `user:password`, as it stands in its file."""
    if login is None:
        return Proxy(url)
    user, _, password = login.partition(":")
    return Proxy(url, (user, password))
