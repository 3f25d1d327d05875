"""Which collectors a gateway belongs to, and how each is reached."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge_agent.config.sections import CollectorSection, ConfigFile
from edge_agent.identity.folder import MAIN, is_name
from models.document import Mistake


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """One collector, with what is common to all filled in."""

    name: str
    carrier: Literal["https"]
    live_every_s: float
    max_items: int


def collector_settings(settings: ConfigFile) -> list[CollectorSettings]:
    """All collectors, in the order of the file; where it names none there is one."""
    sections = settings.collectors or {MAIN: CollectorSection()}
    common = settings.uplink
    return [
        CollectorSettings(
            name=name,
            carrier=section.carrier,
            live_every_s=common.live_every_s if section.live_every_s is None else section.live_every_s,
            max_items=common.max_items if section.max_items is None else section.max_items,
        )
        for name, section in sections.items()
    ]


def collector_mistakes(settings: ConfigFile) -> Iterator[Mistake]:
    """What only shows when the sections are seen together."""
    for name in settings.collectors:
        if not is_name(name):
            hint = "up to 40 letters, digits and dashes"
            yield Mistake(("collectors", name), "is no name for a collector", hint)
    for name in list(settings.collectors)[1:]:
        yield Mistake(("collectors", name), "is one too many: a gateway has one collector", "remove it")
