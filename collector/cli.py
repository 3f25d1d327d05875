"""The command `collector`: sets a collector up, runs it, admits gateways and programs.

Exit codes: 0 done, 1 the answer is bad news and says what to do, 2 the command line itself is wrong.
What a command needs is imported when it runs, so that `--help` is quick.
"""

from pathlib import Path
from typing import Annotated

import typer

from collector.cli_config import configs

app = typer.Typer(
    help="Take in what gateways measured, make sense of it, and tell people and programs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="The keys that gateways seal to.", no_args_is_help=True)
sites = typer.Typer(help="The buildings that gateways belong to.", no_args_is_help=True)
api_tokens = typer.Typer(help="Tokens for programs and people that read or act.", invoke_without_command=True)
gateways = typer.Typer(help="The gateways that were enrolled.", invoke_without_command=True)
upstream = typer.Typer(help="A higher collector, such as an area's to a county's.", no_args_is_help=True)
app.add_typer(sites, name="site")
app.add_typer(keys, name="keys")
app.add_typer(api_tokens, name="api-token")
app.add_typer(gateways, name="gateways")
app.add_typer(configs, name="config")
app.add_typer(upstream, name="upstream")

Dir = Annotated[
    Path, typer.Option("--dir", envvar="GATEHOUSE_COLLECTOR_DIR", help="The folder of the collector.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
HERE = Path("collector-data")


@app.command()
def init(
    folder: Dir = HERE,
    url: Annotated[
        str | None, typer.Option(help="How gateways reach it, such as https://collector.example:8443.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at; all of this machine's.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen at; that of --url.")
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve page and API without TLS, to this machine only."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A further host name or address for the server's certificate.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Code of a first site.")] = None,
    site_name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    as_json: Json = False,
) -> None:
    """Make a folder a collector: keys, settings, database. Run again, it brings the tables up to date."""
    from collector.commands.answer import show
    from collector.commands.setup import Wanted
    from collector.commands.setup import init as run

    wanted = Wanted(url, host, port, http_port, tuple(name or ()))
    show(lambda: run(folder, wanted, site=site, site_name=site_name), as_json=as_json)


@app.command()
def serve(folder: Dir = HERE, as_json: Json = False) -> None:
    """Run the collector until SIGTERM or Ctrl-C."""
    from collector.commands.answer import show
    from collector.commands.running import serve as run

    show(lambda: run(folder, as_json=as_json), as_json=as_json)


@app.command()
def broker(
    target: Annotated[Path, typer.Argument(help="The folder to write to.")],
    name: Annotated[
        list[str],
        typer.Option(help="Host name or address by which the broker is reached; the first is shown."),
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the broker.")] = 8883,
    at: Annotated[
        str | None, typer.Option(help="Where the folder will be on the broker; where it is written.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Write configuration, rights and certificate of a Mosquitto by which gateways may ask."""
    from collector.commands.answer import show
    from collector.commands.broker import broker as run

    show(lambda: run(folder, target, name, port, at), as_json=as_json)


@sites.command("add")
def add_site(
    code: str,
    name: str,
    timezone: Annotated[str | None, typer.Option(help="Such as Asia/Shanghai, the default.")] = None,
    suite: Annotated[
        str, typer.Option(help="How its gateways seal: standard, or gm (SM2, SM3, SM4) under GB/T 39786.")
    ] = "standard",
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Add a site: a short code for programs, a name for people."""
    from collector.commands.answer import show
    from collector.commands.sites import add_site as run

    show(lambda: run(folder, code, name, timezone=timezone, suite=suite), as_json=as_json)


@sites.command("list")
def list_sites(folder: Dir = HERE, as_json: Json = False) -> None:
    """List the sites."""
    from collector.commands.answer import show
    from collector.commands.sites import list_sites as run

    show(lambda: run(folder), as_json=as_json)


@keys.command("rotate")
def rotate_keys(
    suite: Annotated[str, typer.Option(help="Of which suite: standard or gm.")] = "standard",
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Let gateways seal to a new key; they learn it with their next receipts, and nothing is refused."""
    from collector.commands.answer import show
    from collector.commands.keys import rotate as run

    show(lambda: run(folder, suite), as_json=as_json)


@app.command()
def enrollment_token(
    site: Annotated[str, typer.Option(help="Code of the site that the gateway is at.")],
    name: Annotated[str, typer.Option(help="What people shall call the gateway.")],
    hours: Annotated[float, typer.Option(help="How long it can be used; at most 24.")] = 24,
    kind: Annotated[
        str, typer.Option("--for", help="gateway, or collector: one that forwards what its gateways sent.")
    ] = "gateway",
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Make a token with which one gateway (or collector) enrols itself. It is shown once."""
    from collector.commands.admission import enrollment_token as run
    from collector.commands.answer import show

    show(lambda: run(folder, site, name, hours, kind), as_json=as_json)


@api_tokens.callback()
def api_token(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Option(help="Whose token it is; shown with what is done by it.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, alerts:write, commands:write, config:write, gateways:write."),
    ] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="Code of a site it may see; all if not given.")
    ] = None,
    days: Annotated[float, typer.Option(help="How long it is good.")] = 365,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Make a token (--name and --scope), or list and revoke them. It is shown once."""
    if context.invoked_subcommand is not None:
        return
    if name is None or not scope:
        raise typer.BadParameter("give --name and at least one --scope; or one of: list, revoke")
    from collector.commands.admission import api_token as run
    from collector.commands.answer import show

    show(lambda: run(folder, name, scope, site, days), as_json=as_json)


@api_tokens.command("list")
def list_api_tokens(folder: Dir = HERE, as_json: Json = False) -> None:
    """List the tokens by name; the tokens themselves are not known."""
    from collector.commands.admission import list_api_tokens as run
    from collector.commands.answer import show

    show(lambda: run(folder), as_json=as_json)


@api_tokens.command("revoke")
def revoke_api_token(name: str, folder: Dir = HERE, as_json: Json = False) -> None:
    """Make a token worthless from now on."""
    from collector.commands.admission import revoke_api_token as run
    from collector.commands.answer import show

    show(lambda: run(folder, name), as_json=as_json)


@gateways.callback()
def all_gateways(context: typer.Context, folder: Dir = HERE, as_json: Json = False) -> None:
    """List the gateways, revoke one, or take one back whose certificate has ended."""
    if context.invoked_subcommand is None:
        list_gateways(folder, as_json)


@gateways.command("list")
def list_gateways(folder: Dir = HERE, as_json: Json = False) -> None:
    """List the gateways."""
    from collector.commands.admission import list_gateways as run
    from collector.commands.answer import show

    show(lambda: run(folder), as_json=as_json)


@gateways.command("revoke")
def revoke_gateway(gateway_id: str, folder: Dir = HERE, as_json: Json = False) -> None:
    """Accept nothing from a gateway any more, from its next batch on."""
    from collector.commands.admission import revoke as run
    from collector.commands.answer import show

    show(lambda: run(folder, gateway_id), as_json=as_json)


@gateways.command("requests")
def list_requests(folder: Dir = HERE, as_json: Json = False) -> None:
    """List the gateways whose certificate has ended and who ask to be taken back."""
    from collector.commands.answer import show
    from collector.commands.returns import list_requests as run

    show(lambda: run(folder), as_json=as_json)


@gateways.command("approve")
def approve_request(
    code: Annotated[str, typer.Argument(help="As `edge-agent status` shows it on the gateway.")],
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Take a gateway back under its old name. Compare the code with the one that the gateway shows."""
    from collector.commands.answer import show
    from collector.commands.returns import approve as run

    show(lambda: run(folder, code), as_json=as_json)


@gateways.command("reject")
def reject_request(
    code: Annotated[str, typer.Argument(help="As `collector gateways requests` shows it.")],
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Do not take a gateway back, for now; to refuse all of it for good: revoke."""
    from collector.commands.answer import show
    from collector.commands.returns import reject as run

    show(lambda: run(folder, code), as_json=as_json)


@gateways.command("history")
def gateway_history(gateway_id: str, folder: Dir = HERE, as_json: Json = False) -> None:
    """Show who admitted, certified, took back or revoked a gateway, and when."""
    from collector.commands.answer import show
    from collector.commands.returns import history as run

    show(lambda: run(folder, gateway_id), as_json=as_json)


@upstream.command("enroll")
def enroll_upstream(
    token: Annotated[
        str | None, typer.Argument(help="Of `collector enrollment-token --for collector` there.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="The file that the token is in; others cannot see it there.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="In place of the identity that is there.")] = False,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Make this collector one that may forward to a higher one. What is shared stands in collector.yaml."""
    from collector.commands.answer import show
    from collector.commands.upstream import enroll as run

    show(lambda: run(folder, token, token_file, again=again), as_json=as_json)


@upstream.command("status")
def upstream_status(folder: Dir = HERE, as_json: Json = False) -> None:
    """Show what is shared, what waits, and what is not taken. Exit code 1: something is wrong or late."""
    from collector.commands.answer import show
    from collector.commands.upstream import status as run

    show(lambda: run(folder), as_json=as_json)


@upstream.command("retry")
def retry_upstream(folder: Dir = HERE, as_json: Json = False) -> None:
    """Send what the higher collector has refused once more."""
    from collector.commands.answer import show
    from collector.commands.upstream import retry as run

    show(lambda: run(folder), as_json=as_json)


@app.command()
def enroll_file(
    request: Annotated[Path, typer.Argument(help="What `edge-agent enroll --request` wrote.")],
    answer: Annotated[
        Path | None, typer.Option(help="Where the answer goes; REQUEST.answer if not given.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Enrol a gateway without a network, also while the collector serves. Twice gives the same answer."""
    from collector.commands.admission import enroll_file as run
    from collector.commands.answer import show

    show(lambda: run(folder, request, answer), as_json=as_json)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files of `edge-agent export`, or folders with them.")],
    receipts: Annotated[
        Path | None, typer.Option(help="One file for all receipts; without it, one beside each file.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Take in what a stick brought, also while the collector serves; twice changes nothing.

    Exit code 1: something was refused or could not be read. All that is whole is taken in all the same.
    """
    from collector.commands.answer import show
    from collector.commands.stick import import_files as run

    show(lambda: run(folder, files, receipts), as_json=as_json)


@app.command()
def command(
    site: Annotated[str, typer.Argument(help="Code of the site.")],
    device: Annotated[str, typer.Argument(help="Id of the device in its gateway's file, or its number.")],
    action: Annotated[
        str, typer.Argument(help="write, set_time, open_once, lock, unlock, put_pass, take_pass.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as door=1, or point=setpoint_c value=21.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The same key again gives the same command again: it is done once.")
    ] = None,
    expires_in: Annotated[
        float, typer.Option(min=10, max=86_400, help="Seconds after which it is not begun any more.")
    ] = 60,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for what comes of it.")] = False,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """Tell a device to do something. Exit code 1 with --wait: it is not known to be done.

    Its gateway carries out what its own configuration allows, once. Others on this machine can see what is
    typed: give card numbers and PINs by the API.
    """
    from collector.commands.answer import show
    from collector.commands.control import give as run

    show(
        lambda: run(
            folder, site, device, action, arguments or (), key=key, expires_in_s=expires_in, wait=wait
        ),
        as_json=as_json,
    )


@app.command()
def commands(
    site: Annotated[str | None, typer.Option(help="Only of this site (its code).")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only waiting, sent, done, refused, failed or expired.")
    ] = None,
    folder: Dir = HERE,
    as_json: Json = False,
) -> None:
    """List the newest commands: who told what to which device, and what came of it."""
    from collector.commands.answer import show
    from collector.commands.control import list_commands as run

    show(lambda: run(folder, site, state), as_json=as_json)


if __name__ == "__main__":
    app()
