"""What the command line says of a scenario: what is served, and how to read it."""

from pathlib import Path
from typing import Any

from models.profile.modbus import ModbusProfile
from simulators.profiles import profile_of
from simulators.scenario import Scenario
from simulators.site import Site

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # looked for, not bound to


def summary(name: str, scenario: Scenario) -> dict[str, Any]:
    """A scenario in a few numbers."""
    meters = [meter for rack in scenario.racks for meter in rack.meters]
    return {
        "name": name,
        "title": scenario.title,
        "endpoints": len(scenario.racks),
        "meters": len(meters),
        "points": sum(len(profile_of(meter.profile, ModbusProfile).points) for meter in meters),
        "anomalies": [
            {"meter": meter.id, "kind": anomaly.kind} for meter in meters for anomaly in meter.anomalies
        ],
    }


def served(site: Site, speed: float, ledger: Path | None) -> dict[str, Any]:
    """What is served, for machines."""
    return {
        "scenario": site.scenario.scenario,
        "seed": site.scenario.seed,
        "speed": speed,
        "start_ms": site.start_ms,
        "ledger": None if ledger is None else str(ledger),
        "endpoints": [
            {
                "host": endpoint.host,
                "port": endpoint.port,
                "meters": [
                    {
                        "id": meter.id,
                        "unit": meter.unit,
                        "profile": meter.profile.profile,
                        "points": len(meter.profile.points),
                        "parameters": meter.parameters,
                    }
                    for meter in endpoint.meters
                ],
            }
            for endpoint in site.endpoints
        ],
    }


def banner(site: Site, speed: float, ledger: Path | None) -> str:
    """What is served, with the part of a gateway's configuration that reads it."""
    points = sum(len(meter.profile.points) for meter in site.meters)
    pace = "" if speed == 1 else f", {speed:g} times as fast as real time"
    lines = [f"{site.scenario.scenario}: {len(site.meters)} meters, {points} points{pace}"]
    for endpoint in site.endpoints:
        units = ", ".join(str(meter.unit) for meter in endpoint.meters)
        lines.append(f"  {endpoint.host}:{endpoint.port} units {units}")
    if ledger is not None:
        lines.append(f"  what they show is written to {ledger}")
    lines += ["", "An edge agent reads them with this in its gateway.yaml:", "", "buses:"]
    for number, endpoint in enumerate(site.endpoints, 1):
        host = "127.0.0.1" if endpoint.host in _ALL_ADDRESSES else endpoint.host
        lines.append(f"  - {{id: rack-{number}, modbus_tcp: {{host: {host}, port: {endpoint.port}}}}}")
    lines.append("devices:")
    for number, endpoint in enumerate(site.endpoints, 1):
        for meter in endpoint.meters:
            given = "".join(f", {name}: {value:g}" for name, value in meter.parameters.items())
            parameters = f", parameters: {{{given[2:]}}}" if given else ""
            lines.append(
                f"  - {{id: {meter.id}, name: {meter.id}, bus: rack-{number}, unit: {meter.unit}, "
                f"profile: {meter.profile.profile}, period_s: 10{parameters}}}"
            )
    return "\n".join([*lines, "", "Ctrl-C ends it."])
