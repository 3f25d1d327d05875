"""Connects an aiomqtt client, and ends it so that nothing is left behind.

The library leaves sockets open after a failed connection, and waits in a way that may swallow a cancellation.
This module and its callers reach for its inner client (paho) where it has no public way.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable
from typing import Final, TypeVar

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

T = TypeVar("T")

QUIET: Final = logging.getLogger(f"{__name__}.library")
QUIET.setLevel(logging.CRITICAL)  # it logs each loss of a connection, which we do once


class TidySocket(ssl.SSLSocket):
    """Closes itself when the other side turns out not to be who it should be: the library forgets to."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def code_of(reason: int | ReasonCode | None) -> int:
    """The number of a reason code (MQTT 5, section 2.4); 0x80 and above are failures."""
    return reason.value if isinstance(reason, ReasonCode) else reason or 0


async def enter(client: aiomqtt.Client) -> None:
    """Connect, and leave no connection behind when that fails or is cancelled: a thread is at work."""
    try:
        await whole(client.__aenter__())
    except BaseException:
        if (
            client._connected.done()
            and not client._connected.cancelled()
            and not client._connected.exception()
        ):
            await leave(client)
        _close(client)
        raise


async def leave(client: aiomqtt.Client) -> None:
    """Disconnect if there is a connection."""
    with contextlib.suppress(aiomqtt.MqttError):
        await whole(client.__aexit__(None, None, None))
    _close(client)


async def whole(step: Awaitable[T]) -> T:
    """Do a step to its end, which has a limit, and only then be cancelled.

    The library waits by `asyncio.wait_for`, which up to Python 3.11 may swallow a cancellation.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        with contextlib.suppress(aiomqtt.MqttError):
            task.result()
        raise


def _close(client: aiomqtt.Client) -> None:
    """Close the socket in any case: the library leaves it open when the broker does not answer.

    And look at why the connection ended, which it otherwise complains that nobody did.
    """
    if client._disconnected.done() and not client._disconnected.cancelled():
        client._disconnected.exception()
    open_socket = client._client.socket()
    if open_socket is not None:
        client._client._sock_close()
