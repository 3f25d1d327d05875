"""Setting a point: from the collector and on site, with the agent and without; the meter is pymodbus's."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from typer.testing import CliRunner

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.cli import app
from models.reading import Event
from tests.support.guarded import REAL, Building, a_building

SETPOINT = 0x05


@contextlib.asynccontextmanager
async def a_thermostat() -> AsyncIterator[int]:
    """Where it listens: set to 21.5, and it is 19.8 in the room."""
    registers = SimData(5, values=[215, 198], datatype=DataType.REGISTERS)
    bits = [SimData(0, values=[False], datatype=DataType.BITS)]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    device = SimDevice(7, (bits, bits, [registers], [registers]))
    server = ModbusTcpServer([device], address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped


@pytest.fixture
async def building(tmp_path: Path) -> AsyncIterator[Building]:
    async with (
        a_thermostat() as port,
        a_building(tmp_path, allow="write", meter_port=port) as made,
    ):
        yield made


async def typed(building: Building, *words: str) -> tuple[int, Any]:
    """What a command on the gateway answers."""
    line = [*words, "--json", "--config", str(building.config.file)]
    result = await asyncio.to_thread(CliRunner().invoke, app, line)
    return result.exit_code, json.loads(result.stdout)


async def setpoint(building: Building) -> float:
    code, told = await typed(building, "read", "meter-01")
    assert code == 0
    return next(float(one["value"]) for one in told["readings"] if one["point"] == "setpoint_c")


async def test_the_collector_sets_a_point_and_is_told_what_it_was(building: Building) -> None:
    async with building.agent():
        await building.give("c-1", "write", {"point": "setpoint_c", "value": 18.5}, to="meter-01")
        told = await building.outcome("c-1")
        assert told["state"] == "done", told
        assert (told["result"]["before"], told["result"]["after"]) == (21.5, 18.5)
        assert await setpoint(building) == 18.5
        for key, wanted in (
            ("c-2", {"point": "setpoint_c", "value": 99}),
            ("c-3", {"point": "room_c", "value": 20}),
        ):
            await building.give(key, "write", wanted, to="meter-01")
            assert (await building.outcome(key))["state"] == "refused"
        await building.give("c-4", "open_once")  # doors are not allowed here
        assert (await building.outcome("c-4"))["code"] == "not-allowed"
        assert await setpoint(building) == 18.5


async def test_on_site_a_point_is_set_and_read_through_the_agent(building: Building) -> None:
    async with building.agent():
        code, told = await typed(building, "write", "meter-01", "setpoint_c", "24")
        assert (code, told["state"], told["result"]["after"]) == (0, "done", 24.0)
        code, shown = await typed(building, "read", "meter-01")
        assert (code, len(shown["exchanges"]) > 0) == (0, True)
        assert {one["point"]: one["value"] for one in shown["readings"]} == {
            "setpoint_c": 24.0,
            "room_c": 19.8,
        }
        [listed] = await building.commands(1)
    assert (listed["origin"], listed["issued_by"], listed["state"]) == ("on-site", told["by"], "done")


async def test_without_an_agent_the_device_is_opened_for_this_and_the_record_is_sent_later(
    building: Building,
) -> None:
    code, told = await typed(building, "write", "meter-01", "setpoint_c", "17.5")
    assert (code, told["state"]) == (0, "done")
    assert await setpoint(building) == 17.5
    code, refused = await typed(building, "write", "meter-01", "setpoint_c", "4.9")
    assert (code, refused["state"], refused["code"]) == (1, "refused", "refused")
    code, refused_too = await typed(building, "write", "meter-01", "setpoint_c", "-5")
    assert (code, refused_too["arguments"]["value"]) == (1, -5.0)
    code, wrong = await typed(building, "write", "meter-01", "setpoint_c", "nan")
    assert (code, "must be a number" in wrong["error"]) == (1, True)
    async with await SqliteBuffer.open(
        building.config.buffer_file, clock=REAL, at_rest=at_rest_of(building.config)
    ) as buffer:
        cut = await (await buffer.outbox("main")).cut(100)
    assert cut is not None
    kinds = [item.kind for item in cut.items if isinstance(item, Event)]
    assert kinds == ["command.done", "command.refused", "command.refused"]
    async with building.agent():
        listed = {item["id"]: item["state"] for item in await building.commands(3)}
    assert listed == {told["id"]: "done", refused["id"]: "refused", refused_too["id"]: "refused"}


async def test_a_device_that_the_running_agent_does_not_know_yet_is_not_opened_behind_its_back(
    building: Building,
) -> None:
    async with building.agent():
        text = building.config.file.read_text()
        more = text.replace("meter-01, bus: rack, unit: 7", "meter-02, bus: rack, unit: 7")
        building.config.file.write_text(more)
        code, told = await typed(building, "read", "meter-02")
        assert (code, "edge-agent reload" in told["error"]) == (1, True)
        code, told = await typed(building, "write", "meter-02", "setpoint_c", "20")
        assert (code, "edge-agent reload" in told["error"]) == (1, True)
