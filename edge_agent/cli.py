"""The command `edge-agent`: sets a gateway up, runs it, and shows what it does.

Exit codes: 0 done, 1 the answer is bad news and says what to do, 2 the command line itself is wrong.
What a command needs is imported when it runs, so that `--help` is quick.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from edge_agent.commands.answer import Answer

T = TypeVar("T")

app = typer.Typer(
    help="Read the meters of a building, keep what they say, and bring it to the collector.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
profiles = typer.Typer(help="Look at the profiles of devices, and check your own.", no_args_is_help=True)
doors = typer.Typer(help="Open, lock and unlock doors, and give passes to visitors.", no_args_is_help=True)
passes = typer.Typer(help="Passes of visitors.", no_args_is_help=True)
scans = typer.Typer(
    help="Find what is on a line or in a network, and what gateway.yaml must say to read it. Only reads are "
    "sent. Exit code 1: nothing was found.",
    no_args_is_help=True,
)
app.add_typer(scans, name="scan")
app.add_typer(profiles, name="profiles")
app.add_typer(doors, name="door")
doors.add_typer(passes, name="pass")


class Level(StrEnum):
    """How much is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"


class Parity(StrEnum):
    """Of a serial line."""

    none = "none"
    even = "even"
    odd = "odd"


Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="GATEHOUSE_GATEWAY_CONFIG", help="The configuration file.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Own = Annotated[Path | None, typer.Option("--own", help="A folder with your own profiles.")]
Device = Annotated[str, typer.Argument(help="The id of a device in the configuration.")]
Door = Annotated[int, typer.Option("--door", min=1, max=9999, help="Number of the door at its controller.")]
PassName = Annotated[str, typer.Argument(help="Names the pass: letters, digits, - and _.")]
Units = Annotated[str, typer.Option(help="Modbus unit ids to ask for, such as 1-20,255.")]
AsYaml = Annotated[bool, typer.Option("--yaml", help="Print just the part of gateway.yaml.")]
HERE = Path("gateway.yaml")
ON_A_LINE = "1-247"
OVER_TCP = "1-247,255"  # 255 is for devices without a unit id


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write gateway.yaml.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a commented gateway.yaml to begin with. A file that is there is never touched."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.setup import init as run

    show(lambda: run(folder), as_json=as_json)


@app.command()
def check(config: Config = HERE, as_json: Json = False) -> None:
    """Check the configuration without opening any device. Exit code 1: it has mistakes."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.setup import check as run

    show(lambda: run(config), as_json=as_json)


@app.command()
def enroll(
    token: Annotated[
        str | None, typer.Argument(help="What `collector enrollment-token` gave; - reads it from stdin.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="A file that holds the token.")] = None,
    again: Annotated[bool, typer.Option(help="Replace the identity that the gateway has.")] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Make this gateway one of a collector's. The token is good for one gateway, once."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.setup import enroll as run
    from edge_agent.commands.setup import token_from

    if (token is None) == (token_file is None):
        raise typer.BadParameter("give the token, or --token-file, or - to read it from stdin")
    show(lambda: run(config, token_from(token, token_file), again=again), as_json=as_json)


@app.command()
def run(
    config: Config = HERE,
    log_level: Annotated[Level, typer.Option(help="How much to log to stderr.")] = Level.info,
    as_json: Annotated[bool, typer.Option("--json", help="Log lines of JSON.")] = False,
) -> None:
    """Read, keep and send until SIGTERM or Ctrl-C; then finish what is under way."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.running import run as run_

    show(lambda: run_(config, level=log_level.value, as_json=as_json), as_json=as_json)


@app.command()
def status(config: Config = HERE, as_json: Json = False) -> None:
    """Show how the gateway is; also when it does not run. Exit code 1: something needs somebody."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.status import status as run

    show(lambda: run(config), as_json=as_json)


@app.command()
def read(
    device: Device,
    decodings: Annotated[
        bool, typer.Option("--decodings", help="Show all that the Modbus registers may mean.")
    ] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Read one device at once and show bytes, values and quality. Nothing is stored or sent."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.read import read as run

    show(lambda: run(config, device, with_decodings=decodings), as_json=as_json)


@app.command(context_settings={"ignore_unknown_options": True})  # or -5 would be one
def write(
    device: Device,
    point: Annotated[str, typer.Argument(help="A point that its profile lets be set.")],
    value: Annotated[float, typer.Argument(help="In the unit of the point.")],
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Set a point, read it back, and keep on record who did it. Exit code 1: it is not known to be set."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.write import write as run

    show(lambda: run(config, device, point, value), as_json=as_json)


def _door(action: str, device: str, number: int, config: Path, as_json: bool) -> None:
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import door as run

    show(lambda: run(config, device, action, number), as_json=as_json)


@doors.command("open")
def open_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Let one person through."""
    _door("open_once", device, door, config, as_json)


@doors.command("lock")
def lock_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Close it for all but those who have a right."""
    _door("lock", device, door, config, as_json)


@doors.command("unlock")
def unlock_door(device: Device, door: Door = 1, config: Config = HERE, as_json: Json = False) -> None:
    """Open it for everybody, until it is locked."""
    _door("unlock", device, door, config, as_json)


@passes.command("put")
def put_pass(
    device: Device,
    name: PassName,
    door: Annotated[list[int], typer.Option(help="A door that it opens; may be given again.")],
    hours: Annotated[float, typer.Option(min=0.1, max=8784, help="How long it is good.")],
    begins: Annotated[
        str | None, typer.Option("--from", help="Such as 2026-09-21T08:00; at once if not given.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="A card, whose number is asked for; else a PIN is made up.")
    ] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Give a visitor a pass; it ends by itself. A PIN is shown once."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import put_pass as run

    show(
        lambda: run(config, device, name, doors=door, begins=begins, hours=hours, card=card), as_json=as_json
    )


@passes.command("take")
def take_pass(device: Device, name: PassName, config: Config = HERE, as_json: Json = False) -> None:
    """Take a pass away before it ends."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.door import take_pass as run

    show(lambda: run(config, device, name), as_json=as_json)


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


@profiles.command("list")
def list_profiles(own: Own = None, as_json: Json = False) -> None:
    """List all profiles."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import list_profiles as run

    show(lambda: run(own), as_json=as_json)


@profiles.command("show")
def show_profile(name: str, own: Own = None, as_json: Json = False) -> None:
    """Show one profile: its points and where they stand."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import show_profile as run

    show(lambda: run(name, own), as_json=as_json)


@profiles.command("check")
def check_profile(file: Path, as_json: Json = False) -> None:
    """Check a profile file. Exit code 1: it has mistakes."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import check_profile as run

    show(lambda: run(file), as_json=as_json)


@profiles.command("schema")
def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of profile files, for editors."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.profiles import schema as run

    show(run, as_json=as_json)
