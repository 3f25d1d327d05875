"""The command `simulators parking`: a car park at the wire."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.errors import GatehouseError
from models.times import Clock
from simulators.clocks import clock as make_clock
from simulators.faults import FaultMistake
from simulators.ledger import LedgerWriter
from simulators.parking.faults import SensorFault, parse_sensor_fault
from simulators.parking.running import CarPark, running_car_park
from simulators.parking.sections import (
    BrokerSection,
    CarParkSection,
    ControllerLineSection,
    ControllerSection,
    SensorsSection,
)
from simulators.parking.sensors import MODELS


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
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same cars and faults.")] = 1,
    fault: Annotated[
        list[SensorFault] | None,
        typer.Option(
            "--fault", parser=_fault, metavar="KIND=PROBABILITY[:DURATION]", help="lost=0.01, …; repeat."
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="Simulated seconds in a real second.")] = 1.0,
    ledger: Annotated[Path | None, typer.Option(help="Write down what is said, into this new file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is served as one line of JSON.")] = False,
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
    try:
        asyncio.run(_serve(section, make_clock(speed=speed), seed, ledger, as_json=as_json))
    except (GatehouseError, OSError) as err:
        typer.echo(msgspec.json.encode({"error": str(err)}) if as_json else str(err), err=not as_json)
        raise typer.Exit(1) from err


async def _serve(
    section: CarParkSection, clock: Clock, seed: int, ledger: Path | None, *, as_json: bool
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    origin_ms = clock.now_ms()
    writer = None
    if ledger is not None:
        writer = LedgerWriter(ledger, scenario="parking", seed=seed, start_ms=origin_ms)
    try:
        async with running_car_park(
            section, clock=clock, seed=seed, origin_ms=origin_ms, ledger=writer
        ) as park:
            typer.echo(_told(park, as_json=as_json))
            sys.stdout.flush()
            await stop.wait()
            if writer is not None:
                writer.end(clock.now_ms())
        typer.echo(f"stopped after {park.published} messages", err=True)
    finally:
        if writer is not None:
            writer.close()


def _told(park: CarPark, *, as_json: bool) -> str:
    """With the part of a gateway's configuration that reads it."""
    configuration = {"buses": park.buses("parking"), "devices": park.devices("parking")}
    if as_json:
        return msgspec.json.encode(configuration).decode()
    lines = ["An edge agent reads this car park with this in its gateway.yaml:", ""]
    for key, entries in configuration.items():
        lines.append(f"{key}:")
        lines += [f"  - {msgspec.json.encode(entry).decode()}" for entry in entries]  # JSON is YAML
    return "\n".join([*lines, "", "Ctrl-C ends it."])
