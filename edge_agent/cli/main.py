"""The command `edge-agent`: sets a gateway up, runs it, and shows what it does.

Exit codes: 0 done, 1 the answer is bad news and says what to do, 2 the command line itself is wrong.
What a command needs is imported when it runs, so that `--help` is quick.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.cli.config import Why, configs
from edge_agent.cli.doors import doors
from edge_agent.cli.options import HERE, Config, Device, Json
from edge_agent.cli.profiles import profiles
from edge_agent.cli.quarantine import quarantine
from edge_agent.cli.scans import scans
from edge_agent.cli.updates import updates

app = typer.Typer(
    help="Read the meters of a building, keep what they say, and bring it to the collector.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(scans, name="scan")
app.add_typer(profiles, name="profiles")
app.add_typer(doors, name="door")
app.add_typer(configs, name="config")
app.add_typer(quarantine, name="quarantine")
app.add_typer(updates, name="update")


class Level(StrEnum):
    """How much is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write gateway.yaml.")] = Path(),
    state_dir: Annotated[
        str | None, typer.Option(help="Where buffer and identity go, if not beside gateway.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a commented gateway.yaml to begin with. A file that is there is never touched."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.setup import init as run

    show(lambda: run(folder, state_dir), as_json=as_json)


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
    again: Annotated[
        bool, typer.Option("--again", help="Replace the identity that the gateway has.")
    ] = False,
    collector: Annotated[
        str, typer.Option(help="What this gateway calls the collector; for each further one another name.")
    ] = "main",
    request: Annotated[
        Path | None, typer.Option(help="Without a network: write a request, to be carried to the collector.")
    ] = None,
    answer: Annotated[
        Path | None, typer.Option(help="Without a network: the answer that was carried back.")
    ] = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Make this gateway one of a collector's. The token is good for one gateway, once."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.setup import enroll as run
    from edge_agent.commands.setup import token_from

    if (token is None) == (token_file is None):
        raise typer.BadParameter("give the token, or --token-file, or - to read it from stdin")
    if request is not None and answer is not None:
        raise typer.BadParameter("--request comes first, --answer when the answer is here")
    show(
        lambda: run(
            config,
            token_from(token, token_file),
            name=collector,
            again=again,
            request=request,
            answer=answer,
        ),
        as_json=as_json,
    )


@app.command()
def run(
    config: Config = HERE,
    log_level: Annotated[Level, typer.Option(help="How much to log to stderr.")] = Level.info,
    as_json: Annotated[bool, typer.Option("--json", help="Log lines of JSON.")] = False,
) -> None:
    """Read, keep and send until SIGTERM or Ctrl-C; then finish what is under way."""
    # httpx brings a command line of its own, for which it would hold 5 MB as long as the agent runs.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # how Python lets an import be refused
    from edge_agent.commands.answer import show
    from edge_agent.commands.running import run as run_

    show(lambda: run_(config, level=log_level.value, as_json=as_json), as_json=as_json)


@app.command()
def reload(why: Why = "", config: Config = HERE, as_json: Json = False) -> None:
    """Let the running agent take over the configuration as it is now; it touches only what changed.

    Exit code 1: the file has mistakes, and nothing was changed.
    """
    from edge_agent.commands.answer import show
    from edge_agent.commands.config import reload as run

    show(lambda: run(config, why=why), as_json=as_json)


@app.command()
def forget(
    collector: Annotated[str, typer.Argument(help="A name that the configuration had in `collectors`.")],
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Keep nothing more for a collector that this gateway no longer has. The agent must not run."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.forget import forget as run

    show(lambda: run(config, collector), as_json=as_json)


@app.command()
def launch(
    config: Config = HERE,
    log_level: Annotated[Level, typer.Option(help="How much to log to stderr.")] = Level.info,
    healthy_within: Annotated[
        float, typer.Option(min=1, help="Seconds in which a release that is tried must be well.")
    ] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Log lines of JSON.")] = False,
) -> None:
    """Run the version that is in use, as `run` does; try what `update apply` names, and go back from it."""
    from edge_agent.commands.answer import show
    from edge_agent.commands.update import run_launcher as run_

    show(
        lambda: run_(config, level=log_level.value, as_json=as_json, healthy_within_s=healthy_within),
        as_json=as_json,
    )


@app.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it live, until Ctrl-C; on a terminal.")
    ] = False,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Show how the gateway is; also when it does not run. Exit code 1: something needs somebody."""
    from edge_agent.commands.answer import show

    if watch and not as_json and sys.stdout.isatty():
        from edge_agent.commands.watching import watch as live

        show(lambda: live(config), as_json=False)
        return
    from edge_agent.commands.status import status as run

    show(lambda: run(config), as_json=as_json)


@app.command()
def doctor(
    bundle: Annotated[
        Path | None, typer.Option(help="Write a .tar.gz for support as well, without secrets.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="The agent's log, for the bundle; the journal if not given.")
    ] = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Look the gateway over, from its clock to its collector, in ten seconds; also when it does not run.

    Exit code 0: all is well, 1: something should be looked after, 2: something does not work.
    """
    from edge_agent.commands.answer import show
    from edge_agent.commands.doctor import doctor as run

    show(lambda: run(config, bundle=bundle, log=log), as_json=as_json)


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


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="A folder, such as that of a stick, or a file.")],
    collector: Annotated[str, typer.Option(help="For which collector, as this gateway calls it.")] = "main",
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Write all that waits for a collector to a stick, sealed. It counts as delivered once receipts are here.

    Exit code 1: not all could be sealed, or nothing could be written.
    """
    from edge_agent.commands.answer import show
    from edge_agent.commands.stick import export as run

    show(lambda: run(config, target, collector), as_json=as_json)


@app.command()
def confirm_time(config: Config = HERE, as_json: Json = False) -> None:
    """Say that the clock of this machine is right: compare it with a watch before, and set it if need be.

    For gateways that have neither a time service nor a network; it counts until the machine starts again.
    """
    from edge_agent.commands.answer import show
    from edge_agent.commands.clock import confirm_time as run

    show(lambda: run(config), as_json=as_json)


@app.command()
def receipts(
    files: Annotated[list[Path], typer.Argument(help="What `collector import` wrote.")],
    collector: Annotated[
        str | None, typer.Option(help="Only of this collector; without it, of whichever made them.")
    ] = None,
    config: Config = HERE,
    as_json: Json = False,
) -> None:
    """Take in the receipts that a stick brought back. Twice changes nothing.

    Exit code 1: something was refused, forged or cut off. What is good counts all the same.
    """
    from edge_agent.commands.answer import show
    from edge_agent.commands.stick import receipts as run

    show(lambda: run(config, files, collector), as_json=as_json)
