"""What a simulated controller remembers: its log, its doors, and the people and cards it knows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from simulators.access.log import Entry, Log
from simulators.access.people import Person

RELOCKS_MS = 3_000  # after it was opened once


@dataclass(slots=True)
class Door:
    """One lock."""

    is_unlocked: bool = False  # for everybody
    open_until_ms: int = 0

    def is_open(self, now_ms: int) -> bool:
        return self.is_unlocked or now_ms < self.open_until_ms


@dataclass(slots=True)
class State:
    log: Log
    doors: list[Door]
    offset_ms: int  # of its time zone
    users: dict[str, dict[str, Any]] = field(default_factory=dict)  # UserInfo by employee number
    cards: dict[str, str] = field(default_factory=dict)  # employee number by card number
    numbering: int = 0  # how often its log began again

    def search(self, condition: dict[str, Any], most: int) -> tuple[list[Entry], int]:
        """A page, and how many events there are in all."""
        last = condition.get("endSerialNo")
        major, minor = condition.get("major", 0), condition.get("minor", 0)
        found = [
            entry
            for entry in self.log.find(first=condition.get("beginSerialNo", 1), last=last)
            if major in (0, entry.major) and minor in (0, entry.minor)
        ]
        at = condition.get("searchResultPosition", 0)
        return found[at : at + min(most, condition.get("maxResults", most))], len(found)

    def judge(self, card: str, door: int, now_ms: int) -> tuple[str, Person]:
        """What the controller says to a card, and whose it is."""
        number = self.cards.get(card, "")
        user = self.users.get(number)
        if user is None:
            return "unknown_card", Person("", number, card)
        person = Person(user.get("name", ""), number, card)
        valid = user.get("Valid", {})
        local = datetime.fromtimestamp(now_ms / 1000, timezone(timedelta(milliseconds=self.offset_ms)))
        now = local.replace(tzinfo=None).isoformat(timespec="seconds")
        if not valid.get("beginTime", "") <= now < valid.get("endTime", "9"):
            return "expired", person
        rights = [plan.get("doorNo") for plan in user.get("RightPlan", [])]
        return ("card_ok" if door in rights else "no_right"), person
