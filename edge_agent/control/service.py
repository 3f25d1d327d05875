"""Puts together what a running agent needs for commands: from the collector, and from whoever is on site."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from edge_agent.buffer.contract import Buffer
from edge_agent.buses.contract import AskedBus, Bus
from edge_agent.control.executor import Executor
from edge_agent.control.fetch import Asking, Fetcher
from edge_agent.control.inbox import Inbox
from edge_agent.control.on_site import SOCKET, Answer, Peer, Question, serve_on_site
from edge_agent.control.orders import Ended, Order
from edge_agent.fleet import Fleet
from edge_agent.identity.folder import Identity, load_identity
from edge_agent.reconfigure import Reconfigurer
from edge_agent.sink import BufferSink
from edge_agent.stick.stick import Stick
from edge_agent.timekeeper import Timekeeper
from edge_agent.trials import Trials
from models.actions import ArgumentsWrong, Group, checked_arguments
from models.errors import GatehouseError
from models.times import Clock

ON_SITE_LIFE_MS: Final = 120_000
"""How long somebody who stands at the device waits. A bus that hangs is let go after as long."""

MOST_WHY: Final = 500  # characters that a reason may have

LAST_COMMAND_S: Final = 1.0  # in real time, for one that is being done when the agent is to stop
_STEP_S: Final = 0.02


class Control:
    """`run` until cancelled; `finish` before the buses end."""

    def __init__(
        self,
        fleet: Fleet,
        reconfigurer: Reconfigurer,
        trials: Trials,
        *,
        buffer: Buffer,
        sink: BufferSink,
        clock: Clock,
        timekeeper: Timekeeper,
        on_told: Callable[[], None],
    ) -> None:
        """`on_told` is called when there is news of a command for the collector."""
        self._fleet, self._reconfigurer, self._trials = fleet, reconfigurer, trials
        self._sink, self._clock = sink, clock
        self._timekeeper, self._stick = timekeeper, Stick(buffer, timekeeper)
        self._begun = asyncio.Event()
        self._executor = Executor(
            lambda: fleet.buses,
            note=lambda marks: buffer.append([], marks),
            sink=sink,
            clock=clock,
            on_told=on_told,
        )

    async def run(self) -> None:
        await self._executor.begin()
        self._begun.set()
        async with serve_on_site(self._fleet.config.state_dir / SOCKET, self._answer):
            await self._executor.run()

    async def fetch(self, collector: str, identity: Identity, connection: Asking) -> None:
        """Take what a collector has to give, for ever."""
        await self._begun.wait()
        take = partial(self._trials.take, collector=collector, identity=identity)
        inbox = Inbox(identity, self._allowed, self._executor, self._sink, self._clock, take)
        await Fetcher(
            connection, inbox, clock=self._clock, is_time_known=lambda: self._timekeeper.is_set
        ).run()

    def _allowed(self) -> Collection[Group]:
        return self._fleet.config.settings.commands.allow

    async def finish(self) -> None:
        """Begin nothing more, and give what is being done a moment to end."""
        self._executor.stop()
        for _ in range(round(LAST_COMMAND_S / _STEP_S)):
            if not self._executor.is_busy:
                return
            await asyncio.sleep(_STEP_S)

    async def _answer(self, question: Question, peer: Peer) -> Answer:
        if question.do == "reload":
            return Answer(reloaded=await self._reconfigurer.reload(by=peer.name, why=question.why[:MOST_WHY]))
        if question.do == "confirm-time":
            await self._sink.put(await self._timekeeper.confirmed(peer.name))
            return Answer(state="confirmed")
        if question.do in ("seal", "settle"):
            return await self._carry(question)
        bus = self._executor.bus_of(question.device)
        if bus is None:
            return Answer(
                error=f"the running agent has no device '{question.device}'; "
                "after a change of its configuration: edge-agent reload",
                code="no-such-device",
                buses=[bus.bus for bus in self._fleet.buses],
            )
        if question.do == "read":
            return await _read(bus, question.device)
        try:
            arguments = checked_arguments(question.action, question.arguments)
        except ArgumentsWrong as err:
            return Answer(error=str(err), code="arguments")
        order = on_site_order(
            question.device, question.action, arguments, by=peer.name, now_ms=self._clock.now_ms()
        )
        return await ended_answer(await self._executor.submit(order))

    async def _carry(self, question: Question) -> Answer:
        """Seal for a stick, or act on what came with one."""
        config, name = self._fleet.config, question.collector
        if name not in {each.name for each in config.collectors}:
            return Answer(error=f"the running agent has no collector {name!r}", code="no-such-collector")
        try:
            identity = await asyncio.to_thread(load_identity, config.state_dir, name)
            if question.do == "seal":
                max_items = config.collector(name).max_items
                return Answer(
                    sealed=await self._stick.seal(name, identity, max_items=max_items, until=question.until)
                )
            signed = base64.b64decode(question.statement, validate=True)
            return Answer(settled=await self._stick.settle(name, identity, signed))
        except ValueError:
            return Answer(error="the statement is not base64", code="malformed")
        except GatehouseError as err:
            return Answer(error=str(err), code="failed")


async def ended_answer(ended: "asyncio.Future[Ended] | None") -> Answer:
    """What came of an order, once it has ended; or that nothing will come of it."""
    if ended is not None:
        await asyncio.wait([ended])  # not `await ended`: it may be cancelled, and this task is not
        if not ended.cancelled():
            return Answer(state=ended.result().state, outcome=ended.result().outcome)
    return Answer(error="the agent is stopping; nothing was done", code="stopping")


async def _read(bus: Bus, device_id: str) -> Answer:
    if not isinstance(bus, AskedBus):
        return Answer(error=f"{device_id} speaks by itself and cannot be asked", code="not-asked")
    try:
        readings, exchanges = await bus.read(device_id)
    except GatehouseError as err:
        return Answer(error=str(err), code="failed")
    return Answer(readings=readings, exchanges=exchanges)


def on_site_order(
    device_id: str, action: str, arguments: dict[str, object], *, by: str, now_ms: int
) -> Order:
    """What somebody at the gateway wants; the arguments are checked."""
    return Order(
        id=f"site-{secrets.token_hex(8)}",
        device_id=device_id,
        action=action,
        arguments=arguments,
        by=by,
        origin="on-site",
        expires_ms=now_ms + ON_SITE_LIFE_MS,
    )
