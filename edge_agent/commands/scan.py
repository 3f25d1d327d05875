"""Finding out what is on a line or in a network, and what would read it."""

import asyncio
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from drivers.contract import DeviceUnreachable
from drivers.modbus.scan_hosts import IpNetwork, OpenHost, scan_hosts
from edge_agent.buses import is_asked
from edge_agent.catalogue import Catalogue
from edge_agent.commands import progress
from edge_agent.commands.answer import Answer
from edge_agent.commands.proposing import bus_id, found_answer
from edge_agent.commands.running import real_clock
from edge_agent.commands.searching import Searched, search
from edge_agent.config import BusSection, Config, load_config
from edge_agent.config.checks import address_of
from edge_agent.control.client import ask_agent
from edge_agent.control.on_site import Question
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile
from models.profile.modbus import ModbusProfile

BY_ID: Final = Path("/dev/serial/by-id")
HOSTS_AT_ONCE: Final = 16  # whose units are asked, each of them one at a time

PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
        "fc00::/7", "fe80::/10", "::1/128",
    )
)  # fmt: skip
"""RFC 1918, 3927, 4193 and 4291. `is_private` takes any network for private that only begins and ends so."""


class BusInUse(NeedsAHuman):
    """The running agent is asking the devices of that bus."""


def units_of(text: str) -> list[int]:
    """Unit ids such as "1-247,255", each once. Raises ValueError."""
    units: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"'{part}' is no unit id and no range of them; write such as 1-20,255")
        for unit in range(int(first), int(last or first) + 1):
            if not any(unit in allowed for allowed in ModbusProfile.addressing.units):
                raise ValueError(f"{unit} is no unit id: {ModbusProfile.addressing.told}")
            units[unit] = None
    if not units:
        raise ValueError(f"'{text}' names no unit")
    return list(units)


def endpoint_of(text: str, default_port: int | None) -> tuple[str, int]:
    """Host and port, as in "10.0.0.7:502" or "[fe80::1]:502". Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or port.endswith("]"):
        host, port = text, ""
    if not port and default_port is None:
        raise ValueError(f"'{text}' has no port; write HOST:PORT")
    if port and not (port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(f"'{port}' is no TCP port")
    if not host.strip("[]"):
        raise ValueError(f"'{text}' names no host")
    return host.strip("[]"), int(port or default_port or 0)


def network_of(text: str, *, any_network: bool) -> IpNetwork:
    """Raises ValueError, also for a network of strangers unless `any_network`."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{text}' is no network; write such as 192.168.1.0/24") from None
    if not any_network and not any(_is_within(network, private) for private in PRIVATE):
        raise ValueError(f"{network} is no private network; if you may search it, say so by --any")
    return network


def stable_name(port: str, folder: Path = BY_ID) -> str:
    """What the port of an adapter is called after any reboot, where the system knows that."""
    if Path(port).is_symlink() or not folder.is_dir():
        return port
    return next(
        (str(link) for link in sorted(folder.iterdir()) if os.path.realpath(link) == os.path.realpath(port)),
        port,
    )


def serial(
    port: str, settings: dict[str, Any], units: Sequence[int], own: Path | None, *, as_yaml: bool
) -> Answer:
    """`settings` are baud, parity and stop_bits."""
    section = {"port": stable_name(port), **settings}
    bus = BusSection.model_validate({"id": bus_id(Path(port).name), "serial": section})
    return _one(bus, units, Catalogue(own), as_yaml=as_yaml)


def server(host: str, port: int, units: Sequence[int], own: Path | None, *, as_yaml: bool) -> Answer:
    """A serial server, which passes bytes on."""
    section = {"host": host, "port": port}
    bus = BusSection.model_validate({"id": bus_id(host, port), "serial_server": section})
    return _one(bus, units, Catalogue(own), as_yaml=as_yaml)


def tcp(host: str, port: int, units: Sequence[int], own: Path | None, *, as_yaml: bool) -> Answer:
    """A device or converter that speaks Modbus TCP."""
    return _one(_tcp_bus(host, port), units, Catalogue(own), as_yaml=as_yaml)


def net(network: IpNetwork, port: int, units: Sequence[int], own: Path | None, *, as_yaml: bool) -> Answer:
    """Every host of a network that takes connections. Raises NetworkTooLarge."""
    profiles = _profiles(Catalogue(own))
    searched = asyncio.run(_search_net(network, port, units, list(profiles.values())))
    return found_answer(searched, profiles, as_yaml=as_yaml)


def configured(path: Path, name: str, units: Sequence[int] | None, *, as_yaml: bool) -> Answer:
    """A bus of the configuration; only devices that it has not are proposed.

    Without `units`, all that such a bus can have. Raises BusInUse.
    """
    config = load_config(path)
    bus = _bus_of(config, name)
    _check_that_it_is_free(config, bus)
    known = {address_of(device): device.id for device in config.settings.devices if device.bus == bus.id}
    own = config.settings.gateway.profiles_dir
    catalogue = Catalogue(None if own is None else config.beside(own))
    return _one(bus, units or default_units(bus), catalogue, known=known, as_yaml=as_yaml)


def default_units(bus: BusSection) -> list[int]:
    """All that there can be: 255 is for Modbus TCP devices without a unit id."""
    return units_of("1-247,255" if bus.modbus_tcp is not None else "1-247")


def _one(
    bus: BusSection,
    units: Sequence[int],
    catalogue: Catalogue,
    *,
    known: dict[int | str, str] | None = None,
    as_yaml: bool,
) -> Answer:
    profiles = _profiles(catalogue)
    searched = asyncio.run(_search_one(bus, units, list(profiles.values())))
    return found_answer([searched], profiles, known=known, as_yaml=as_yaml)


def _profiles(catalogue: Catalogue) -> dict[str, Profile]:
    return {name: catalogue.load(name) for name in catalogue.names()}


def _tcp_bus(host: str, port: int) -> BusSection:
    words = (host,) if port == 502 else (host, port)
    return BusSection.model_validate({"id": bus_id(*words), "modbus_tcp": {"host": host, "port": port}})


async def _search_one(bus: BusSection, units: Sequence[int], profiles: Sequence[Profile]) -> Searched:
    with progress.shown() as begin:
        return await search(bus, units, profiles, clock=real_clock(), on_progress=begin(bus.id))


async def _search_net(
    network: IpNetwork, port: int, units: Sequence[int], profiles: Sequence[Profile]
) -> list[Searched]:
    clock = real_clock()
    turns = asyncio.Semaphore(HOSTS_AT_ONCE)
    with progress.shown() as begin:
        hosts = await scan_hosts(network, port, on_progress=begin(f"{network} port {port}"))

        async def look_at(open_host: OpenHost) -> Searched:
            bus = _tcp_bus(open_host.host, open_host.port)
            async with turns:
                try:
                    return await search(bus, units, profiles, clock=clock, on_progress=begin(bus.id))
                except DeviceUnreachable as err:  # it was there a moment ago; the others still are
                    endpoint = f"{open_host.host}:{open_host.port}"
                    return Searched(bus=bus, endpoint=endpoint, asked=0, devices=(), remarks=(str(err),))

        async with asyncio.TaskGroup() as tasks:
            looking = [tasks.create_task(look_at(host), name=f"scan {host.host}") for host in hosts]
    return [task.result() for task in looking]


def _is_within(network: IpNetwork, other: IpNetwork) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and network.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and network.subnet_of(other)


def _bus_of(config: Config, name: str) -> BusSection:
    buses = {bus.id: bus for bus in config.settings.buses}
    if name not in buses:
        raise NeedsAHuman(f"{config.file}: no bus '{name}' ({suggest(name, buses) or 'there are none yet'})")
    if not is_asked(buses[name]):
        raise NeedsAHuman(f"{name} is a {buses[name].kind}, whose devices speak by themselves")
    return buses[name]


def _check_that_it_is_free(config: Config, bus: BusSection) -> None:
    """A line carries one question at a time; a Modbus TCP device tells several askers apart."""
    if bus.modbus_tcp is not None:
        return
    answer = ask_agent(config.state_dir, Question(do="read", device=""))  # no device: which buses has it?
    if answer is not None and bus.id in answer.buses:
        raise BusInUse(
            f"the running agent is asking the devices of {bus.id}, and two would talk at once; "
            "stop it for the search, and start it afterwards"
        )
