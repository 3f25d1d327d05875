"""Lateness of polls is seen in a ledger, on the side to which it belongs."""

import json
import random

from soak.polls import lateness

START_MS = 1_790_000_000_000


def ledger(late_after_s: float, late_ms: int) -> list[bytes]:
    """Three meters, asked each second for 200 s at beats of their own, one on the end of a second."""
    chance = random.Random(1)
    lines = [json.dumps({"ledger": 1}).encode()]
    for shape, beat_ms in enumerate((120, 500, 999)):
        for second in range(200):
            late = chance.randrange(3) + (late_ms if second >= late_after_s else 0)
            lines.append(json.dumps([START_MS + second * 1000 + beat_ms + late, 1, shape, [1.0]]).encode())
    return lines


SPANS = [(START_MS, START_MS + 150_000, ""), (START_MS + 150_000, START_MS + 201_000, "network.cut")]


def test_polls_on_the_beat_are_late_on_neither_side() -> None:
    found = lateness(ledger(1000, 0), SPANS)
    assert found[""].p99_ms <= 2
    assert found["any"].p99_ms <= 2
    assert found[""].polls + found["any"].polls == 600


def test_polls_that_a_bad_collector_delays_are_late_on_its_side() -> None:
    found = lateness(ledger(150, 40), SPANS)
    assert found[""].p99_ms <= 3
    assert found["network.cut"].p50_ms >= 38
    assert found["any"] == found["network.cut"]
