"""The command `simulators cjt188`: water, heat and gas meters on a serial line."""

from typing import Annotated

import typer
from pydantic import ValidationError

from simulators.cjt188.sections import Cjt188LineSection, Cjt188MeterSection, find_mistakes
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


def cjt188(
    profile: Annotated[str, typer.Option(help="Name, or a file: mine.yaml.")] = "cjt188-water",
    address: Annotated[
        list[str] | None, typer.Option(help="The 14 digits of a meter; repeat for more.")
    ] = None,
    link: Link = None,
    port: TcpPortOption = None,
    baud: Baud = 2400,
    load_kw: LoadKw = 20.0,
    seed: Seed = 1,
    fault: Faults = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve CJ/T 188 meters on a pseudo-terminal or a TCP port, until Ctrl-C."""
    try:
        meters = tuple(
            Cjt188MeterSection(id=f"meter-{number:02d}", address=digits, profile=profile, load_kw=load_kw)
            for number, digits in enumerate(address or ["00000000000001"], 1)
        )
        section = Cjt188LineSection(link=link, port=port, baud=baud, meters=meters, faults=tuple(fault or ()))
    except ValidationError as err:
        raise typer.BadParameter(err.errors(include_url=False)[0]["msg"]) from err
    no_mistakes(find_mistakes(section))
    scenario = Scenario(scenario="cjt188", seed=seed, cjt188_lines=(section,))
    serve(scenario, speed=speed, ledger=ledger, as_json=as_json)
