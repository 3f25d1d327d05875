"""Durations as people write them in scenarios and on the command line: `9d6h`, `1h30m`, `3s`, `500ms`."""

import re

from models.errors import BadInput

_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")


class DurationMistake(BadInput):
    """A text that is no duration."""

    def __init__(self, text: str) -> None:
        super().__init__(f'"{text}" is no duration; write it like 9d6h, 1h30m, 3s or 500ms')
        self.text = text


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as `9d6h`. Every number has a unit, so that none is guessed."""
    compact = text.strip().lower().replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise DurationMistake(text)
    return round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))
