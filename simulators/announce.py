"""What the command line says of a scenario: what is served, and how to read it."""

from pathlib import Path
from typing import Any

import yaml

from models.profile.modbus import ModbusProfile
from simulators.profiles import profile_of
from simulators.scenario import Scenario
from simulators.site import Site


def summary(name: str, scenario: Scenario) -> dict[str, Any]:
    """A scenario in a few numbers."""
    meters = [meter for rack in scenario.racks for meter in rack.meters]
    return {
        "name": name,
        "title": scenario.title,
        "endpoints": len(scenario.racks),
        "meters": len(meters),
        "points": sum(len(profile_of(meter.profile, ModbusProfile).points) for meter in meters),
        "others": [key for key, _, _ in scenario.parts],
        "anomalies": [
            {"meter": meter.id, "kind": anomaly.kind} for meter in meters for anomaly in meter.anomalies
        ],
    }


def served(site: Site, speed: float, ledger: Path | None) -> dict[str, Any]:
    """What is served, for machines; `buses` and `devices` are those of a gateway.yaml that reads it."""
    return {
        "scenario": site.scenario.scenario,
        "seed": site.scenario.seed,
        "speed": speed,
        "start_ms": site.start_ms,
        "ledger": None if ledger is None else str(ledger),
        "environment": site.environment,
        "buses": [bus for part in site.parts for bus in part.buses],
        "devices": [device for part in site.parts for device in part.devices],
    }


def banner(site: Site, speed: float, ledger: Path | None, keys: Path | None) -> str:
    """What is served, with the part of a gateway's configuration that reads it."""
    devices = sum(len(part.devices) for part in site.parts)
    pace = "" if speed == 1 else f", {speed:g} times as fast as real time"
    lines = [f"{site.scenario.scenario}: {devices} devices on {len(site.parts)} parts{pace}"]
    if ledger is not None:
        lines.append(f"  what they show is written to {ledger}")
    if site.secrets:
        there = f"are in {keys}" if keys is not None else "are written by --keys FOLDER"
        lines.append(f"  keys and passwords {there}; they belong beside gateway.yaml")
    if site.environment:
        lines += ["", "An edge agent hears them when it is started with:", ""]
        lines += [f"export {name}='{value}'" for name, value in site.environment.items()]
    lines += ["", "An edge agent reads them with this in its gateway.yaml:", ""]
    for key in ("buses", "devices"):
        lines.append(f"{key}:")
        lines += [f"  - {_flow(entry)}" for part in site.parts for entry in getattr(part, key)]
    return "\n".join([*lines, "", "Ctrl-C ends it."])


def _flow(entry: dict[str, Any]) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(entry, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000)
    return text.strip()
