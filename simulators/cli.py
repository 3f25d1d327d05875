"""The command `simulators`: meters at the wire, for trying out and for tests."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.profile import parameter_mistakes
from models.profile.modbus import ModbusProfile
from simulators.access.command import door, osdp
from simulators.announce import summary
from simulators.ble.command import ble
from simulators.cjt188.command import cjt188
from simulators.dlt645.command import dlt645
from simulators.lab.command import faults
from simulators.modbus.command import line
from simulators.modbus.sections import MeterSection, RackSection
from simulators.options import AsJson, Faults, Keys, Ledger, LoadKw, Parameters, Seed, Speed, Units
from simulators.parking.command import parking
from simulators.profiles import profile_of
from simulators.scenario import (
    Scenario,
    load_scenario,
    scenario_names,
    shipped_scenario,
)
from simulators.serving import Failing, serve

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def simulators() -> None:
    """Meters at the wire, which misbehave on request."""


Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")]


@app.command()
def modbus(
    profile: Annotated[str, typer.Option(help="Name, such as eastron-sdm630, or a file: mine.yaml.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for a free one.")] = 5020,
    host: Host = "127.0.0.1",
    unit: Units = None,
    load_kw: LoadKw = 20.0,
    parameter: Parameters = None,
    seed: Seed = 1,
    fault: Faults = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve Modbus TCP meters of one profile on one port, until Ctrl-C."""
    with Failing(as_json):
        parameters = dict(parameter or [])
        for mistake in parameter_mistakes(profile_of(profile, ModbusProfile), parameters):
            raise typer.BadParameter(f"{mistake.what} ({mistake.hint})", param_hint="--parameter")
        meters = tuple(
            MeterSection(id=f"meter-{n:02d}", unit=n, profile=profile, load_kw=load_kw, parameters=parameters)
            for n in dict.fromkeys(unit or [1])
        )
        rack = RackSection(port=port, host=host, meters=meters, faults=tuple(fault or ()))
        scenario = Scenario(scenario=profile, seed=seed, racks=(rack,))
    serve(scenario, speed=speed, ledger=ledger, as_json=as_json)


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of one that ships.")],
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Not those of the file.")] = False,
    keys: Keys = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve everything of a scenario, until Ctrl-C."""
    with Failing(as_json):
        path = Path(scenario)
        is_shipped = path.name == scenario and path.stem in scenario_names() and not path.exists()
        if path.suffix in (".yaml", ".yml") and not is_shipped:
            loaded = load_scenario(path.read_bytes(), str(path))
        else:
            loaded = shipped_scenario(path.stem if is_shipped else scenario)
        if free_ports:
            loaded = loaded.on_free_ports()
    serve(loaded, speed=speed, ledger=ledger, keys=keys, as_json=as_json)


@app.command()
def scenarios(as_json: AsJson = False) -> None:
    """List the scenarios that ship with the simulators."""
    with Failing(as_json):
        found = [summary(name, shipped_scenario(name)) for name in scenario_names()]
        if as_json:
            typer.echo(msgspec.json.encode(found))
            return
        for entry in found:
            typer.echo(f"{entry['name']}: {entry['title']}")
            racks = f"{entry['meters']} meters, {entry['points']} points, {entry['endpoints']} endpoints"
            typer.echo(f"  Modbus TCP: {racks}")
            if entry["others"]:
                typer.echo(f"  beside them: {', '.join(sorted(set(entry['others'])))}")


for command in (line, dlt645, cjt188, ble, parking, door, osdp):
    app.command()(command)
app.add_typer(faults, name="faults")
