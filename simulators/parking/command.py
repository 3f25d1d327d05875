"""The command `simulators parking`: a car park at the wire."""

from typing import Annotated

import typer

from simulators.faults import FaultMistake
from simulators.options import AsJson, Ledger, Seed, Speed
from simulators.parking.faults import SensorFault, parse_sensor_fault
from simulators.parking.sections import (
    BrokerSection,
    CarParkSection,
    ControllerLineSection,
    ControllerSection,
    SensorsSection,
)
from simulators.parking.sensors import MODELS
from simulators.scenario import Scenario
from simulators.serving import serve


def _fault(text: str) -> SensorFault:
    try:
        return parse_sensor_fault(text)
    except FaultMistake as err:
        raise typer.BadParameter(str(err)) from err


def _broker(text: str) -> BrokerSection:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise typer.BadParameter(f"'{text}' is not HOST:PORT")
    return BrokerSection(host=host, port=int(port))


def parking(
    bays: Annotated[int, typer.Option(min=0, max=2000, help="Bays with a LoRaWAN sensor.")] = 10,
    profile: Annotated[
        str, typer.Option(help="What sensors: " + ", ".join(MODELS) + ".")
    ] = "bosch-parking-lot-sensor",
    alive: Annotated[
        float, typer.Option(min=1, help="Seconds after which a sensor says that it lives.")
    ] = 300,
    broker: Annotated[
        BrokerSection | None,
        typer.Option(parser=_broker, metavar="HOST:PORT", help="Without it, Mosquitto is started."),
    ] = None,
    controllers: Annotated[int, typer.Option(min=0, max=32, help="Zone controllers on a line.")] = 1,
    port: Annotated[
        int | None, typer.Option(help="TCP port of the line; without it, a pseudo-terminal.")
    ] = None,
    seed: Seed = 1,
    fault: Annotated[
        list[SensorFault] | None,
        typer.Option(
            "--fault", parser=_fault, metavar="KIND=PROBABILITY[:DURATION]", help="lost=0.01, …; repeat."
        ),
    ] = None,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve a car park: LoRaWAN sensors behind a broker, zone controllers on a line, until Ctrl-C."""
    if profile not in MODELS:
        raise typer.BadParameter(f"there is no simulated sensor '{profile}'", param_hint="--profile")
    sensors = SensorsSection(
        id="bay", profile=profile, count=bays or 1, alive_ms=round(alive * 1000), faults=tuple(fault or ())
    )
    boxes = tuple(ControllerSection(id=f"zone-controller-{n}", unit=n) for n in range(1, controllers + 1))
    section = CarParkSection(
        broker=broker,
        sensors=(sensors,) if bays else (),
        lines=(ControllerLineSection(port=port, controllers=boxes),) if boxes else (),
    )
    scenario = Scenario(scenario="parking", seed=seed, car_parks=(section,))
    serve(scenario, speed=speed, ledger=ledger, as_json=as_json)
