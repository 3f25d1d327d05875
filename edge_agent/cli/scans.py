"""The commands `edge-agent scan`."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from edge_agent.cli.options import HERE, Config, Json, Own

if TYPE_CHECKING:
    from edge_agent.commands.answer import Answer

T = TypeVar("T")

scans = typer.Typer(
    help="Find what is on a line or in a network, and what gateway.yaml must say to read it. Only reads are "
    "sent. Exit code 1: nothing was found.",
    no_args_is_help=True,
)


class Parity(StrEnum):
    """Of a serial line."""

    none = "none"
    even = "even"
    odd = "odd"


Units = Annotated[str, typer.Option(help="Modbus unit ids to ask for, such as 1-20,255.")]
AsYaml = Annotated[bool, typer.Option("--yaml", help="Print just the part of gateway.yaml.")]
ON_A_LINE = "1-247"
OVER_TCP = "1-247,255"  # 255 is for devices without a unit id


def _checked(read: Callable[[], T]) -> T:
    """A word of the command line that is wrong is exit code 2."""
    try:
        return read()
    except ValueError as err:
        raise typer.BadParameter(str(err)) from None


def _scan(work: "Callable[[], Answer]", *, as_yaml: bool, as_json: bool) -> None:
    from edge_agent.commands.answer import show

    if as_yaml and as_json:
        raise typer.BadParameter("choose --yaml or --json")
    show(work, as_json=as_json)


@scans.command("serial")
def scan_serial(
    port: Annotated[str, typer.Argument(help="Such as /dev/ttyUSB0.")],
    baud: Annotated[int, typer.Option(min=300, max=4_000_000, help="Bits per second.")] = 9600,
    parity: Annotated[Parity, typer.Option(help="DL/T 645 has even.")] = Parity.none,
    stop_bits: Annotated[int, typer.Option(min=1, max=2)] = 1,
    units: Units = ON_A_LINE,
    own: Own = None,
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """Search a serial line of this machine.

    Finds Modbus RTU units, and a DL/T 645 meter that is alone on the line.
    """
    from edge_agent.commands import scan

    if not port:
        raise typer.BadParameter("'' is no port; write such as /dev/ttyUSB0")
    asked = _checked(lambda: scan.units_of(units))
    settings = {"baud": baud, "parity": parity.value, "stop_bits": stop_bits}
    _scan(lambda: scan.serial(port, settings, asked, own, as_yaml=as_yaml), as_yaml=as_yaml, as_json=as_json)


@scans.command("server")
def scan_server(
    endpoint: Annotated[str, typer.Argument(help="HOST:PORT of the serial server.")],
    units: Units = ON_A_LINE,
    own: Own = None,
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """Search a serial line behind a serial server.

    That is one which passes bytes on over TCP; for one that speaks Modbus TCP: edge-agent scan tcp.
    """
    from edge_agent.commands import scan

    asked = _checked(lambda: scan.units_of(units))
    host, port = _checked(lambda: scan.endpoint_of(endpoint, None))
    _scan(lambda: scan.server(host, port, asked, own, as_yaml=as_yaml), as_yaml=as_yaml, as_json=as_json)


@scans.command("tcp")
def scan_tcp(
    endpoint: Annotated[str, typer.Argument(help="HOST or HOST:PORT.")],
    units: Units = OVER_TCP,
    own: Own = None,
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """Search a device or converter that speaks Modbus TCP."""
    from edge_agent.commands import scan

    asked = _checked(lambda: scan.units_of(units))
    host, port = _checked(lambda: scan.endpoint_of(endpoint, 502))
    _scan(lambda: scan.tcp(host, port, asked, own, as_yaml=as_yaml), as_yaml=as_yaml, as_json=as_json)


@scans.command("net")
def scan_net(
    network: Annotated[str, typer.Argument(help="Such as 192.168.1.0/24.")],
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of Modbus TCP.")] = 502,
    any_network: Annotated[
        bool, typer.Option("--any", help="Also a network that is not private; only where you may.")
    ] = False,
    units: Units = OVER_TCP,
    own: Own = None,
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """Search a network for Modbus TCP devices."""
    from edge_agent.commands import scan

    asked = _checked(lambda: scan.units_of(units))
    searched = _checked(lambda: scan.network_of(network, any_network=any_network))
    _scan(lambda: scan.net(searched, port, asked, own, as_yaml=as_yaml), as_yaml=as_yaml, as_json=as_json)


@scans.command("bus")
def scan_bus(
    bus: Annotated[str, typer.Argument(help="The id of a bus in the configuration.")],
    units: Annotated[
        str | None, typer.Option(help="Modbus unit ids to ask for; all of them if not given.")
    ] = None,
    config: Config = HERE,
    as_yaml: AsYaml = False,
    as_json: Json = False,
) -> None:
    """Search a bus of the configuration.

    Only devices that are not in the configuration are proposed.
    """
    from edge_agent.commands import scan

    asked = None if units is None else _checked(lambda: scan.units_of(units))
    _scan(lambda: scan.configured(config, bus, asked, as_yaml=as_yaml), as_yaml=as_yaml, as_json=as_json)
