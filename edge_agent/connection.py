"""Opens a TLS connection for libraries that want a socket: verified, through a proxy where there is one.

All of it waits in the loop, so that it can be cancelled at once.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from typing import Any

from edge_agent.proxy import Proxy

_MOST_OF_A_HEAD = 16_384


async def open_tls(
    host: str, port: int, context: ssl.SSLContext, *, proxy: Proxy | None, limit_s: float
) -> ssl.SSLSocket:
    """A connection whose other end has proved to be `host`; nothing has been sent on it.

    It does not block. Raise OSError; TimeoutError and ssl.SSLError are such.
    """
    async with asyncio.timeout(limit_s):
        plain = await _connected(*((host, port) if proxy is None else proxy.address))
        try:
            if proxy is not None:
                await _tunnel(plain, proxy, host, port)
            secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        try:
            await _shake_hands(secured)
        except BaseException:
            secured.close()
            raise
        return secured


async def _connected(host: str, port: int) -> socket.socket:
    """To the first of its addresses that answers."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(plain, address)
        except OSError as err:
            plain.close()
            failed = err
        except BaseException:
            plain.close()
            raise
        else:
            return plain
    raise failed or OSError(f"{host} has no address")


async def _tunnel(plain: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy connect us to where we want (RFC 9110, section 9.3.6)."""
    loop = asyncio.get_running_loop()
    target = f"{f'[{host}]' if ':' in host else host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
    if proxy.login is not None:
        lines.append(
            "proxy-authorization: Basic " + base64.b64encode(":".join(proxy.login).encode()).decode()
        )
    await loop.sock_sendall(plain, "\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):  # the other end speaks first only after we have
        part = await loop.sock_recv(plain, _MOST_OF_A_HEAD)
        head += part
        if not part or len(head) > _MOST_OF_A_HEAD:
            raise ConnectionAbortedError(0, f"the proxy {proxy} gives no answer of a proxy")
    status = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 1)[-1]
    if not status.startswith("2"):
        raise ConnectionAbortedError(0, f"the proxy {proxy} answers: {status[:100]}")


async def _shake_hands(secured: ssl.SSLSocket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            secured.do_handshake()
        except ssl.SSLWantReadError:
            await _until(secured, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _until(secured, loop.add_writer, loop.remove_writer)
        else:
            return


async def _until(secured: ssl.SSLSocket, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    ready = asyncio.Event()
    add(secured.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        remove(secured.fileno())
