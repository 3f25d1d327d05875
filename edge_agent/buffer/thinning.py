"""Chooses which readings to give up first when the disk is full: those that their neighbours stand for."""

from dataclasses import dataclass
from typing import Final

from models.reading import Item, Quality, Reading

MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Level:
    """One reading of each point every `step_ms` stays, in the oldest `share` of what is here."""

    step_ms: int
    share: float


LEVELS: Final = (
    Level(5 * MINUTE_MS, 0.75),
    Level(15 * MINUTE_MS, 0.5),  # the quarter of an hour by which demand is billed
    Level(60 * MINUTE_MS, 0.25),
)
"""Tried in this order; when none gives room, the oldest readings go altogether."""


class Thinning:
    """Goes over readings in their order, and says which a level gives up.

    The first of each point in each step stays, and each whose quality is another than the one before it:
    when a meter fell silent, and when it came back, is not what its neighbours tell.
    """

    def __init__(self, level: Level) -> None:
        self._step_ms = level.step_ms
        self._last: dict[tuple[str, str], tuple[int, Quality]] = {}

    def gives_up(self, item: Item) -> bool:
        if not isinstance(item, Reading):
            return False
        point, seen = (item.device_id, item.point), (item.measured_ms // self._step_ms, item.quality)
        is_spare = self._last.get(point) == seen
        self._last[point] = seen
        return is_spare
