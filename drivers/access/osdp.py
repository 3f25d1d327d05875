"""Listens to the door readers of an OSDP line: cards, PINs, tampering, loss, and how they are protected."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.access.acts import Acts
from drivers.access.cards import Card, read_card, reversed_bits
from drivers.access.errors import NotReached
from drivers.access.osdp_line import OsdpLine
from drivers.access.osdp_says import Found, Happening, Online, Outcome, Reader, Security, Seen, Status, Typed
from drivers.access.presence import Presence
from drivers.access.waiting import Pauses
from drivers.contract import CommandRefused, DeviceState, DeviceUnreachable, Sink
from models.profile.access import OsdpProfile
from models.pseudonym import Pseudonymiser
from models.reading import Event, Reason
from models.times import Clock

PIN_PAUSE_S: Final = 10.0
"""Keys that follow each other within this are one PIN: how many there are is nobody's business either."""

OPEN_S: Final = 5.0  # how long `open_once` opens, where it is not told
MOST_OPEN_S: Final = 600.0

_FINDINGS: Final = {
    Security.OWN_KEY: "osdp.secure",
    Security.NONE: "osdp.not_secure",
    Security.DEFAULT_KEY: "osdp.default_key",
    Security.WRONG_KEY: "osdp.wrong_key",
}
# Output control codes of OSDP: permanently off, permanently on, on until the time is over.
_CODES: Final = {"lock": 1, "unlock": 2, "open_once": 5}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OsdpReader:
    """One configured reader."""

    device_id: str
    address: int
    profile: OsdpProfile
    key: bytes | None = field(default=None, repr=False)


class OsdpReaders:
    """The `drivers.contract.Listener` of one line."""

    def __init__(
        self,
        port: str,
        baud: int,
        readers: Sequence[OsdpReader],
        *,
        pseudonyms: Pseudonymiser,
        clock: Clock,
    ) -> None:
        self._port, self._baud, self._clock = port, baud, clock
        self._readers = {reader.address: _Reader(reader, pseudonyms, clock) for reader in readers}
        self._line: OsdpLine | None = None
        self._said = ""
        self._handling: set[asyncio.Task[None]] = set()

    @property
    def states(self) -> Sequence[DeviceState]:
        return [reader.presence.state for reader in self._readers.values()]

    async def run(self, sink: Sink) -> None:
        for reader in self._readers.values():
            await reader.begin(sink)
        pauses = Pauses(1.0, 60.0)
        try:
            while True:
                try:
                    await self._listen(pauses)
                except DeviceUnreachable as err:
                    if self._said != str(err):
                        _log.warning("%s", err)
                    self._said = str(err)
                for reader in self._readers.values():
                    await reader.presence.lost(Reason.UNREACHABLE)
                await self._clock.sleep(pauses.next_s())
        finally:
            for reader in self._readers.values():
                reader.acts.end()

    async def act(self, device_id: str, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """open_once, lock, unlock (`output`, else 0; `seconds` of open_once), all with a `key`."""
        reader = next((r for r in self._readers.values() if r.of.device_id == device_id), None)
        if reader is None or action not in _CODES:
            raise CommandRefused(device_id, action, "a door reader cannot do that")
        output, seconds = arguments.get("output", 0), arguments.get("seconds", OPEN_S)
        if isinstance(output, bool) or not isinstance(output, int) or not 0 <= output <= 254:
            raise CommandRefused(device_id, action, "its `output` is none: 0 to 254")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not 0.1 <= seconds <= MOST_OPEN_S:
            raise CommandRefused(device_id, action, f"its `seconds` are not 0.1 to {MOST_OPEN_S:g}")

        async def work() -> dict[str, Any]:
            outcome = await self._switch(reader.of.address, action, output, seconds)
            where = f"{self._port} reader {reader.of.address}"
            if outcome is Outcome.NO_OUTPUT:
                raise CommandRefused(device_id, action, f"reader {reader.of.address}: {outcome.value}")
            if outcome is Outcome.OFFLINE:
                raise NotReached(where, outcome.value)
            if outcome is not Outcome.DONE:
                raise DeviceUnreachable(where, outcome.value)
            return {"action": action, "output": output, "confirmed": True}

        return await reader.acts.once(action, arguments, work, again=action != "open_once")

    async def _switch(self, address: int, action: str, output: int, seconds: float) -> Outcome:
        line, loop = self._line, asyncio.get_running_loop()
        if line is None:
            return Outcome.OFFLINE
        answer: asyncio.Future[Outcome] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not answer.done():  # whoever asked may have gone
                answer.set_result(outcome)

        def done(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(settle, outcome)

        timer_100ms = round(seconds * 10) if action == "open_once" else 0
        line.set_output(address, output, _CODES[action], timer_100ms, done)
        return await answer

    async def _listen(self, pauses: Pauses) -> None:
        """Until the port is gone. Raises DeviceUnreachable then."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end(err: Exception | None) -> None:
            if not ended.done():
                ended.set_exception(err or DeviceUnreachable(self._port, "the line has ended"))

        def taken(task: asyncio.Task[None]) -> None:
            self._handling.discard(task)
            err = None if task.cancelled() else task.exception()
            if isinstance(err, Exception):
                end(err)

        def heard(address: int, happening: Happening) -> None:
            """In the order in which they were heard: each task runs up to the sink before the next begins."""
            task = loop.create_task(self._readers[address].take(happening), name="osdp event")
            self._handling.add(task)
            task.add_done_callback(taken)

        line = OsdpLine(
            self._port, self._baud, [Reader(r.of.address, r.of.key) for r in self._readers.values()],
            heard=lambda address, happening: loop.call_soon_threadsafe(heard, address, happening),
        )  # fmt: skip
        line.on_end = lambda err: loop.call_soon_threadsafe(end, err)
        line.start()
        self._line = line
        if self._said:
            _log.warning("%s: is there again", self._port)
        self._said = ""
        pauses.reset()
        try:
            await ended
        except OSError as err:
            raise DeviceUnreachable(self._port, err.strerror or str(err)) from err
        finally:
            self._line = None
            await asyncio.shield(self._stop(line, ended))

    async def _stop(self, line: OsdpLine, ended: "asyncio.Future[None]") -> None:
        await asyncio.to_thread(line.stop)
        await asyncio.sleep(0)  # what the thread said last
        while self._handling:
            await asyncio.wait(self._handling)
        if ended.done() and not ended.cancelled():
            ended.exception()  # it was raised, or nobody waits for it any more


class _Reader:
    """One reader: what it says becomes events."""

    def __init__(self, of: OsdpReader, pseudonyms: Pseudonymiser, clock: Clock) -> None:
        self.of, self._pseudonyms, self._clock = of, pseudonyms, clock
        self.presence = Presence(of.device_id, clock)
        self.acts = Acts(of.device_id, clock)
        self._sink: Sink | None = None
        self._states: dict[str, str] = {}  # security, tamper, power: what was told last
        self._typed_s: dict[int, float] = {}

    async def begin(self, sink: Sink) -> None:
        self._sink = sink
        await self.presence.begin(sink)
        await self.acts.begin(sink)
        prefix = self._mark("")
        self._states = {n.removeprefix(prefix): text for n, text in (await sink.marks(prefix)).items()}

    async def take(self, happening: Happening) -> None:
        match happening:
            case Online(is_online):
                await (self.presence.heard() if is_online else self.presence.lost(Reason.NO_REPLY))
            case Found(security):
                await self._found(security)
            case Status(is_tampered, power_failed):
                await self.presence.heard()
                await self._changed("tamper", is_tampered, "door.tamper", "reader opened")
                await self._changed("power", power_failed, "door.fault", "power of the reader")
            case Typed(reader, begins, ends):
                await self._pin(reader, begins=begins, ends=ends)
            case Seen():
                await self._card(happening)

    async def _found(self, security: Security) -> None:
        before = self._states.get("security", Security.OWN_KEY.value)
        if security.value != before:
            await self._tell(_FINDINGS[security], {}, security=security.value)

    async def _changed(self, what: str, is_on: bool, kind: str, told: str) -> None:
        if is_on != (what in self._states):
            await self._tell(
                kind if is_on else f"{kind}_ended", {"what": told}, **{what: "1" if is_on else ""}
            )

    async def _pin(self, reader: int, *, begins: bool, ends: bool) -> None:
        now_s = self._clock.monotonic_s()
        is_new = now_s >= self._typed_s.get(reader, now_s)
        self._typed_s[reader] = now_s if ends else now_s + PIN_PAUSE_S
        if is_new and begins:
            await self._tell("door.pin_typed", {"reader": reader + 1, "credential": "pin"})

    async def _card(self, seen: Seen) -> None:
        data: dict[str, Any] = {"reader": seen.reader + 1, "credential": "card"}
        if seen.is_text:
            data["format"], number = "text", seen.data.decode("ascii", "replace").strip()
        else:
            card = self._read(seen)
            data |= {"format": card.format, "bits": seen.bits}
            if card.number is None:
                await self._tell("door.card_misread", data)
                return
            number = card.number
        alias = self._pseudonyms.card(number)
        data["pseudonym"] = alias.pseudonym
        if alias.last4 is not None:
            data["last4"] = alias.last4
        await self._tell("door.card_read", data)

    def _read(self, seen: Seen) -> Card:
        try:
            bits = reversed_bits(seen.bits, seen.data) if seen.is_backwards else seen.data
            return read_card(self.of.profile, seen.bits, bits)
        except ValueError:  # a reader may send a card without a single bit
            return Card("raw", None)

    async def _tell(self, kind: str, data: dict[str, Any], **states: str) -> None:
        """An event, and with it what it says of the state of the reader."""
        for name, text in states.items():
            if text:
                self._states[name] = text
            else:
                self._states.pop(name, None)
        now_ms = self._clock.now_ms()
        event = Event(
            device_id=self.of.device_id, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms
        )
        assert self._sink is not None, "begin comes first"  # noqa: S101
        await self._sink.put([event], {self._mark(name): text for name, text in states.items()})

    def _mark(self, name: str) -> str:
        return f"access/{self.of.device_id}/state/{name}"
