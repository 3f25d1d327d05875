"""Finds the hosts of a network that take connections at a port."""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.modbus.scan import Progress
from models.errors import BadInput

MOST_HOSTS: Final = 65_536
AT_ONCE: Final = 64  # connections; small switches and routers drop more

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class NetworkTooLarge(BadInput):
    """Nobody waits for a search of so many addresses."""

    def __init__(self, network: IpNetwork) -> None:
        super().__init__(
            f"{network} has {network.num_addresses} addresses, and at most {MOST_HOSTS} are searched;"
            f" name a part of it"
        )
        self.network = network


@dataclass(frozen=True, slots=True)
class OpenHost:
    """A host that takes connections at the port."""

    host: str
    port: int
    took_ms: int


async def scan_hosts(
    network: IpNetwork,
    port: int = 502,
    *,
    timeout_s: float = 1.0,
    at_once: int = AT_ONCE,
    on_progress: Callable[[Progress], object] = lambda progress: None,
) -> list[OpenHost]:
    """The hosts of the network that take connections at the port, in the order of their addresses.

    Each is connected to once, for `timeout_s` at most, and nothing is sent. Raises NetworkTooLarge.
    """
    if network.num_addresses > MOST_HOSTS:
        raise NetworkTooLarge(network)
    hosts = [str(host) for host in network.hosts()]
    found: list[tuple[int, OpenHost]] = []
    waiting = iter(enumerate(hosts))
    done = 0

    async def work() -> None:
        nonlocal done
        for number, host in waiting:
            took_ms = await _connects(host, port, timeout_s)
            if took_ms is not None:
                found.append((number, OpenHost(host, port, took_ms)))
            done += 1
            on_progress(Progress(done, len(hosts), len(found)))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(at_once, len(hosts))):
            tasks.create_task(work(), name=f"search of {network}")
    return [host for _, host in sorted(found, key=lambda pair: pair[0])]


async def _connects(host: str, port: int, timeout_s: float) -> int | None:
    """How long it took, in milliseconds; None when it does not."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    except OSError:  # TimeoutError is one
        return None
    transport.abort()
    return round((loop.time() - began_s) * 1000)
