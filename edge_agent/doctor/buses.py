"""The buses: whether ports are there and free, whether endpoints answer, what the running agent has seen."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from edge_agent.config import BusSection
from edge_agent.doctor.collectors import reached
from edge_agent.doctor.files import user_name
from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene
from edge_agent.status import DeviceStatus

MISSED_PCT: Final = 5  # as much as a dead device may cost the others on its bus


def bus(scene: Scene, section: BusSection) -> Iterator[Finding]:
    """What its devices are connected to."""
    if section.serial is not None:
        yield from serial_port(scene, section.id, section.serial.port)
    elif section.osdp is not None:
        yield from serial_port(scene, section.id, section.osdp.port)
    elif section.modbus_tcp is not None:
        yield _endpoint(scene, section.id, section.modbus_tcp.host, section.modbus_tcp.port)
    elif section.serial_server is not None:
        yield _endpoint(scene, section.id, section.serial_server.host, section.serial_server.port)
    elif section.chirpstack is not None:
        yield _endpoint(scene, section.id, section.chirpstack.host, section.chirpstack.port)
    elif section.door_controller is not None:
        at = urlsplit(section.door_controller.url)
        port = at.port or (443 if at.scheme == "https" else 80)
        yield _endpoint(scene, section.id, at.hostname or "", port)
    elif section.ble is not None:
        yield from radio(scene, section.id, section.ble.adapter)
    if section.parking is None:
        yield from devices(scene, section)


def unknown_buses(_: Scene) -> Iterator[Finding]:
    """What is said of the buses of a configuration that cannot be used."""
    yield skipped("bus.endpoint", "the configuration cannot be used")


def check_name(section: BusSection) -> str:
    """The name of the first finding about it."""
    if section.serial is not None or section.osdp is not None:
        return "bus.port"
    return "bus.radio" if section.ble is not None else "bus.endpoint"


def serial_port(scene: Scene, bus_id: str, port: str) -> Iterator[Finding]:
    """Whether it is there, the agent may use it, and nobody else does."""
    path = Path(port)
    try:
        found = path.stat()
    except OSError as err:
        hint = "plug the adapter in, and look for its name: ls -l /dev/serial/by-id"
        yield problem("bus.port", f"{port}: {err.strerror}", hint, subject=bus_id)
        return
    if not stat.S_ISCHR(found.st_mode):
        hint = "name a serial port: ls -l /dev/serial/by-id"
        yield problem("bus.port", f"{port}: is no serial port", hint, subject=bus_id)
        return
    if not may_use(scene.agent_uid, found):
        user, group = user_name(scene.agent_uid), _group(found.st_gid)
        hint = f"usermod -a -G {group} {user}, then restart the agent"
        yield problem("bus.port", f"{port}: {user} may not use it (group {group})", hint, subject=bus_id)
        return
    others = [f"{name} (process {pid})" for pid, name in users_of(scene, path)]
    if others:
        hint = "end it: two on one line garble each other's replies"
        yield problem("bus.port", f"{port}: in use by {', '.join(others)}", hint, subject=bus_id)
        return
    lasting = lasting_name(path)
    if lasting:
        seen = f"{port}: may be another adapter after a reboot"
        yield warning("bus.port", seen, f"write port: {lasting}", subject=bus_id)
        return
    yield ok("bus.port", f"{port}: there, and {user_name(scene.agent_uid)} may use it", subject=bus_id)


def may_use(uid: int, found: os.stat_result) -> bool:
    """Whether this user may read and write a port."""
    both = stat.S_IRUSR | stat.S_IWUSR
    if uid == 0:
        return True
    if found.st_uid == uid:
        return found.st_mode & both == both
    if found.st_gid in _groups(uid):
        return found.st_mode & (both >> 3) == both >> 3
    return found.st_mode & (both >> 6) == both >> 6


def _groups(uid: int) -> list[int]:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return os.getgroups() if uid == os.geteuid() else []
    return os.getgrouplist(entry.pw_name, entry.pw_gid)


def users_of(scene: Scene, path: Path) -> Iterator[tuple[int, str]]:
    """Processes that have it open, but for the agent and this one; those of others only root sees."""
    target = os.path.realpath(path)
    for folder in sorted(scene.host.proc.glob("[0-9]*")):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            is_open = any(_link(link) == target for link in (folder / "fd").iterdir())
        except OSError:
            continue
        if is_open:
            words = (scene.host.text(folder / "cmdline") or "").replace("\0", " ")
            if "edge-agent" not in words and "edge_agent" not in words:
                yield pid, scene.host.text(folder / "comm") or "?"


def _link(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def lasting_name(path: Path) -> str:
    """The name by its serial number, of a port that is named by the order in which adapters were found."""
    if not path.name.startswith(("ttyUSB", "ttyACM")):
        return ""
    for link in sorted(path.parent.glob("serial/by-id/*")):
        if link.resolve() == path.resolve():
            return str(link)
    return ""


def _endpoint(scene: Scene, bus_id: str, host: str, port: int) -> Finding:
    """Many converters take one connection only: where the agent has it, its word is taken for it."""
    if any(device.state == "ok" for device in devices_of(scene, bus_id)):
        return ok("bus.endpoint", f"{host} port {port}: the agent has answers from there", subject=bus_id)
    return reached("bus.endpoint", bus_id, host, port)


def radio(scene: Scene, bus_id: str, adapter: str) -> Iterator[Finding]:
    """Whether the adapter is there, not blocked, and BlueZ runs."""
    folder = scene.host.sys / "class" / "bluetooth" / adapter
    if not folder.exists():
        there = sorted(path.name for path in folder.parent.glob("hci*") if ":" not in path.name)
        hint = (
            f"write adapter: {there[0]}" if there else "plug one in, or load its driver: dmesg | grep -i blue"
        )
        yield problem("bus.radio", f"{adapter}: there is no such adapter", hint, subject=bus_id)
        return
    for switch in sorted(folder.glob("rfkill*")):
        if scene.host.text(switch / "hard") == "1":
            hint = "turn the radio's switch on the case on"
            yield problem("bus.radio", f"{adapter}: switched off by a switch", hint, subject=bus_id)
            return
        if scene.host.text(switch / "soft") == "1":
            hint = "rfkill unblock bluetooth"
            yield problem("bus.radio", f"{adapter}: blocked by software", hint, subject=bus_id)
            return
    names = (scene.host.text(process / "comm") for process in scene.host.proc.glob("[0-9]*"))
    if "bluetoothd" not in names:
        hint = "apt-get install bluez; systemctl enable --now bluetooth"
        yield problem("bus.radio", f"{adapter}: bluetoothd does not run", hint, subject=bus_id)
        return
    yield ok("bus.radio", f"{adapter}: there, not blocked; bluetoothd runs", subject=bus_id)


def devices(scene: Scene, section: BusSection) -> Iterator[Finding]:
    """Which devices of a bus answer, and whether it keeps up."""
    known = devices_of(scene, section.id)
    if scene.status() is None:
        yield skipped("bus.devices", "the agent does not run", subject=section.id)
        return
    if not known:
        yield skipped("bus.devices", "the running agent has no device on it", subject=section.id)
        return
    lost = [f"{device.id} ({device.reason.replace('_', ' ')})" for device in known if device.state == "lost"]
    missed = sum(device.missed_polls for device in known)
    polls = sum(device.polls for device in known) + missed
    facts = {
        "devices": len(known),
        "lost": len(lost),
        "polls": polls,
        "missed_polls": missed,
        "bad_readings": _bad_readings(scene, section.id),
    }
    few = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    if len(lost) == len(known):
        hint = "look at what they share: power, cable, polarity, baud and parity, converter"
        yield problem("bus.devices", f"none answers: {few}", hint, subject=section.id, facts=facts)
    elif lost:
        hint = f"look at these: power, cable, address; edge-agent read {lost[0].split()[0]} shows the bytes"
        yield warning("bus.devices", f"lost: {few}", hint, subject=section.id, facts=facts)
    elif missed * 100 > MISSED_PCT * polls:
        seen = f"{missed} of {polls} polls were skipped, for the bus is too slow"
        hint = "longer period_s, a higher baud rate, or fewer devices on it"
        yield warning("bus.devices", seen, hint, subject=section.id, facts=facts)
    elif any(device.state == "new" for device in known):
        waiting = sum(device.state == "new" for device in known)
        yield ok(
            "bus.devices", f"{waiting} of {len(known)} not yet heard of", subject=section.id, facts=facts
        )
    else:
        yield ok("bus.devices", f"all {len(known)} answer", subject=section.id, facts=facts)


def devices_of(scene: Scene, bus_id: str) -> list[DeviceStatus]:
    """As the running agent sees them; none where none runs."""
    status = scene.status()
    return [] if status is None else [device for device in status.devices if device.bus == bus_id]


def _bad_readings(scene: Scene, bus_id: str) -> dict[str, int]:
    """Since the agent started, by reason."""
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(scene.metrics() or ""):
        for sample in family.samples:
            if sample.name == "gatehouse_bad_readings_total" and sample.labels.get("bus") == bus_id:
                found[sample.labels["reason"]] = int(sample.value)
    return found


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
