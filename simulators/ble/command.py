"""The command `simulators ble`: Bluetooth devices behind a private D-Bus."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.errors import GatehouseError
from models.times import Clock
from simulators.ble.meters import METERS
from simulators.ble.running import BUS_VARIABLE, RunningAir, running_air
from simulators.ble.sections import BleDeviceSection, BleSection
from simulators.ble.senders import SENDERS
from simulators.clocks import clock as make_clock
from simulators.ledger import LedgerWriter
from simulators.noise import key_of

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
    keys: Annotated[
        Path | None, typer.Option(help="Write the devices' keys into this folder, for a gateway.yaml there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same devices and values.")] = 1,
    speed: Annotated[float, typer.Option(min=0.001, help="Simulated seconds in a real second.")] = 1.0,
    ledger: Annotated[Path | None, typer.Option(help="Write down what is said, into this new file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what is served as one line of JSON.")] = False,
) -> None:
    """Serve Bluetooth devices: BlueZ's interface on a bus of its own, until Ctrl-C."""
    wanted = profile or list(_EXAMPLES)
    for name in wanted:
        if name not in SENDERS and name not in METERS:
            raise typer.BadParameter(f"there is no simulated device '{name}'", param_hint="--profile")
    section = BleSection(
        devices=tuple(_device(name, number, every, seed) for number, name in enumerate(wanted, 1)),
        strangers=strangers,
    )
    try:
        asyncio.run(_serve(section, make_clock(speed=speed), seed, socket, keys, ledger, as_json=as_json))
    except (GatehouseError, OSError) as err:
        typer.echo(msgspec.json.encode({"error": str(err)}) if as_json else str(err), err=not as_json)
        raise typer.Exit(1) from err


def _device(profile: str, number: int, every_s: float, seed: int) -> BleDeviceSection:
    secret = f"{key_of(seed, 'key', number):016x}{key_of(seed, 'key', -number):016x}"
    return BleDeviceSection(
        id=f"{profile}-{number}",
        address=f"A4:C1:38:00:{number >> 8 & 0xFF:02X}:{number & 0xFF:02X}",
        profile=profile,
        key=secret if profile in _KEYED else None,
        every_ms=round(every_s * 1000),
    )


async def _serve(
    section: BleSection,
    clock: Clock,
    seed: int,
    socket: Path | None,
    keys: Path | None,
    ledger: Path | None,
    *,
    as_json: bool,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # else the daemon of the bus would be left behind
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    origin_ms = clock.now_ms()
    writer = None
    if ledger is not None:
        writer = LedgerWriter(ledger, scenario="ble", seed=seed, start_ms=origin_ms)
    try:
        async with running_air(
            section, clock=clock, seed=seed, origin_ms=origin_ms, ledger=writer, socket=socket
        ) as air:
            if keys is not None:
                air.write_keys(keys)
            typer.echo(_told(air, as_json=as_json))
            sys.stdout.flush()
            await stop.wait()
            if writer is not None:
                writer.end(clock.now_ms())
            frames = sum(device.frames for device in air.devices)
        typer.echo(f"stopped after {frames} frames", err=True)
    finally:
        if writer is not None:
            writer.close()


def _told(air: RunningAir, *, as_json: bool) -> str:
    """With the part of a gateway's configuration that listens to it."""
    configuration = {"buses": air.buses("ble"), "devices": air.devices_of("ble")}
    if as_json:
        return msgspec.json.encode({"environment": air.environment, **configuration}).decode()
    lines = [
        "An edge agent hears these devices when it is started with",
        "",
        f"export {BUS_VARIABLE}='{air.bus_address}'",
        "",
        "and has this in its gateway.yaml, with the keys that --keys writes beside it:",
        "",
    ]
    for key, entries in configuration.items():
        lines.append(f"{key}:")
        lines += [f"  - {msgspec.json.encode(entry).decode()}" for entry in entries]  # JSON is YAML
    return "\n".join([*lines, "", "Ctrl-C ends it."])
