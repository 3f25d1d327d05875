"""Reading one device at once, with the bytes, for whoever stands before it."""

import asyncio
from pathlib import Path
from typing import Any

from drivers.contract import Exchange
from edge_agent.buses import is_asked
from edge_agent.buses.polled import make_driver, make_wire
from edge_agent.commands import decodings
from edge_agent.commands.answer import Answer, table
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, DeviceSection, load_config
from edge_agent.config.checks import address_of
from edge_agent.control.client import AgentSaysNo, ask_agent
from edge_agent.control.on_site import Question
from models.document_hints import suggest
from models.errors import NeedsAHuman
from models.profile import Profile
from models.profile.modbus import ModbusProfile
from models.reading import Quality, Reading, Reason


class NoSuchDevice(NeedsAHuman):
    """The configuration has no device of that id."""


def read(path: Path, device_id: str, *, with_decodings: bool = False) -> Answer:
    """Bad news when any point has no value. `with_decodings`: all that its registers may mean as well."""
    config = load_config(path)
    device = find_device(config, device_id)
    profile = config.profile_of(device)
    if with_decodings and not isinstance(profile, ModbusProfile):
        raise NeedsAHuman(f"{device.id}: a {profile.family} has no registers that could be read otherwise")
    readings, exchanges = _from_the_agent(config, device) or asyncio.run(_read(config, device))
    facts = {
        "device": device.id,
        "profile": profile.profile,
        "exchanges": [_exchange_facts(exchange) for exchange in exchanges],
        "readings": [_reading_facts(reading, profile) for reading in readings],
    }
    text = _text(device, profile, readings, exchanges)
    if with_decodings and isinstance(profile, ModbusProfile):
        [bus] = [bus for bus in config.settings.buses if bus.id == device.bus]
        registers = decodings.registers_in(exchanges, is_tcp=bus.modbus_tcp is not None)
        settled = profile.settled_parameters(device.parameters)
        places = list(decodings.places(registers, profile, settled))
        facts["decodings"] = decodings.facts(places)
        text += "\n\n" + decodings.text(places)
    is_good = all(reading.quality is not Quality.BAD for reading in readings)
    return Answer(facts, text, is_good=is_good)


def find_device(config: Config, device_id: str) -> DeviceSection:
    """Raises NoSuchDevice."""
    for device in config.settings.devices:
        if device.id == device_id:
            return device
    hint = suggest(device_id, [device.id for device in config.settings.devices]) or "there are none yet"
    raise NoSuchDevice(f"{config.file}: no device '{device_id}' ({hint})")


def _from_the_agent(config: Config, device: DeviceSection) -> tuple[list[Reading], list[Exchange]] | None:
    """Read through the agent, if one runs: most wires cannot be used by two at once.

    None when the device is to be opened here: no agent runs, or it has nothing to do with that bus.
    """
    answer = ask_agent(config.state_dir, Question(do="read", device=device.id))
    if answer is None or (answer.code == "no-such-device" and device.bus not in answer.buses):
        return None
    if answer.error:
        raise AgentSaysNo(answer.code, answer.error)
    return answer.readings, answer.exchanges


async def _read(config: Config, device: DeviceSection) -> tuple[list[Reading], list[Exchange]]:
    clock = real_clock()
    [bus] = [bus for bus in config.settings.buses if bus.id == device.bus]
    if not is_asked(bus):
        raise NeedsAHuman(f"{device.id} speaks by itself and cannot be asked; see: edge-agent status")
    driver = make_driver(config, device, make_wire(bus, clock), clock)
    try:
        await driver.open()
        return await driver.read_traced()
    finally:
        await driver.close()


def _exchange_facts(exchange: Exchange) -> dict[str, Any]:
    return {
        "request": exchange.request.hex(" "),
        "replies": [reply.hex(" ") for reply in exchange.replies],
        "problem": exchange.problem,
        "took_ms": exchange.received_ms - exchange.sent_ms,
    }


def _reading_facts(reading: Reading, profile: Profile) -> dict[str, Any]:
    return {
        "point": reading.point,
        "value": reading.value,
        "unit": profile.point(reading.point).unit,
        "quality": Quality(reading.quality).name.lower(),
        "reason": Reason(reading.reason).name.lower() if reading.reason else "",
    }


def _text(device: DeviceSection, profile: Profile, readings: list[Reading], exchanges: list[Exchange]) -> str:
    place = f"{key} {address_of(device)} " if (key := profile.addressing.by) in ("unit", "address") else ""
    lines = [
        f"{' '.join(filter(None, (device.id, device.name)))}: {profile.title}, {place}on bus {device.bus}",
        "",
    ]
    for exchange in exchanges:
        lines.append(f"> {exchange.request.hex(' ')}")
        lines += [f"< {reply.hex(' ')}" for reply in exchange.replies]
        lines.append(f"  {exchange.problem or f'{exchange.received_ms - exchange.sent_ms} ms'}")
    rows = []
    for reading in readings:
        facts = _reading_facts(reading, profile)
        value = "" if reading.value is None else f"{reading.value:.{profile.point(reading.point).decimals}f}"
        quality = facts["quality"] + (f": {facts['reason'].replace('_', ' ')}" if facts["reason"] else "")
        rows.append([reading.point, value, facts["unit"], quality])
    return "\n".join([*lines, "", table(["point", "value", "unit", "quality"], rows)])
