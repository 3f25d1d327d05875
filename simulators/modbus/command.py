"""The command `simulators line`: Modbus RTU meters on a serial line."""

from typing import Annotated

import typer
from pydantic import ValidationError

from simulators.modbus.sections import MeterSection, ModbusLineSection, find_mistakes
from simulators.options import (
    AsJson,
    Baud,
    Faults,
    Ledger,
    Link,
    LoadKw,
    Parameters,
    Seed,
    Speed,
    TcpPortOption,
    Units,
    no_mistakes,
)
from simulators.scenario import Scenario
from simulators.serving import serve


def line(
    profile: Annotated[str, typer.Option(help="Name, or a file: mine.yaml.")] = "eastron-sdm630",
    unit: Units = None,
    link: Link = None,
    port: TcpPortOption = None,
    baud: Baud = 9600,
    echoes: Annotated[bool, typer.Option(help="Whether the adapter hears what it sends itself.")] = False,
    load_kw: LoadKw = 20.0,
    parameter: Parameters = None,
    seed: Seed = 1,
    fault: Faults = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve Modbus RTU meters on a pseudo-terminal or a TCP port, until Ctrl-C."""
    try:
        meters = tuple(
            MeterSection(
                id=f"meter-{number:02d}",
                unit=number,
                profile=profile,
                load_kw=load_kw,
                parameters=dict(parameter or []),
            )
            for number in dict.fromkeys(unit or [1])
        )
        section = ModbusLineSection(
            link=link, port=port, baud=baud, echoes=echoes, meters=meters, faults=tuple(fault or ())
        )
    except ValidationError as err:
        raise typer.BadParameter(err.errors(include_url=False)[0]["msg"]) from err
    no_mistakes(find_mistakes(section))
    scenario = Scenario(scenario="line", seed=seed, modbus_lines=(section,))
    serve(scenario, speed=speed, ledger=ledger, as_json=as_json)
