"""Telling a device to do something, for whoever stands before it; what came of it is on record."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.contract import ActingDriver, CommandRefused, DeviceState, DeviceUnreachable
from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.buses import is_asked
from edge_agent.buses.polled import make_driver, make_wire
from edge_agent.commands.answer import Answer
from edge_agent.commands.read import find_device
from edge_agent.commands.running import real_clock
from edge_agent.config import Config, DeviceSection, load_config
from edge_agent.control import on_site
from edge_agent.control.client import AgentSaysNo, ask_agent, myself
from edge_agent.control.executor import Executor
from edge_agent.control.service import ended_answer, on_site_order
from edge_agent.sink import BufferSink
from models.actions import ArgumentsWrong, checked_arguments
from models.errors import NeedsAHuman
from models.times import Clock


def tell(path: Path, device_id: str, action: str, arguments: Mapping[str, Any]) -> Answer:
    """Through the running agent; where none runs, the device is opened for this once."""
    config = load_config(path)
    device = find_device(config, device_id)
    try:
        checked = checked_arguments(action, arguments)
    except ArgumentsWrong as err:
        raise NeedsAHuman(f"{device_id}: {err}") from None
    question = on_site.Question(do="act", device=device.id, action=action, arguments=checked)
    answer = ask_agent(config.state_dir, question)
    if answer is None:
        answer = asyncio.run(_tell_once(config, device, action, checked))
    if answer.error:
        raise AgentSaysNo(answer.code, f"{device_id}: {answer.error}")
    return _said(device.id, answer)


async def _tell_once(
    config: Config, device: DeviceSection, action: str, arguments: dict[str, Any]
) -> on_site.Answer:
    """With the buffer to ourselves, so that the record of it is sent when the agent runs again."""
    clock = real_clock()
    bus = _OpenedOnce(config, device, clock)
    order = on_site_order(device.id, action, arguments, by=myself().name, now_ms=clock.now_ms())
    async with await SqliteBuffer.open(config.buffer_file, clock=clock, at_rest=at_rest_of(config)) as buffer:
        sink = BufferSink(buffer, clock)
        executor = Executor(
            lambda: [bus], note=lambda marks: buffer.append([], marks), sink=sink, clock=clock
        )
        await executor.begin()
        running = asyncio.create_task(executor.run())
        try:
            return await ended_answer(await executor.submit(order))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await sink.flush()


class _OpenedOnce:
    """A `edge_agent.buses.contract.Bus` of one device that is not polled."""

    def __init__(self, config: Config, device: DeviceSection, clock: Clock) -> None:
        self.bus = device.bus
        self._config, self._device, self._clock = config, device, clock

    @property
    def states(self) -> Sequence[DeviceState]:
        return [DeviceState(self._device.id, answered_ms=0)]  # it is not waited for: it is opened when told

    async def run(self) -> None:
        return None

    def stop(self) -> None:
        return None

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        [bus] = [bus for bus in self._config.settings.buses if bus.id == self.bus]
        if not is_asked(bus):
            raise CommandRefused(device_id, action, "the agent must run for that; start it: edge-agent run")
        driver = make_driver(self._config, self._device, make_wire(bus, self._clock), self._clock)
        if not isinstance(driver, ActingDriver):
            raise CommandRefused(device_id, action, "it can only be read")
        try:
            with contextlib.suppress(DeviceUnreachable):  # `act` tries again, and looks at the order first
                await driver.open()
            return await driver.act(action, arguments)
        finally:
            await driver.close()


def _said(device_id: str, answer: on_site.Answer) -> Answer:
    outcome = answer.outcome
    if outcome is None:
        raise AgentSaysNo("no-answer", f"{device_id}: the agent has said nothing of it")
    facts: dict[str, Any] = {
        "state": answer.state,
        "id": outcome.id,
        "device": device_id,
        "action": outcome.action,
        "arguments": outcome.arguments,
        "by": outcome.by,
        **({"result": outcome.result} if outcome.result else {}),
        **({"code": outcome.code, "detail": outcome.detail} if outcome.code else {}),
    }
    if answer.state != "done":
        return Answer(facts, f"{device_id}: {answer.state}: {outcome.detail}", is_good=False)
    shown = [f"  {name}: {_plain(value)}" for name, value in outcome.result.items()]
    return Answer(facts, "\n".join([f"{device_id}: done, by {outcome.by}", *shown]))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
