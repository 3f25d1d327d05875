"""A client of an MQTT broker that may go away at any moment."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiomqtt

ANSWER_LIMIT_S: Final = 10.0


@asynccontextmanager
async def mqtt_client(
    host: str, port: int, *, timeout_s: float = ANSWER_LIMIT_S
) -> AsyncIterator[aiomqtt.Client]:
    """Connected while the block runs. `timeout_s`: for each answer. Raises aiomqtt.MqttError."""
    at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # else each waits 40 ms for the one before
    protocol = aiomqtt.ProtocolVersion.V5
    client = aiomqtt.Client(host, port, protocol=protocol, socket_options=at_once, timeout=timeout_s)
    try:
        async with client:
            yield client
    finally:
        # The library says on stderr that nobody asked why the connection ended, and has no public way to ask.
        if client._disconnected.done() and not client._disconnected.cancelled():
            client._disconnected.exception()
