"""Listens to a door controller in three ways at once: what it pushes, what it streams, and what its log has.

The first two are fast and forgetful, the last is slow and complete. The serial numbers of the events say what
is missing and what came twice (`serials`), so that each event is taken once, whichever way it came first.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from drivers.access.acts import Acts
from drivers.access.catch_up import catch_up
from drivers.access.doors import ACTIONS, command_door
from drivers.access.errors import BadBody, NotLetIn, NotOffered, SaidNo
from drivers.access.heard import Heard, Heartbeat, VendorEvent, read_message
from drivers.access.intake import Intake
from drivers.access.isapi import Isapi
from drivers.access.normalise import Site
from drivers.access.parts import PartReader, boundary_of
from drivers.access.passes import Passes
from drivers.access.presence import Presence
from drivers.access.push import CannotListen, PushServer
from drivers.access.waiting import Pauses, pause_unless
from drivers.contract import CommandRefused, DeviceState, DeviceUnreachable, Sink
from drivers.waiting import first_of
from models.profile.access import AccessProfile
from models.pseudonym import Pseudonymiser
from models.reading import Reason
from models.times import Clock

GAP_PATIENCE_S: Final = 1.0
"""For an event that was overtaken by the next one; the log is asked after that."""

LOOK_AT_CLOCK_S: Final = 600.0
NOT_OFFERED_PAUSE_S: Final = 3600.0
LISTEN_PAUSE_S: Final = 60.0
RESOLVE_EVERY_S: Final = 300.0

_FAILURES = (DeviceUnreachable, NotOffered, SaidNo, BadBody)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where the controller pushes to. The path is a secret."""

    host: str
    port: int
    path: str = field(repr=False)  # with its slash


class DoorController:
    """The `drivers.contract.Listener` of one controller with all its doors."""

    def __init__(
        self,
        *,
        device_id: str,
        profile: AccessProfile,
        controller: Isapi,
        site: Site,
        push: PushAddress | None,
        pseudonyms: Pseudonymiser,
        period_s: float,
        clock: Clock,
    ) -> None:
        """`period_s`: how often the log is read in any case; after two of silence the controller is lost."""
        self._device_id, self._profile, self._site = device_id, profile, site
        self._controller, self._clock, self._period_s = controller, clock, period_s
        self._intake = Intake(device_id, profile, site, pseudonyms, clock)
        self._presence = Presence(device_id, clock)
        self._acts = Acts(device_id, clock)
        self._passes = Passes(device_id, controller, pseudonyms, clock)
        self._log_wanted, self._tried = asyncio.Event(), asyncio.Event()
        self._clock_due_s = clock.monotonic_s()
        self._said = ""
        self._reason = Reason.UNREACHABLE  # why it is lost, once it is
        self._addresses: frozenset[str] = frozenset()
        self.push = None if push is None else self._push_server(push)

    @property
    def states(self) -> Sequence[DeviceState]:
        return [self._presence.state]

    async def run(self, sink: Sink) -> None:
        for part in (self._intake, self._presence, self._acts, self._passes):
            await part.begin(sink)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_log(), name=f"log of {self._device_id}")
                tasks.create_task(self._watch(), name=f"watch {self._device_id}")
                tasks.create_task(self._passes.run(), name=f"passes of {self._device_id}")
                if self._profile.isapi.stream:
                    tasks.create_task(self._stream(), name=f"stream of {self._device_id}")
                if self.push is not None:
                    tasks.create_task(self._listen(self.push), name=f"pushes of {self._device_id}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            self._acts.end()
            await asyncio.shield(self._let_go())

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """open_once, lock, unlock (`door`), put_pass, take_pass (see `Passes`); all with a `key`."""

        async def work() -> dict[str, Any]:
            try:
                return await self._do(action, arguments)
            except BadBody as err:
                raise DeviceUnreachable(self._controller.endpoint, f"answers {err}") from err

        if action not in (*ACTIONS, "put_pass", "take_pass"):
            raise CommandRefused(device_id, action, "a door controller cannot do that")
        return await self._acts.once(action, arguments, work, again=action != "open_once")

    async def _do(self, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if action == "put_pass":
            return await self._passes.put(arguments, self._site.doors)
        if action == "take_pass":
            return await self._passes.take(arguments)
        door, doors = arguments.get("door"), self._site.doors
        if not isinstance(door, int) or isinstance(door, bool) or not 0 < door < 10_000:
            raise CommandRefused(self._device_id, action, "it needs a `door`: its number")
        if doors and door not in doors:
            have = ", ".join(map(str, doors))
            raise CommandRefused(self._device_id, action, f"there is no door {door} (have: {have})")
        return await command_door(
            self._controller,
            self._profile.isapi.words,
            device_id=self._device_id,
            action=action,
            door=door,
            clock=self._clock,
        )

    async def _take(self, heard: Sequence[Heard]) -> None:
        """From whatever way events come as they happen."""
        await self._presence.heard()
        events = [one for one in heard if isinstance(one, VendorEvent)]
        if events and await self._intake.take(events, from_log=False):
            self._log_wanted.set()
        for one in heard:
            if isinstance(one, Heartbeat) and one.at_ms is not None:
                await self._intake.compare_clock(one.at_ms)

    async def _read_log(self) -> None:
        """Catch up at the start, when something is missing, and once a period."""
        pauses = Pauses(2.0, max(2.0, self._period_s))
        strangers = Pauses(30.0, 300.0)  # each failed attempt may lengthen a lock that it has on us
        while True:
            wait_s = self._period_s
            self._presence.state.polls += 1
            try:
                await self._catch_up()
                pauses.reset()
                strangers.reset()
                if self._intake.position.holes:
                    wait_s = min(wait_s, pauses.next_s())  # what was told is not in the log yet
                self._back()
            except _FAILURES as err:
                self._failed(err)
                self._intake.is_sure = True  # nobody can be: what comes is taken, and looked at later
                self._tried.set()
                if isinstance(err, NotLetIn):
                    await self._clock.sleep(strangers.next_s())
                    continue
                wait_s = pauses.next_s()
            self._tried.set()
            if await pause_unless(self._log_wanted, wait_s, self._clock) and self._intake.is_sure:
                await self._clock.sleep(GAP_PATIENCE_S)
                self._log_wanted.clear()

    async def _catch_up(self) -> None:
        if self._clock.monotonic_s() >= self._clock_due_s:
            await self._look_at_clock()
        try:
            await catch_up(self._controller, self._intake, page_size=self._profile.isapi.page_size)
            self._intake.has_log = True
        except NotOffered:
            self._intake.has_log = False  # then what arrives by itself is all there is
            if self._intake.position.holes:
                await self._intake.give_up(self._intake.position.holes, why="no_log")
            await self._presence.heard()
            raise
        await self._presence.heard()

    async def _look_at_clock(self) -> None:
        self._clock_due_s = self._clock.monotonic_s() + LOOK_AT_CLOCK_S
        with contextlib.suppress(NotOffered, SaidNo, BadBody):
            await self._intake.compare_clock(await self._controller.clock_ms())

    async def _stream(self) -> None:
        """Keep a stream open, with pauses while that fails."""
        pauses, strangers = Pauses(1.0, 60.0), Pauses(30.0, 300.0)
        await self._tried.wait()  # its clock is known then
        while True:
            heard_s = self._presence.heard_s
            try:
                await self._stream_once()
                pause_s = pauses.next_s()
            except NotOffered:
                pause_s = NOT_OFFERED_PAUSE_S
            except NotLetIn as err:
                self._failed(err)
                pause_s = strangers.next_s()
            except _FAILURES as err:
                _log.debug("%s: stream: %s", self._device_id, err)
                pause_s = pauses.next_s()
            if self._presence.heard_s > heard_s:
                pauses.reset()
                strangers.reset()
            await self._clock.sleep(pause_s)

    async def _stream_once(self) -> None:
        """Return when the controller ends it, or is silent for too long."""
        async with self._controller.stream() as (content_type, chunks):
            boundary = boundary_of(content_type)
            if boundary is None:
                raise BadBody("a stream that is not multipart")
            self._intake.is_sure = not self._intake.has_log
            self._log_wanted.set()  # for what happened before this
            alive = asyncio.Event()

            async def read() -> None:
                parts = PartReader(boundary)
                async for data in chunks:
                    alive.set()
                    for part in parts.feed(data):
                        await self._take_part(part.text)

            async def watch() -> None:
                while True:
                    limit_s, alive_s = self._profile.isapi.heartbeat_limit_s, self._clock.monotonic_s()
                    await pause_unless(alive, limit_s, self._clock)
                    if self._clock.monotonic_s() - alive_s >= limit_s:
                        return

            await first_of(read(), watch())

    async def _take_part(self, text: bytes | None) -> None:
        try:
            if text is None:
                raise BadBody("a part that is too long")
            heard = read_message(text, self._controller.zone)
        except BadBody as err:
            _log.debug("%s: stream: %s", self._device_id, err)
            self._log_wanted.set()  # it may have been an event
            return
        await self._take(heard)

    def _push_server(self, push: PushAddress) -> PushServer:
        return PushServer(
            push.host,
            push.port,
            path=push.path,
            is_allowed=self._is_controller,
            take=self._take,
            on_garbage=self._log_wanted.set,
            zone=lambda: self._controller.zone,
        )

    async def _listen(self, server: PushServer) -> None:
        while True:
            await self._resolve()
            try:
                await first_of(server.run(), self._keep_resolving())
            except* CannotListen as group:
                self._failed(group.exceptions[0])
            await self._clock.sleep(LISTEN_PAUSE_S)

    async def _keep_resolving(self) -> None:
        while True:
            await self._clock.sleep(RESOLVE_EVERY_S)
            await self._resolve()

    async def _resolve(self) -> None:
        """Find out which addresses the controller has."""
        host = urlsplit(self._controller.endpoint).hostname or ""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            self._addresses = frozenset(_plain_address(entry[4][0]) for entry in found)

    def _is_controller(self, address: str) -> bool:
        return _plain_address(address) in self._addresses

    async def _watch(self) -> None:
        """Tell when nothing was heard for two periods."""
        limit_s = 2 * self._period_s
        while True:
            await self._clock.sleep(max(0.05, limit_s - self._presence.silent_s))
            if self._presence.silent_s >= limit_s:
                await self._presence.lost(self._reason)
                await self._clock.sleep(self._period_s)

    def _failed(self, err: BaseException) -> None:
        """Once for each trouble: it may last for weeks."""
        self._presence.state.missed_polls += 1
        self._reason = Reason.REFUSED if isinstance(err, NotLetIn) else Reason.UNREACHABLE
        if self._said != str(err):
            _log.warning("%s: %s", self._device_id, err)
        self._said = str(err)

    def _back(self) -> None:
        if self._said:
            _log.warning("%s: answers again", self._device_id)
        self._said = ""

    async def _let_go(self) -> None:
        await self._intake.settle()
        await self._controller.close()


def _plain_address(address: Any) -> str:
    """IPv4 as it is, also where IPv6 carries it."""
    try:
        ip = ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)
