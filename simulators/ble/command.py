"""The command `simulators ble`: Bluetooth devices behind a private D-Bus."""

from pathlib import Path
from typing import Annotated

import typer

from simulators.ble.meters import METERS
from simulators.ble.sections import BleDeviceSection, BleSection
from simulators.ble.senders import SENDERS
from simulators.noise import key_of
from simulators.options import AsJson, Keys, Ledger, Seed, Speed
from simulators.scenario import Scenario
from simulators.serving import serve

_EXAMPLES = ("bthome-meter", "bthome-climate", "xiaomi-lywsd03mmc", "ruuvitag", "victron-bmv", "atorch-ac")
_KEYED = ("bthome-meter", "bthome-climate", "xiaomi-lywsd03mmc", "victron-bmv")


def ble(
    profile: Annotated[
        list[str] | None,
        typer.Option(help="One device for each; repeat. Have: " + ", ".join([*SENDERS, *METERS]) + "."),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two measurements.")] = 5.0,
    strangers: Annotated[int, typer.Option(min=0, max=500, help="Devices of other people around.")] = 0,
    socket: Annotated[
        Path | None, typer.Option(help="Where the bus listens; without it, in a folder of its own.")
    ] = None,
    keys: Keys = None,
    seed: Seed = 1,
    speed: Speed = 1.0,
    ledger: Ledger = None,
    as_json: AsJson = False,
) -> None:
    """Serve Bluetooth devices: BlueZ's interface on a bus of its own, until Ctrl-C."""
    wanted = profile or list(_EXAMPLES)
    for name in wanted:
        if name not in SENDERS and name not in METERS:
            raise typer.BadParameter(f"there is no simulated device '{name}'", param_hint="--profile")
    section = BleSection(
        devices=tuple(_device(name, number, every, seed) for number, name in enumerate(wanted, 1)),
        strangers=strangers,
        socket=None if socket is None else str(socket),
    )
    scenario = Scenario(scenario="ble", seed=seed, radios=(section,))
    serve(scenario, speed=speed, ledger=ledger, keys=keys, as_json=as_json)


def _device(profile: str, number: int, every_s: float, seed: int) -> BleDeviceSection:
    secret = f"{key_of(seed, 'key', number):016x}{key_of(seed, 'key', -number):016x}"
    return BleDeviceSection(
        id=f"{profile}-{number}",
        address=f"A4:C1:38:00:{number >> 8 & 0xFF:02X}:{number & 0xFF:02X}",
        profile=profile,
        key=secret if profile in _KEYED else None,
        every_ms=round(every_s * 1000),
    )
