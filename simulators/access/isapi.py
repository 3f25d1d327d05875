"""Answers the requests that a controller answers: its log, its clock, its doors, its people."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from simulators.access.messages import local_text, log_entry
from simulators.access.state import RELOCKS_MS, State
from simulators.access.web import Answer, Request

Report = Callable[[str, int], object]
"""Something happened at a door because of a request."""

_DOOR = re.compile(r"/ISAPI/AccessControl/RemoteControl/door/(\d+)")
_COMMANDS = {"open": "remote_open", "close": "remote_lock", "alwaysOpen": "remote_unlock"}


class Isapi:
    """What a request that was let in is answered with."""

    def __init__(self, state: State, page_size: int, now_ms: Callable[[], int], report: Report) -> None:
        self._state, self._page_size, self._now_ms, self._report = state, page_size, now_ms, report

    def answer(self, request: Request, shown_ms: int) -> Answer:
        """`shown_ms`: what the controller's own clock shows."""
        path = request.path
        if (door := _DOOR.fullmatch(path)) is not None and request.method == "PUT":
            return self._command(int(door[1]), request.body.decode())
        if path == "/ISAPI/System/time" and request.method == "GET":
            local = local_text(shown_ms, self._state.offset_ms)
            body = f"<Time version='2.0'><timeMode>NTP</timeMode><localTime>{local}</localTime></Time>"
            return Answer(kind="application/xml", body=body.encode())
        if path == "/ISAPI/AccessControl/AcsWorkStatus" and request.method == "GET":
            return _json(self._work_status())
        handlers = {
            "/ISAPI/AccessControl/AcsEvent": self._search_log,
            "/ISAPI/AccessControl/UserInfo/Record": self._record_user,
            "/ISAPI/AccessControl/UserInfo/Modify": self._modify_user,
            "/ISAPI/AccessControl/UserInfo/Search": self._search_user,
            "/ISAPI/AccessControl/UserInfo/Delete": self._delete_user,
            "/ISAPI/AccessControl/CardInfo/Record": self._record_card,
            "/ISAPI/AccessControl/CardInfo/Search": self._search_card,
            "/ISAPI/AccessControl/CardInfo/Delete": self._delete_card,
        }
        handler = handlers.get(path)
        if handler is None:
            return _refusal(404, "notSupport")
        try:
            return handler(json.loads(request.body))
        except (ValueError, KeyError, TypeError, AttributeError):
            return _refusal(400, "badJsonFormat")

    def _command(self, number: int, document: str) -> Answer:
        found = re.search(r"<cmd>(\w+)</cmd>", document)
        if found is None or found[1] not in _COMMANDS or not 1 <= number <= len(self._state.doors):
            return _refusal(400, "badParameters")
        door, command = self._state.doors[number - 1], found[1]
        if command == "open":
            door.open_until_ms = self._now_ms() + RELOCKS_MS
        else:
            door.is_unlocked, door.open_until_ms = command == "alwaysOpen", 0
        self._report(_COMMANDS[command], number)
        body = "<ResponseStatus><statusCode>1</statusCode><statusString>OK</statusString></ResponseStatus>"
        return Answer(kind="application/xml", body=body.encode())

    def _work_status(self) -> dict[str, Any]:
        now_ms, doors = self._now_ms(), self._state.doors
        locks = [int(door.is_open(now_ms)) for door in doors]
        modes = [2 if door.is_unlocked else 4 for door in doors]
        return {"AcsWorkStatus": {"doorLockStatus": locks, "doorStatus": modes, "magneticStatus": locks}}

    def _search_log(self, fields: dict[str, Any]) -> Answer:
        condition = fields["AcsEventCond"]
        page, total = self._state.search(condition, self._page_size)
        more = condition.get("searchResultPosition", 0) + len(page) < total
        status = "MORE" if more else "OK" if page else "NO MATCH"
        entries = [log_entry(entry, offset_ms=self._state.offset_ms) for entry in page]
        found = {"searchID": condition["searchID"], "totalMatches": total, "responseStatusStrg": status}
        return _json({"AcsEvent": {**found, "numOfMatches": len(page), "InfoList": entries}})

    def _record_user(self, fields: dict[str, Any]) -> Answer:
        user = fields["UserInfo"]
        if user["employeeNo"] in self._state.users:
            return _refusal(400, "employeeNoAlreadyExist")
        self._state.users[user["employeeNo"]] = user
        return _done()

    def _modify_user(self, fields: dict[str, Any]) -> Answer:
        user = fields["UserInfo"]
        if user["employeeNo"] not in self._state.users:
            return _refusal(400, "employeeNoNotExist")
        self._state.users[user["employeeNo"]] |= user
        return _done()

    def _search_user(self, fields: dict[str, Any]) -> Answer:
        wanted = _numbers(fields["UserInfoSearchCond"])
        found = [user for number, user in self._state.users.items() if number in wanted]
        return _found("UserInfo", found)

    def _delete_user(self, fields: dict[str, Any]) -> Answer:
        for number in _numbers(fields["UserInfoDelCond"]):
            self._state.users.pop(number, None)
            self._state.cards = {card: of for card, of in self._state.cards.items() if of != number}
        return _done()

    def _record_card(self, fields: dict[str, Any]) -> Answer:
        info = fields["CardInfo"]
        if info["cardNo"] in self._state.cards:
            return _refusal(400, "cardNoAlreadyExist")
        if info["employeeNo"] not in self._state.users:
            return _refusal(400, "employeeNoNotExist")
        self._state.cards[info["cardNo"]] = info["employeeNo"]
        return _done()

    def _search_card(self, fields: dict[str, Any]) -> Answer:
        wanted = _numbers(fields["CardInfoSearchCond"])
        found = [
            {"employeeNo": number, "cardNo": card, "cardType": "normalCard"}
            for card, number in self._state.cards.items()
            if number in wanted
        ]
        return _found("CardInfo", found)

    def _delete_card(self, fields: dict[str, Any]) -> Answer:
        wanted = _numbers(fields["CardInfoDelCond"])
        self._state.cards = {card: of for card, of in self._state.cards.items() if of not in wanted}
        return _done()


def _numbers(condition: dict[str, Any]) -> set[str]:
    if "searchID" in condition:
        UUID(condition["searchID"])  # a name for a search, and none for two
    return {entry["employeeNo"] for entry in condition["EmployeeNoList"]}


def _found(what: str, entries: list[dict[str, Any]]) -> Answer:
    status = "OK" if entries else "NO MATCH"
    shown = {"responseStatusStrg": status, "numOfMatches": len(entries), "totalMatches": len(entries)}
    return _json({f"{what}Search": {**shown, **({what: entries} if entries else {})}})


def _done() -> Answer:
    return _json({"statusCode": 1, "statusString": "OK", "subStatusCode": "ok"})


def _refusal(status: int, code: str) -> Answer:
    return _json({"statusCode": 6, "statusString": "Invalid Content", "subStatusCode": code}, status)


def _json(fields: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, body=json.dumps(fields, ensure_ascii=False).encode())
