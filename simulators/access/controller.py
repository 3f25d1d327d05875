"""A door controller at the wire, with people who go through its doors."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from models.times import Clock
from simulators.access.codes import CODES, MEANINGS
from simulators.access.delivery import Delivery
from simulators.access.digest import Digest
from simulators.access.isapi import Isapi
from simulators.access.log import Entry, Log
from simulators.access.messages import BOUNDARY
from simulators.access.people import Person, day_of_doors, staff
from simulators.access.sections import DoorControllerSection, DoorFault
from simulators.access.state import Door, State
from simulators.access.web import Answer, Request, WebServer
from simulators.building import Building
from simulators.ledger import LedgerWriter
from simulators.noise import chance, key_of

_DELIVERY = ("lost", "duplicate", "swapped", "late", "garbage", "cut")
PROFILES = {"isapi": "hikvision-access", "shifted": "isapi-shifted-access"}
"""By make, the profile that a gateway reads it with."""

_STREAM = "/ISAPI/Event/notification/alertStream"


class SimulatedController:
    """One controller. `happen` and `swipe` make things happen; `add` makes it misbehave."""

    def __init__(
        self,
        section: DoorControllerSection,
        *,
        clock: Clock,
        seed: int,
        origin_ms: int,
        ledger: LedgerWriter | None,
    ) -> None:
        self.section, self.seed = section, seed
        self._clock, self._origin_ms, self._ledger = clock, origin_ms, ledger
        self.people = staff(key_of(seed, "staff", section.id), section.people)
        self.state = State(
            Log(section.log_size),
            [Door() for _ in range(section.doors)],
            offset_ms=round(section.utc_offset_h * 3_600_000),
        )
        self.delivery = Delivery(section, self.shown_ms, clock)
        self.requests: list[tuple[str, str]] = []  # method and target of all that came
        self._faults: list[tuple[int, DoorFault, int, int | None]] = []
        self._held: list[Entry] = []  # swapped events that wait for the next one
        self._late: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._digest = Digest(section.username, section.password, seed=seed, once=section.nonces_once)
        self._isapi = Isapi(self.state, section.page_size, clock.now_ms, self._reported)
        self._web = WebServer(section.host, section.port, self._handle)
        for fault in section.faults:
            self.add(fault)

    @property
    def url(self) -> str:
        return f"http://{self._web.host}:{self._web.port}"

    @property
    def secrets(self) -> set[str]:
        """Every card number, name and employee number that it knows: none may ever leave a gateway."""
        known = {text for person in self.people for text in (person.name, person.number, person.card)}
        return known | set(self.state.cards) | set(self.state.users)

    @property
    def secret_files(self) -> dict[str, str]:
        """What must stand beside a gateway.yaml: its password."""
        return {f"{self.section.id}.password": self.section.password}

    def buses(self, name: str) -> list[dict[str, Any]]:
        """Those of a gateway.yaml that reaches it."""
        section: dict[str, Any] = {"url": self.url, "username": self.section.username}
        doors = {str(number): f"Door {number}" for number in range(1, self.section.doors + 1)}
        section |= {"password_file": f"{self.section.id}.password", "doors": doors}
        return [{"id": name, "door_controller": section}]

    def devices(self, name: str) -> list[dict[str, Any]]:
        """Those of a gateway.yaml that reaches it."""
        profile = PROFILES[self.section.make]
        return [{"id": self.section.id, "bus": name, "profile": profile, "period_s": 60}]

    def shown_ms(self) -> int:
        """What its clock shows."""
        now_ms = self._clock.now_ms()
        return now_ms + 1000 * sum(fault.seconds or 0 for fault in self._now("clock", now_ms))

    def add(self, fault: DoorFault) -> None:
        """From now on, or from its `after` on."""
        start_ms, end_ms = fault.window(self._origin_ms, self._clock.now_ms())
        self._faults.append((len(self._faults), fault, start_ms, end_ms))
        self._changed.set()

    def clear_faults(self) -> None:
        self._faults.clear()
        self._changed.set()

    def happen(self, what: str, door: int | None = None, person: Person | None = None) -> Entry | None:
        """Something happens now. None: this make has no code for it, and says nothing."""
        code = CODES[self.section.make].get(what)
        if code is None:
            return None
        entry = self.state.log.write(what, code, self.shown_ms(), door, person)
        if self._ledger is not None:
            kind, data = self.meaning(entry)
            self._ledger.happened(self._clock.now_ms(), self.section.id, kind, data)
        self._deliver(entry)
        return entry

    def swipe(self, card: str, door: int) -> str:
        """Hold a card to the reader of a door; what the controller makes of it."""
        what, person = self.state.judge(card, door, self._clock.now_ms())
        self.happen(what, door, person)
        return what

    def meaning(self, entry: Entry) -> tuple[str, dict[str, Any]]:
        """What an ideal reader of its events makes of one: the kind, and what must be in the data."""
        meaning = MEANINGS[entry.what]
        data: dict[str, Any] = {"serial": entry.serial, "code": f"{entry.major}/{entry.minor}"}
        if entry.door is not None:
            data |= {"door": entry.door, "reader": 2 * entry.door - 1}
        for name in ("reason", "credential", "what"):
            if getattr(meaning, name):
                data[name] = getattr(meaning, name)
        if self.state.numbering:
            data["numbering"] = self.state.numbering
        return meaning.kind, data

    def reset(self) -> None:
        """As new from the factory: nothing in the log, nobody known, numbers from 1."""
        self.state.log.reset()
        self.state.users.clear()
        self.state.cards.clear()
        self.state.numbering += 1
        self._held.clear()

    async def listen(self) -> None:
        await self._web.listen()

    async def run(self) -> None:
        """Push, go away and come back as its faults say, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.delivery.run(), name="pushes of a simulated controller")
            tasks.create_task(self._follow_faults(), name="faults of a simulated controller")

    async def live(self, building: Building) -> None:
        """Let the people of the building go through the doors, from now on, until cancelled."""
        day = building.local_day(self._clock.now_ms())
        while True:
            deeds = day_of_doors(building, self.people, doors=self.section.doors, day=day)
            for deed in deeds:
                wait_ms = deed.at_ms - self._clock.now_ms()
                if wait_ms < -1000:
                    continue  # that was before we came
                await self._clock.sleep(max(0, wait_ms) / 1000)
                self.happen(deed.what, deed.door, deed.person)
            day += 1

    async def go(self) -> None:
        """Lose power: no connection, and none to be had."""
        await self._web.go()

    async def cut(self) -> None:
        """Break all connections."""
        await self._web.cut()

    async def settled(self) -> None:
        """Return when no late event is still to come, all was pushed, and nothing more will be."""
        await asyncio.gather(*self._late)
        await self.delivery.settled()

    async def close(self) -> None:
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._web.go()

    def _reported(self, what: str, door: int) -> None:
        self.happen(what, door)

    def _deliver(self, entry: Entry) -> None:
        fault = self._struck(entry.serial)
        kind = fault.kind if fault is not None else ""
        if kind == "swapped":
            self._held.append(entry)
            return
        if kind == "late":
            self._begin(self._send_late(entry, (fault.delay_ms or 0) / 1000 if fault else 0))
        elif kind == "garbage":
            self.delivery.send_garbage()
        elif kind == "cut":
            self._begin(self._web.cut())
        elif kind != "lost":
            self.delivery.send(entry)
            if kind == "duplicate":
                self.delivery.send(entry)
        held, self._held = self._held, []
        for waiting in held:
            self.delivery.send(waiting)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="simulated fault")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send_late(self, entry: Entry, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self.delivery.send(entry)

    def _struck(self, serial: int) -> DoorFault | None:
        now_ms = self._clock.now_ms()
        for number, fault, start_ms, end_ms in self._faults:
            if fault.kind not in _DELIVERY or not (
                start_ms <= now_ms and (end_ms is None or now_ms < end_ms)
            ):
                continue
            key = key_of(self.seed, "door fault", self.section.id, number, self.state.numbering)
            if fault.probability == 1 or chance(key, serial) < fault.probability:
                return fault
        return None

    def _now(self, kind: str, now_ms: int) -> Iterator[DoorFault]:
        for _, fault, start_ms, end_ms in self._faults:
            if fault.kind == kind and start_ms <= now_ms and (end_ms is None or now_ms < end_ms):
                yield fault

    async def _follow_faults(self) -> None:
        """Reboots and resets begin by themselves, each once."""
        begun: set[int] = set()
        while True:
            self._changed.clear()
            now_ms = self._clock.now_ms()
            for number, fault, start_ms, _ in list(self._faults):
                if fault.kind not in ("reboot", "reset") or number in begun or start_ms > now_ms:
                    continue
                begun.add(number)
                if fault.kind == "reset":
                    self.reset()
                else:
                    await self._web.go()
                    await self._clock.sleep((fault.lasts_ms or 0) / 1000)
                    await self._web.listen()
                    self.happen("started")
            starts = [start for n, f, start, _ in self._faults if n not in begun and start > now_ms]
            if not starts:
                await self._changed.wait()
                continue
            waits = [
                asyncio.ensure_future(self._changed.wait()),
                asyncio.ensure_future(self._clock.sleep((min(starts) - now_ms) / 1000)),
            ]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    async def _handle(self, request: Request) -> Answer | None:
        self.requests.append((request.method, request.target))
        refused = any(self._now("refused", self._clock.now_ms()))
        given = request.headers.get("authorization", "")
        if refused or not self._digest.accepts(request.method, request.target, given):
            return Answer(401, headers={"www-authenticate": self._digest.challenge()})
        if request.path == _STREAM and self.section.streams:
            replayed = self.state.log.newest(self.section.replays)
            stream = self.delivery.stream(replayed)
            return Answer(kind=f"multipart/mixed; boundary={BOUNDARY}", stream=stream)
        return self._isapi.answer(request, self.shown_ms())


@asynccontextmanager
async def running_controller(
    section: DoorControllerSection,
    *,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
    building: Building | None = None,
) -> AsyncIterator[SimulatedController]:
    """Serve a controller while the block runs; with a building, its people come and go.

    Raises CannotListen.
    """
    controller = SimulatedController(section, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger)
    await controller.listen()
    try:
        async with asyncio.TaskGroup() as tasks:
            runs = [tasks.create_task(controller.run(), name=f"controller {section.id}")]
            if building is not None:
                runs.append(tasks.create_task(controller.live(building), name=f"people of {section.id}"))
            yield controller
            for run in runs:
                run.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        await controller.close()
