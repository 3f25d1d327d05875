"""The machine: memory, heat, power, and which versions it runs."""

import platform
import sqlite3
import ssl
from collections.abc import Iterator
from typing import Final

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene
from edge_agent.version import agent_version

LITTLE_MB: Final = 64  # a busy gateway's agent takes 80 MB; with less free the kernel soon ends it
VERY_LITTLE_MB: Final = 16
HOT_C: Final = 80  # where boards begin to slow down
TOO_HOT_C: Final = 95

# Raspberry Pi firmware, get_throttled: what is so now, and what has been since it was started.
_NOW: Final = {0: "too little voltage", 1: "slowed down", 2: "throttled", 3: "too hot"}


def memory(scene: Scene) -> Iterator[Finding]:
    """What is free, and whether the kernel has had to end processes."""
    figures = _figures(scene.host.text(scene.host.proc / "meminfo") or "")
    if "MemAvailable" not in figures:
        yield skipped("machine.memory", "the kernel does not say")
        return
    free_mb, total_mb = figures["MemAvailable"] // 1024, figures.get("MemTotal", 0) // 1024
    killed = _figures(scene.host.text(scene.host.proc / "vmstat") or "").get("oom_kill", 0)
    seen = f"{free_mb} MB of {total_mb} MB free"
    facts = {"free_mb": free_mb, "total_mb": total_mb, "oom_kills": killed}
    hint = "see what takes it: ps aux --sort=-rss | head"
    if free_mb < VERY_LITTLE_MB:
        yield problem("machine.memory", seen, hint, facts=facts)
    elif killed:
        seen += f"; the kernel ended {killed} processes for want of it"
        yield warning("machine.memory", seen, "journalctl -k --grep 'Out of memory' says which", facts=facts)
    elif free_mb < LITTLE_MB:
        yield warning("machine.memory", seen, hint, facts=facts)
    else:
        yield ok("machine.memory", seen, facts=facts)


def _figures(text: str) -> dict[str, int]:
    """`MemFree:  1234 kB` and `oom_kill 0`."""
    found = {}
    for line in text.splitlines():
        name, *values = line.replace(":", " ").split() or [""]
        if values and values[0].isdecimal():
            found[name] = int(values[0])
    return found


def temperature(scene: Scene) -> Iterator[Finding]:
    """The hottest place that the machine measures."""
    measured = []
    for zone in sorted((scene.host.sys / "class" / "thermal").glob("thermal_zone*")):
        text = scene.host.text(zone / "temp")
        if text and text.lstrip("-").isdecimal():
            measured.append((int(text) / 1000, scene.host.text(zone / "type") or zone.name))
    if not measured:
        yield skipped("machine.temperature", "nothing here measures it")
        return
    hottest_c, name = max(measured)
    seen = f"{hottest_c:.0f} °C ({name})"
    hint = "give it air, or shade; in a cabinet a fan"
    if hottest_c >= TOO_HOT_C:
        yield problem("machine.temperature", seen, hint, facts={"hottest_c": hottest_c})
    elif hottest_c >= HOT_C:
        yield warning("machine.temperature", seen, hint, facts={"hottest_c": hottest_c})
    else:
        yield ok("machine.temperature", seen, facts={"hottest_c": hottest_c})


def power(scene: Scene) -> Iterator[Finding]:
    """Undervoltage, where the board tells of it: it damages SD cards."""
    hint = "use the power supply that belongs to the board, and a short cable"
    told = 0
    throttled = scene.host.text(scene.host.sys / "devices/platform/soc/soc:firmware/get_throttled")
    if throttled is not None:
        told += 1
        bits = int(throttled, 16)
        now = [text for bit, text in _NOW.items() if bits >> bit & 1]
        ever = [text for bit, text in _NOW.items() if bits >> (bit + 16) & 1]
        if now:
            yield problem("machine.power", f"now: {', '.join(now)}", hint, facts={"throttled": bits})
        elif ever:
            yield warning(
                "machine.power", f"since it was started: {', '.join(ever)}", hint, facts={"throttled": bits}
            )
        else:
            yield ok("machine.power", "never too little since it was started", facts={"throttled": bits})
    for alarm in sorted((scene.host.sys / "class" / "hwmon").glob("hwmon*/in*_lcrit_alarm")):
        if throttled is not None:
            break  # it is the same measurement
        told += 1
        if scene.host.text(alarm) == "1":
            yield problem("machine.power", "too little voltage", hint)
        else:
            yield ok("machine.power", "voltage as it should be")
    if not told:
        yield skipped("machine.power", "nothing here measures it")


def versions(scene: Scene) -> Iterator[Finding]:
    """What is installed, and whether it is what runs."""
    facts = version_facts()
    seen = (
        f"edge-agent {facts['edge_agent']}, Python {facts['python']}, SQLite {facts['sqlite']}, "
        f"{facts['openssl']}, Linux {facts['kernel']}"
    )
    status = scene.status()
    if status is not None and status.version != facts["edge_agent"]:
        seen = f"the agent that runs is {status.version}, installed is {facts['edge_agent']}"
        yield warning(
            "machine.versions", seen, "restart the agent", facts={**facts, "running": status.version}
        )
        return
    yield ok("machine.versions", seen, facts=facts)


def version_facts() -> dict[str, str]:
    """By name."""
    return {
        "edge_agent": agent_version(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
