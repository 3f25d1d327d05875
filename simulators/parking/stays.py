"""When cars stand in a bay: by seed, bay and day, so that it never matters when anybody looks."""

from collections.abc import Iterator
from typing import Final

from models.times import HOUR_MS
from simulators.building import Building
from simulators.noise import chance, key_of, swing

REGULARS: Final = 0.7  # of the bays have somebody who comes on every working day
LUNCH_OUT: Final = 0.15  # of those drive away for lunch
VISITS: Final = 3  # at most, in a bay without a regular
_SHORTEST_MS: Final = 4 * 60_000
_GAP_MS: Final = 3 * 60_000  # between two cars


class Stays:
    """The cars of one bay of an office."""

    def __init__(self, bay_id: str, building: Building) -> None:
        self._building = building
        self._key = key_of(building.seed, "bay", bay_id)
        self._has_regular = chance(self._key, 0) < REGULARS

    def on(self, day: int) -> list[tuple[int, int]]:
        """From when to when cars stand there on a local day; in order, and never two at once."""
        key = key_of(self._key, "day", day)
        building = self._building
        if building.is_free(day) and chance(key, 0) >= building.weekend_share:
            return []
        start_ms = building.day_starts_ms(day)
        wanted: list[tuple[float, float]] = []
        if self._has_regular:
            come_h = building.work_from_h - 0.3 + 0.7 * swing(key, 1)
            go_h = building.work_to_h + 0.2 + 1.0 * swing(key, 2)
            if chance(key, 3) < LUNCH_OUT:
                wanted += [(come_h, building.lunch_from_h), (building.lunch_to_h, go_h)]
            else:
                wanted.append((come_h, go_h))
        else:
            for visit in range(int(chance(key, 4) * (VISITS + 1))):
                come_h = building.work_from_h + chance(key, 10 + visit) * 8
                wanted.append((come_h, come_h + 0.1 + 2 * chance(key, 20 + visit)))
        stays: list[tuple[int, int]] = []
        for come_h, go_h in sorted(wanted):
            come_ms, go_ms = start_ms + round(come_h * HOUR_MS), start_ms + round(go_h * HOUR_MS)
            if stays:
                come_ms = max(come_ms, stays[-1][1] + _GAP_MS)
            if go_ms - come_ms >= _SHORTEST_MS:
                stays.append((come_ms, go_ms))
        return stays

    def is_taken(self, at_ms: int) -> bool:
        day = self._building.local_day(at_ms)
        return any(come_ms <= at_ms < go_ms for d in (day - 1, day) for come_ms, go_ms in self.on(d))

    def changes(self, from_ms: int) -> Iterator[tuple[int, bool]]:
        """What happens after a moment, for ever: when, and whether the bay is taken from then on."""
        day = self._building.local_day(from_ms) - 1
        while True:
            for come_ms, go_ms in self.on(day):
                if come_ms > from_ms:
                    yield come_ms, True
                if go_ms > from_ms:
                    yield go_ms, False
            day += 1
