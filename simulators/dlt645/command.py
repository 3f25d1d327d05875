"""The command `simulators dlt645`: electricity meters on a serial line."""

from typing import Annotated

import typer
from pydantic import ValidationError

from simulators.dlt645.sections import Dlt645LineSection, Dlt645MeterSection, find_mistakes
from simulators.options import (
    AsJson,
    Baud,
    Faults,
    Ledger,
    Link,
    LoadKw,
    Seed,
    Speed,
    TcpPortOption,
    no_mistakes,
)
from simulators.scenario import Scenario
from simulators.serving import serve


def dlt645(
    profile: Annotated[str, typer.Option(help="Name, or a file: mine.yaml.")] = "dlt645-single-phase",
    address: Annotated[
        list[str] | None, typer.Option(help="The 12 digits on a meter's front; repeat for more.")
    ] = None,
    link: Link = None,
    port: TcpPortOption = None,
    baud: Baud = 2400,
    blocks: Annotated[bool, typer.Option(help="Whether the meters know blocks.")] = True,
    longest: Annotated[
        int, typer.Option(min=1, max=200, help="Bytes of data in one frame; what is left follows in others.")
    ] = 200,
    load_kw: LoadKw = 20.0,
    seed: Seed = 1,
    fault: Faults = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve DL/T 645 meters on a pseudo-terminal or a TCP port, until Ctrl-C."""
    try:
        meters = tuple(
            Dlt645MeterSection(
                id=f"meter-{number:02d}",
                address=digits,
                profile=profile,
                load_kw=load_kw,
                blocks=blocks,
                longest=longest,
            )
            for number, digits in enumerate(address or ["000000000001"], 1)
        )
        section = Dlt645LineSection(link=link, port=port, baud=baud, meters=meters, faults=tuple(fault or ()))
    except ValidationError as err:
        raise typer.BadParameter(err.errors(include_url=False)[0]["msg"]) from err
    no_mistakes(find_mistakes(section))
    scenario = Scenario(scenario="dlt645", seed=seed, dlt645_lines=(section,))
    serve(scenario, speed=speed, ledger=ledger, as_json=as_json)
