"""Puts visitors' passes on a controller, and takes them off when they end, however long that takes.

A pass is on the controller as a person of its own, whose number is made from the pass and can be nobody
else's. Its card number or PIN goes there and nowhere else: it is in no mark, event, fact or message.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeGuard

import msgspec

from drivers.access.errors import BadBody, NotOffered, SaidNo
from drivers.access.heard import read_json, when_ms
from drivers.access.isapi import Isapi, new_search
from drivers.access.waiting import Pauses, pause_unless
from drivers.contract import CommandRefused, DeviceUnreachable, Sink
from models.pseudonym import Pseudonymiser, canonical_card
from models.reading import Event
from models.times import DAY_MS, Clock

MOST_MS: Final = 366 * DAY_MS
LOOK_EVERY_S: Final = 60.0  # a clock that jumps must not keep a pass alive
PASS_PUT, PASS_TAKEN = "door.pass_put", "door.pass_taken"

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_CARD = re.compile(r"[0-9A-Za-z]{1,32}")
_PIN = re.compile(r"[0-9]{4,8}")
_PEOPLE = "/ISAPI/AccessControl/UserInfo/{}?format=json"
_CARDS = "/ISAPI/AccessControl/CardInfo/{}?format=json"
_FAILURES = (DeviceUnreachable, NotOffered, SaidNo, BadBody)
_TOLERANCE_MS: Final = 1000  # the controller keeps whole seconds


class _Pass(msgspec.Struct, frozen=True):
    """What is kept of one: enough to take it off."""

    doors: list[int]
    to_ms: int


class Passes:
    """The passes on one controller."""

    def __init__(self, device_id: str, controller: Isapi, pseudonyms: Pseudonymiser, clock: Clock) -> None:
        self._device_id, self._controller = device_id, controller
        self._pseudonyms, self._clock = pseudonyms, clock
        self._prefix = f"access/{device_id}/pass/"
        self._sink: Sink | None = None
        self._known: dict[str, _Pass] = {}
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def begin(self, sink: Sink) -> None:
        """Find out which passes are on the controller, or may be."""
        found = await sink.marks(self._prefix)
        self._known.clear()
        for name, text in found.items():
            with contextlib.suppress(msgspec.MsgspecError):
                self._known[name.removeprefix(self._prefix)] = msgspec.json.decode(text, type=_Pass)
        self._sink = sink

    async def run(self) -> None:
        """Take off what has ended, until cancelled."""
        pauses = Pauses(5.0, 300.0)
        while True:
            now_ms, wait_s = self._clock.now_ms(), LOOK_EVERY_S
            due = [pass_id for pass_id, known in self._known.items() if known.to_ms <= now_ms]
            try:
                for pass_id in due:
                    await self._take_off(pass_id, "ended")
                pauses.reset()
            except _FAILURES:
                wait_s = pauses.next_s()
            ends = [known.to_ms for known in self._known.values() if known.to_ms > now_ms]
            wait_s = min([wait_s, *((end - now_ms) / 1000 for end in ends)])
            await pause_unless(self._changed, wait_s, self._clock)

    async def put(self, arguments: Mapping[str, Any], doors: Mapping[int, str]) -> dict[str, Any]:
        """Put a pass on the controller and see that it is there.

        `arguments`: pass, card or pin, doors, from_ms, to_ms. Raises CommandRefused, and RetryLater when it
        may be there or not; it is taken off when it ends all the same.
        """
        pass_id, known = self._pass_id("put_pass", arguments), self._checked(arguments, doors)
        card, pin = arguments.get("card"), arguments.get("pin")
        person = self._person(pass_id)
        facts = {
            "pass": pass_id,
            "doors": known.doors,
            "from_ms": arguments["from_ms"],
            "to_ms": known.to_ms,
            "person": self._pseudonyms.person(person),
        }
        if card is not None:
            alias = self._pseudonyms.card(card)
            facts |= {"pseudonym": alias.pseudonym, "last4": alias.last4}
        async with self._turn:
            await self._note(pass_id, known)  # first, so that it is taken off whatever becomes of it
            try:
                await self._put_on(person, known, arguments["from_ms"], card, pin)
            except (SaidNo, NotOffered) as err:
                with contextlib.suppress(*_FAILURES):
                    await self._remove(person)
                    await self._note(pass_id, None)
                raise CommandRefused(self._device_id, "put_pass", str(err)) from err
            await self._note(pass_id, known, self._event(PASS_PUT, facts))
        return {**facts, "confirmed": True}

    async def take(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Take a pass off the controller. When that fails it is tried again until it is gone.

        Raises CommandRefused, and RetryLater when it may still be there.
        """
        pass_id = self._pass_id("take_pass", arguments)
        known = self._known.get(pass_id, _Pass([], 0))
        await self._note(pass_id, _Pass(known.doors, 0))
        try:
            await self._take_off(pass_id, "command")
        except (SaidNo, BadBody) as err:
            raise DeviceUnreachable(self._controller.endpoint, str(err)) from err
        return {"pass": pass_id, "confirmed": True}

    def _pass_id(self, action: str, arguments: Mapping[str, Any]) -> str:
        pass_id = arguments.get("pass")
        if not isinstance(pass_id, str) or not _ID.fullmatch(pass_id):
            told = "it needs a `pass`: 1 to 32 letters, digits, - or _"
            raise CommandRefused(self._device_id, action, told)
        return pass_id

    def _checked(self, arguments: Mapping[str, Any], doors: Mapping[int, str]) -> _Pass:
        def refuse(why: str) -> CommandRefused:
            return CommandRefused(self._device_id, "put_pass", why)

        wanted, card, pin = arguments.get("doors"), arguments.get("card"), arguments.get("pin")
        if not isinstance(wanted, list) or not wanted or not all(_is_whole(door) for door in wanted):
            raise refuse("it needs `doors`: a list of numbers")
        if not all(0 < door < 10_000 and (not doors or door in doors) for door in wanted):
            raise refuse("the controller has no such door" + _have(doors))
        from_ms, to_ms = arguments.get("from_ms"), arguments.get("to_ms")
        if not _is_whole(from_ms) or not _is_whole(to_ms) or from_ms >= to_ms:
            raise refuse("it needs `from_ms` before `to_ms`, in milliseconds since 1970")
        if to_ms <= self._clock.now_ms():
            raise refuse("it has ended already")
        if to_ms - from_ms > MOST_MS:
            raise refuse("it is longer than a year")
        if from_ms - self._clock.now_ms() > MOST_MS:
            raise refuse("it begins more than a year from now")
        if (card is None) == (pin is None):
            raise refuse("it needs either a `card` or a `pin`")
        if card is not None and not (isinstance(card, str) and _CARD.fullmatch(card)):
            raise refuse("its `card` is no card number: 1 to 32 digits or letters")
        if pin is not None and not (isinstance(pin, str) and _PIN.fullmatch(pin)):
            raise refuse("its `pin` is none: 4 to 8 digits")
        return _Pass(sorted(set(wanted)), to_ms)

    def _person(self, pass_id: str) -> str:
        """The number of the pass among the people of the controller."""
        return "V" + self._pseudonyms.person(f"pass {pass_id}")[:24]

    async def _put_on(
        self, person: str, known: _Pass, from_ms: int, card: str | None, pin: str | None
    ) -> None:
        controller = self._controller
        with contextlib.suppress(NotOffered, SaidNo, BadBody):
            await controller.clock_ms()  # it tells the time zone, in which the controller wants its times
        user: dict[str, Any] = {
            "employeeNo": person,
            "name": "visitor",
            "userType": "visitor",
            "Valid": {
                "enable": True,
                "beginTime": self._local(from_ms),
                "endTime": self._local(known.to_ms),
                "timeType": "local",
            },
            "doorRight": ",".join(map(str, known.doors)),
            "RightPlan": [{"doorNo": door, "planTemplateNo": "1"} for door in known.doors],
        }
        if pin is not None:
            user["password"] = pin
        try:
            await controller.post(_PEOPLE.format("Record"), {"UserInfo": user})
        except SaidNo as err:
            if "exist" not in err.code.lower():
                raise
            await self._remove(person)  # with the card or PIN that it had, which must open nothing any more
            await controller.post(_PEOPLE.format("Record"), {"UserInfo": user})
        if card is not None:
            info = {"employeeNo": person, "cardNo": card, "cardType": "normalCard"}
            await controller.post(_CARDS.format("Record"), {"CardInfo": info})
        shown = await self._shown(person)
        valid = None if shown is None else shown.get("Valid")
        end_ms = when_ms(valid.get("endTime") if isinstance(valid, dict) else None, controller.zone)
        if end_ms is None or abs(end_ms - known.to_ms) > _TOLERANCE_MS:
            raise DeviceUnreachable(controller.endpoint, "says yes to a pass, but does not show it")
        if card is not None and not await self._has_card(person, card):
            raise DeviceUnreachable(controller.endpoint, "says yes to the card of a pass, but has it not")

    async def _take_off(self, pass_id: str, why: str) -> None:
        async with self._turn:
            known = self._known.get(pass_id)
            if known is None or (why == "ended" and known.to_ms > self._clock.now_ms()):
                return  # it was taken or made longer meanwhile
            await self._remove(self._person(pass_id))
            facts = {"pass": pass_id, "doors": known.doors, "reason": why}
            await self._note(pass_id, None, self._event(PASS_TAKEN, facts))

    async def _remove(self, person: str) -> None:
        """Return when the controller knows nobody of that number."""
        one = [{"employeeNo": person}]
        with contextlib.suppress(SaidNo):  # that there is nobody of that number; the search will tell
            await self._controller.put(_CARDS.format("Delete"), {"CardInfoDelCond": {"EmployeeNoList": one}})
        with contextlib.suppress(SaidNo):
            await self._controller.put(_PEOPLE.format("Delete"), {"UserInfoDelCond": {"EmployeeNoList": one}})
        if await self._shown(person) is not None:
            raise DeviceUnreachable(self._controller.endpoint, "still has a pass that was taken off")

    async def _shown(self, person: str) -> dict[str, Any] | None:
        found = await self._search(_PEOPLE, "UserInfo", person)
        return next((user for user in found if user.get("employeeNo") == person), None)

    async def _has_card(self, person: str, card: str) -> bool:
        found = await self._search(_CARDS, "CardInfo", person)
        numbers = [info.get("cardNo") for info in found if info.get("employeeNo") == person]
        return any(
            isinstance(number, str) and canonical_card(number) == canonical_card(card) for number in numbers
        )

    async def _search(self, path: str, what: str, person: str) -> list[dict[str, Any]]:
        condition = {
            "searchID": new_search(),
            "searchResultPosition": 0,
            "maxResults": 10,
            "EmployeeNoList": [{"employeeNo": person}],
        }
        answer = await self._controller.post(path.format("Search"), {f"{what}SearchCond": condition})
        found = read_json(answer).get(f"{what}Search")
        if not isinstance(found, dict):
            raise BadBody("no answer to a search")
        entries = found.get(what, [])
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def _local(self, at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms // 1000, self._controller.zone).strftime("%Y-%m-%dT%H:%M:%S")

    def _event(self, kind: str, data: dict[str, Any]) -> Event:
        now_ms = self._clock.now_ms()
        return Event(device_id=self._device_id, kind=kind, data=data, measured_ms=now_ms, received_ms=now_ms)

    async def _note(self, pass_id: str, known: _Pass | None, *events: Event) -> None:
        if self._sink is None:
            raise DeviceUnreachable(self._device_id, "it is not listened to at present")
        mark = "" if known is None else msgspec.json.encode(known).decode()
        await self._sink.put(list(events), {self._prefix + pass_id: mark})
        if known is None:
            self._known.pop(pass_id, None)
        else:
            self._known[pass_id] = known
        self._changed.set()


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _have(doors: Mapping[int, str]) -> str:
    return f" (have: {', '.join(map(str, doors))})" if doors else ""
