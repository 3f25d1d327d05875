"""The commands `simulators door` and `simulators osdp`: door controllers and readers at the wire."""

from typing import Annotated

import typer

from simulators.access.codes import Make
from simulators.access.messages import Form
from simulators.access.sections import (
    DoorControllerSection,
    DoorFault,
    OsdpLineSection,
    ReaderSection,
    parse_door_fault,
)
from simulators.faults import FaultMistake
from simulators.noise import key_of
from simulators.options import AsJson, Faults, Keys, Ledger, Seed, Speed
from simulators.scenario import Scenario
from simulators.serving import serve


def _fault(text: str) -> DoorFault:
    try:
        return parse_door_fault(text)
    except FaultMistake as err:
        raise typer.BadParameter(str(err)) from err


def door(
    make: Annotated[Make, typer.Option(help="Whose codes: isapi, or shifted by one.")] = "isapi",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for a free one.")] = 8090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    doors: Annotated[int, typer.Option(min=1, max=8)] = 2,
    people: Annotated[int, typer.Option(min=0, max=500, help="Who work there.")] = 20,
    push_to: Annotated[str | None, typer.Option(help="http address that events are pushed to.")] = None,
    form: Annotated[Form, typer.Option(help="How events are written: json or xml.")] = "json",
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Offer no alertStream.")] = False,
    log_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Events that its log holds.")] = 100_000,
    fault: Annotated[
        list[DoorFault] | None,
        typer.Option(
            "--fault", parser=_fault, metavar="KIND=PROBABILITY[:ARGUMENT]",
            help="lost=0.1, duplicate=0.1, swapped=0.1, late=0.1:3s, garbage=0.05, cut=0.01, refused, "
            "reboot=1:60s, clock=1:-3600, reset; repeat for more.",
        ),
    ] = None,
    keys: Keys = None,
    seed: Seed = 1,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Serve a door controller with HTTP and the people who use its doors, until Ctrl-C."""
    section = DoorControllerSection(
        id="doors",
        make=make,
        host=host,
        port=port,
        doors=doors,
        people=people,
        push_url=push_to,
        pictures=push_to is not None,
        form=form,
        streams=not no_stream,
        log_size=log_size,
        faults=tuple(fault or ()),
    )
    scenario = Scenario(scenario="door", seed=seed, door_controllers=(section,))
    serve(scenario, speed=speed, ledger=ledger, keys=keys, as_json=as_json)


def osdp(
    readers: Annotated[int, typer.Option(min=1, max=32, help="With keys of their own.")] = 2,
    in_clear: Annotated[int, typer.Option(min=0, max=8, help="More that speak in clear.")] = 0,
    with_default_key: Annotated[
        int, typer.Option(min=0, max=8, help="More that have the default key of the standard.")
    ] = 0,
    people: Annotated[int, typer.Option(min=0, max=500, help="Who hold their cards to them.")] = 5,
    fault: Faults = None,
    keys: Keys = None,
    seed: Seed = 1,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve OSDP door readers on a pseudo-terminal, until Ctrl-C."""
    wanted = ["own"] * readers + ["none"] * in_clear + ["default"] * with_default_key
    sections = tuple(
        ReaderSection(id=f"reader-{number}", address=number, key=_key(kind, seed, number))
        for number, kind in enumerate(wanted, 1)
    )
    section = OsdpLineSection(readers=sections, people=people, faults=tuple(fault or ()))
    scenario = Scenario(scenario="osdp", seed=seed, osdp_lines=(section,))
    serve(scenario, speed=speed, ledger=ledger, keys=keys, as_json=as_json)


def _key(kind: str, seed: int, number: int) -> str:
    if kind != "own":
        return kind
    return f"{key_of(seed, 'reader key', number):016x}{key_of(seed, 'reader key', -number):016x}"
