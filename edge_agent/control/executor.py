"""Carries commands out, each at most once, and tells what came of each exactly once.

That a command is about to be done is on disk before it is begun; that it is done is stored in one
transaction with the event that tells so. After a crash between the two nobody can know whether it was done:
then it is not repeated but told as failed, unless doing it twice is as good as doing it once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from drivers.contract import CommandRefused, Sink
from edge_agent.buffer.contract import BufferUnavailable
from edge_agent.buses.contract import Bus
from edge_agent.control.orders import (
    PREFIX,
    REMEMBERED_MS,
    UNKNOWN_OUTCOME,
    Ended,
    Mark,
    Order,
    State,
    decoded_mark,
    mark_of,
)
from models.actions import ACTIONS
from models.command import EXPIRED, Outcome
from models.errors import GatehouseError
from models.reading import Event
from models.times import Clock, utc_text

MOST_WAITING: Final = 32
"""Commands for one bus that wait for their turn; more are refused."""

TIDY_EVERY_S: Final = 60.0

NEW_DEVICE_S: Final = 5.0
"""How long a device that was neither heard nor missed since the start is given to come up."""

_LOOK_S: Final = 0.1

_NOBODY_KNOWS: Final = "the agent ended while it was being done; look at the device"

_log = logging.getLogger(__name__)

Note = Callable[[Mapping[str, str]], Awaitable[object]]
"""Brings marks to the disk, or raises BufferUnavailable."""


class Executor:
    """`begin` first; then orders may be submitted, and `run` carries them out until it is cancelled.

    Those for one bus are done in their order, one at a time; buses do not wait for each other.
    """

    def __init__(
        self,
        buses: Callable[[], Sequence[Bus]],
        *,
        note: Note,
        sink: Sink,
        clock: Clock,
        on_told: Callable[[], None] = lambda: None,
    ) -> None:
        """`buses` are those that run now; they may be others at each call. `on_told` follows each outcome."""
        self._note, self._sink, self._clock, self._on_told = note, sink, clock, on_told
        self._buses = buses
        self._queues: dict[str, asyncio.Queue[tuple[Order, asyncio.Future[Ended]]]] = {}  # by bus
        self._workers: asyncio.TaskGroup | None = None
        self._marks: dict[str, Mark] = {}
        self._waiting: set[str] = set()
        self._begun_before: set[str] = set()  # by a process that did not come to the end of it
        self._may_be_repeated: set[str] = set()  # those of them that the collector may offer again
        self._doing = 0
        self._stopping = False

    def bus_of(self, device_id: str) -> Bus | None:
        """The bus that the device is on now."""
        found = (bus for bus in self._buses() if any(state.id == device_id for state in bus.states))
        return next(found, None)

    async def begin(self) -> None:
        """Find out what was done before, and tell what a crash has left untold."""
        for name, text in (await self._sink.marks(PREFIX)).items():
            known = decoded_mark(text) or Mark(self._clock.now_ms() + REMEMBERED_MS)
            self._marks[name.removeprefix(PREFIX)] = known
        for order_id, mark in self._marks.items():
            if mark.begun is not None:
                self._begun_before.add(order_id)
                if _may_be_repeated(mark.begun):
                    self._may_be_repeated.add(order_id)
        await self._tidy()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._workers:
            for name in self._queues:
                self._begin_work(name)
            while True:
                await self._clock.sleep(TIDY_EVERY_S)
                await self._tidy()

    def stop(self) -> None:
        """Begin nothing more. What the collector has given it will offer again after the next start."""
        self._stopping = True

    @property
    def is_busy(self) -> bool:
        """Whether something is being done right now."""
        return self._doing > 0

    async def submit(self, order: Order) -> "asyncio.Future[Ended] | None":
        """Let it be done in its turn; None when it was submitted or done before.

        What cannot be done at all is refused at once.
        """
        if order.id in self._waiting or (order.id in self._marks and order.id not in self._may_be_repeated):
            return None
        self._waiting.add(order.id)
        self._may_be_repeated.discard(order.id)
        ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        bus = self.bus_of(order.device_id)
        if bus is None:
            await self._end_unknown(order, ended)
            return ended
        try:
            self._queue(bus.bus).put_nowait((order, ended))
        except asyncio.QueueFull:
            detail = f"{MOST_WAITING} commands wait for its bus already"
            await self._end(order, ended, "refused", code="busy", detail=detail)
        return ended

    async def refuse(self, order: Order, code: str, detail: str) -> None:
        """Tell that nothing of it is done. Of one that is known nothing is told again."""
        if order.id in self._waiting or order.id in self._marks:
            return
        await self._end(order, None, "refused", code=code, detail=detail)

    def _queue(self, bus: str) -> "asyncio.Queue[tuple[Order, asyncio.Future[Ended]]]":
        if bus not in self._queues:
            self._queues[bus] = asyncio.Queue(MOST_WAITING)
            self._begin_work(bus)
        return self._queues[bus]

    def _begin_work(self, bus: str) -> None:
        if self._workers is not None:
            self._workers.create_task(self._work(self._queues[bus]), name=f"commands {bus}")

    async def _work(self, queue: "asyncio.Queue[tuple[Order, asyncio.Future[Ended]]]") -> None:
        while True:
            order, ended = await queue.get()
            if self._stopping:
                self._waiting.discard(order.id)
                ended.cancel()
                continue
            self._doing += 1
            try:
                await self._do(order, ended)
            finally:
                self._doing -= 1

    async def _do(self, order: Order, ended: "asyncio.Future[Ended]") -> None:
        bus = await self._bus_when_up(order)
        if bus is None:
            await self._end_unknown(order, ended)
            return
        if self._is_over(order):
            await self._end_expired(order, ended)
            return
        begun = mark_of(order, begun=True)
        try:
            await self._note({PREFIX + order.id: begun.encode()})
        except BufferUnavailable as err:
            detail = f"the disk refuses to note that it begins, so nothing was done: {err}"
            await self._end(order, ended, "refused", code="disk", detail=detail)
            return
        self._marks[order.id] = begun
        if self._is_over(order):  # the disk may have taken its time
            await self._end_expired(order, ended)
            return
        try:
            result = await self._in_time(order, bus)
        except CommandRefused as err:
            await self._end(order, ended, "refused", code="refused", detail=err.detail)
        except TimeoutError:
            detail = "its time was over before the device had confirmed it; look at the device"
            await self._end(order, ended, "failed", code=UNKNOWN_OUTCOME, detail=detail)
        except GatehouseError as err:
            await self._end(order, ended, "failed", code="failed", detail=str(err))
        except Exception as err:  # a bug of one driver must not stop the others
            _log.exception("%s: %s failed; please report this", order.device_id, order.action)
            await self._end(order, ended, "failed", code="internal", detail=type(err).__name__)
        else:
            await self._end(order, ended, "done", result=result)

    async def _bus_when_up(self, order: Order) -> Bus | None:
        """Its bus. Right after a start that may not have got to the device yet, and would only say so."""
        for _ in range(round(NEW_DEVICE_S / _LOOK_S)):
            bus = self.bus_of(order.device_id)
            if bus is None:
                return None
            [state] = [one for one in bus.states if one.id == order.device_id]
            if state.answered_ms is not None or state.lost_since_ms is not None:
                break
            await self._clock.sleep(_LOOK_S)
        return self.bus_of(order.device_id)

    async def _in_time(self, order: Order, bus: Bus) -> dict[str, Any]:
        """What the device showed. Raise TimeoutError when the order's time ends before it is done."""
        arguments = dict(order.arguments)
        if ACTIONS[order.action].group == "doors":
            arguments["key"] = order.id
        acting = asyncio.ensure_future(bus.act(order.device_id, order.action, arguments))
        ending = asyncio.ensure_future(self._clock.sleep((order.expires_ms - self._clock.now_ms()) / 1000))
        try:
            await asyncio.wait([acting, ending], return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():
                raise TimeoutError
            return _plain(acting.result())
        finally:
            for task in (acting, ending):
                task.cancel()
            await asyncio.gather(acting, ending, return_exceptions=True)

    def _is_over(self, order: Order) -> bool:
        return self._clock.now_ms() >= order.expires_ms

    async def _end_unknown(self, order: Order, ended: "asyncio.Future[Ended]") -> None:
        await self._end(order, ended, "refused", code="no-such-device", detail="it is not configured")

    async def _end_expired(self, order: Order, ended: "asyncio.Future[Ended]") -> None:
        detail = f"was good until {utc_text(order.expires_ms)}; nothing was done"
        await self._end(order, ended, "refused", code=EXPIRED, detail=detail)

    async def _end(
        self,
        order: Order,
        ended: "asyncio.Future[Ended] | None",
        state: State,
        *,
        result: dict[str, Any] | None = None,
        code: str = "",
        detail: str = "",
    ) -> None:
        """Tell it and remember it, in one transaction."""
        if state == "refused" and order.id in self._begun_before:  # this time nothing; before, who knows
            state, code, detail = "failed", UNKNOWN_OUTCOME, f"{_NOBODY_KNOWS} ({detail})"
        outcome = order.outcome(result=result, code=code, detail=detail)
        await self._tell(order.device_id, state, outcome, mark_of(order, begun=False))
        self._waiting.discard(order.id)
        self._begun_before.discard(order.id)
        said = f" ({detail})" if detail else ""
        _log.info("%s: %s by %s: %s%s", order.device_id, order.action, order.by, state, said)
        if ended is not None and not ended.done():
            ended.set_result(Ended(state, outcome))

    async def _tell(self, device_id: str, state: State, outcome: Outcome, mark: Mark) -> None:
        now_ms = self._clock.now_ms()
        event = Event(
            device_id=device_id,
            kind=f"command.{state}",
            data=msgspec.to_builtins(outcome),
            measured_ms=now_ms,
            received_ms=now_ms,
        )
        self._marks[outcome.id] = mark
        await self._sink.put([event], {PREFIX + outcome.id: mark.encode()})
        self._on_told()

    async def _tidy(self) -> None:
        """Tell of those that a crash has cut off and that will not be repeated; forget what is long over."""
        now_ms = self._clock.now_ms()
        for order_id, mark in list(self._marks.items()):
            if mark.begun is not None and order_id not in self._waiting:
                if order_id in self._may_be_repeated and mark.expires_ms > now_ms:
                    continue
                self._may_be_repeated.discard(order_id)
                self._begun_before.discard(order_id)
                outcome = msgspec.structs.replace(mark.begun, code=UNKNOWN_OUTCOME, detail=_NOBODY_KNOWS)
                await self._tell(mark.device_id, "failed", outcome, Mark(mark.until_ms))
        over = [order_id for order_id, mark in self._marks.items() if mark.until_ms <= now_ms]
        for order_id in over:
            del self._marks[order_id]
        if over:
            await self._sink.put([], {PREFIX + order_id: "" for order_id in over})


def _may_be_repeated(begun: Outcome) -> bool:
    action = ACTIONS.get(begun.action)
    return begun.origin == "collector" and action is not None and action.is_idempotent


def _plain(result: Any) -> dict[str, Any]:
    """Facts of a driver as plain JSON values, whatever it made them of."""
    with contextlib.suppress(TypeError, ValueError, msgspec.MsgspecError):
        return msgspec.json.decode(msgspec.json.encode(result), type=dict[str, Any])
    return {}
