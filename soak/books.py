"""Reads the figures of a running agent, and checks at each look that nothing is unaccounted for."""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field

import httpx

LOOK_EVERY_S = 1.0
_LINE = re.compile(r"^gatehouse_(\w+?)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
STATES = ("produced", "delivered", "pending", "quarantined", "dropped")


@dataclass(slots=True)
class Page:
    """One look at an agent's metrics."""

    items: dict[str, dict[str, int]]  # by collector ("" where there is but one): by state
    held: int
    lost: int

    @classmethod
    def of(cls, text: str) -> "Page":
        items: dict[str, dict[str, int]] = defaultdict(dict)
        single: dict[str, int] = {}
        for name, labels, value in _LINE.findall(text):
            found = dict(_LABEL.findall(labels))
            if name == "buffer_items":
                items[found.get("collector", "")][found["state"]] = round(float(value))
            elif not found:
                single[name] = round(float(value))
        return cls(dict(items), single["held_items"], single["lost_items"])

    @property
    def conserved(self) -> bool:
        """Whether produced = delivered + pending + quarantined + dropped, by our own addition."""
        return all(
            states["produced"] == sum(states[state] for state in STATES[1:]) for states in self.items.values()
        )

    @property
    def pending(self) -> int:
        return sum(states["pending"] for states in self.items.values())


@dataclass(slots=True)
class Books:
    """What all looks have shown."""

    url: str
    looks: int = 0
    unanswered: int = 0  # the agent was away, or held up
    not_conserved: list[str] = field(default_factory=list)
    most_held: int = 0
    most_pending: int = 0
    last: Page | None = None

    async def look(self, http: httpx.AsyncClient) -> Page | None:
        """One look; None when nobody answers."""
        try:
            reply = await http.get(f"{self.url}/metrics", timeout=LOOK_EVERY_S)
            page = Page.of(reply.raise_for_status().text)
        except httpx.HTTPError:
            self.unanswered += 1
            return None
        if not page.items:  # the agent has just begun, and its disk refuses
            self.unanswered += 1
            return None
        self.looks += 1
        if not page.conserved:
            self.not_conserved.append(repr(page))
        self.most_held = max(self.most_held, page.held)
        self.most_pending = max(self.most_pending, page.pending)
        self.last = page
        return page

    async def keep(self) -> None:
        """Look each second, for ever."""
        async with httpx.AsyncClient(trust_env=False) as http:
            while True:
                await self.look(http)
                await asyncio.sleep(LOOK_EVERY_S)

    async def until_all_delivered(self, within_s: float) -> bool:
        """Whether everything that waited, on disk and in memory, has been delivered in time."""
        try:
            async with asyncio.timeout(within_s), httpx.AsyncClient(trust_env=False) as http:
                while True:
                    page = await self.look(http)
                    if page is not None and not (page.pending or page.held):
                        return True
                    await asyncio.sleep(LOOK_EVERY_S / 4)
        except TimeoutError:
            return False
