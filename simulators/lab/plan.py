"""Plans a bad time: which fault begins when, for how long and how badly, all from one seed.

The same seed, duration and mix give the same timetable in every process. Each kind has its own stream of
chance, so that a kind can be left out, or the time be made longer, and the rest stays as it was.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from models.document_hints import suggest
from models.errors import BadInput
from models.times import DAY_MS
from simulators.noise import key_of

MINUTE_MS: Final = 60_000
Range = tuple[float, float]


class Fault(msgspec.Struct, frozen=True, rename={"how": "with"}):
    """One thing that goes wrong. Times are milliseconds since the beginning; for `how` see `KINDS`."""

    at_ms: int
    kind: str
    lasts_ms: int = 0  # 0: it is over at once
    how: dict[str, float] = {}

    @property
    def target(self) -> str:
        """What it happens to: "network", "collector", …"""
        return self.kind.partition(".")[0]

    @property
    def what(self) -> str:
        """What happens to it: "cut", "kill", …"""
        return self.kind.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Habit:
    """How often a kind of fault comes, and how bad it is. Ranges are drawn from evenly."""

    a_day: float
    lasts_s: Range = (0, 0)
    how: Mapping[str, Range] | None = None


KINDS: Final[Mapping[str, str]] = {
    "network.cut": "connections break, new ones are refused",
    "network.refused": "new connections are refused, open ones stay",
    "network.silent": "connections stay, and nothing comes through in either direction (half open)",
    "network.deaf": "what is sent to the server is lost on the way; its answers come",
    "network.mute": "what the server answers is lost on the way; requests arrive",
    "network.loss": "packets get lost, `share` of them: pauses as TCP makes them until it sends again",
    "network.delay": "everything takes `delay_ms` longer, and up to `jitter_ms` more",
    "network.slow": "`bytes_a_second` in each direction",
    "network.drip": "one byte at a time, `pause_ms` apart",
    "network.reset": "connections break in the middle of an answer, `share` of them",
    "requests.lost_receipt": "`share` of the requests are done, and their answers lost",
    "requests.twice": "`share` of the requests arrive twice",
    "requests.late_again": "`share` of the requests arrive once more, after later ones",
    "requests.busy": "answered by 503 or 429 with a Retry-After of `pause_s`",
    "requests.failing": "answered by 500, 502 or 504",
    "collector.kill": "SIGKILL, and started again after `away_s`",
    "collector.hang": "SIGSTOP, and SIGCONT at the end",
    "agent.kill": "SIGKILL, and started again after `away_s`",
    "agent.hang": "SIGSTOP, and SIGCONT at the end",
    "broker.kill": "SIGKILL, and started again after `away_s`",
    "broker.hang": "SIGSTOP, and SIGCONT at the end",
    "disk.slow": "each fsync takes `from_ms` to `to_ms` longer",
    "disk.full": "ENOSPC for every write",
    "disk.read_only": "EROFS, as after a remount",
    "disk.write_error": "EIO for `share` of the writes",
    "disk.sync_error": "EIO for `share` of the fsyncs",
    "disk.read_error": "EIO for `share` of the reads",
    "disk.short": "`share` of the writes end in the middle, with ENOSPC",
    "clock.step": "the system clock jumps by `by_s`",
    "clock.drift": "the system clock runs `ppm` millionths too fast",
    "clock.reset": "the system clock says 1970",
}

_A_DAY_OF_SOAK: Final = 24 * 60  # soak counts in minutes

MIXES: Final[Mapping[str, Mapping[str, Habit]]] = {
    "bad-week": {
        "network.cut": Habit(6, (5, 7200)),
        "network.refused": Habit(3, (5, 600)),
        "network.silent": Habit(3, (30, 1800)),
        "network.mute": Habit(3, (10, 600)),
        "network.deaf": Habit(2, (10, 600)),
        "network.loss": Habit(4, (60, 7200), {"share": (0.02, 0.3)}),
        "network.delay": Habit(4, (60, 7200), {"delay_ms": (50, 2000), "jitter_ms": (0, 1000)}),
        "requests.lost_receipt": Habit(6, (60, 3600), {"share": (0.1, 0.5)}),
        "requests.twice": Habit(6, (60, 3600), {"share": (0.05, 0.3)}),
        "requests.late_again": Habit(6, (60, 3600), {"share": (0.05, 0.3)}),
        "requests.busy": Habit(4, (10, 1200), {"pause_s": (1, 120)}),
        "requests.failing": Habit(3, (10, 1200)),
        "collector.kill": Habit(3, how={"away_s": (1, 300)}),
        "collector.hang": Habit(2, (5, 300)),
        "agent.kill": Habit(4, how={"away_s": (1, 120)}),
        "disk.slow": Habit(4, (60, 3600), {"from_ms": (2, 5), "to_ms": (5, 20)}),
        "disk.full": Habit(1.5, (10, 1800)),
        "disk.read_only": Habit(1, (10, 900)),
        "disk.write_error": Habit(2, (5, 300), {"share": (0.05, 1)}),
        "disk.sync_error": Habit(2, (5, 300), {"share": (0.05, 1)}),
        "disk.read_error": Habit(1, (5, 120), {"share": (0.01, 0.2)}),
        "disk.short": Habit(2, (5, 300), {"share": (0.05, 1)}),
        "clock.step": Habit(2, how={"by_s": (-7200, 7200)}),
        "clock.drift": Habit(2, (600, 14400), {"ppm": (-500, 500)}),
        "clock.reset": Habit(0.5, (60, 3600)),
    },
    "soak": {
        "network.cut": Habit(_A_DAY_OF_SOAK / 2, (1, 15)),
        "network.refused": Habit(_A_DAY_OF_SOAK / 4, (1, 10)),
        "network.silent": Habit(_A_DAY_OF_SOAK / 5, (2, 20)),
        "network.mute": Habit(_A_DAY_OF_SOAK / 5, (2, 10)),
        "network.deaf": Habit(_A_DAY_OF_SOAK / 6, (2, 10)),
        "network.loss": Habit(_A_DAY_OF_SOAK / 3, (5, 30), {"share": (0.02, 0.3)}),
        "network.delay": Habit(_A_DAY_OF_SOAK / 3, (5, 30), {"delay_ms": (20, 500), "jitter_ms": (0, 300)}),
        "network.slow": Habit(_A_DAY_OF_SOAK / 5, (5, 20), {"bytes_a_second": (2_000, 100_000)}),
        "network.drip": Habit(_A_DAY_OF_SOAK / 10, (2, 8), {"pause_ms": (1, 5)}),
        "network.reset": Habit(_A_DAY_OF_SOAK / 3, (5, 30), {"share": (0.1, 0.6)}),
        "requests.lost_receipt": Habit(_A_DAY_OF_SOAK / 2, (5, 40), {"share": (0.1, 0.5)}),
        "requests.twice": Habit(_A_DAY_OF_SOAK / 2, (5, 40), {"share": (0.05, 0.3)}),
        "requests.late_again": Habit(_A_DAY_OF_SOAK / 2, (5, 40), {"share": (0.05, 0.3)}),
        "requests.busy": Habit(_A_DAY_OF_SOAK / 5, (2, 15), {"pause_s": (1, 4)}),
        "requests.failing": Habit(_A_DAY_OF_SOAK / 5, (2, 15)),
        "collector.kill": Habit(_A_DAY_OF_SOAK / 2, how={"away_s": (0.2, 5)}),
        "collector.hang": Habit(_A_DAY_OF_SOAK / 5, (1, 8)),
        "agent.kill": Habit(_A_DAY_OF_SOAK / 1.5, how={"away_s": (0.2, 3)}),
        "disk.slow": Habit(_A_DAY_OF_SOAK / 3, (5, 40), {"from_ms": (2, 5), "to_ms": (5, 20)}),
        "disk.full": Habit(_A_DAY_OF_SOAK / 4, (2, 10)),
        "disk.read_only": Habit(_A_DAY_OF_SOAK / 6, (2, 10)),
        "disk.write_error": Habit(_A_DAY_OF_SOAK / 5, (2, 10), {"share": (0.05, 1)}),
        "disk.sync_error": Habit(_A_DAY_OF_SOAK / 5, (2, 10), {"share": (0.05, 1)}),
        "disk.short": Habit(_A_DAY_OF_SOAK / 6, (2, 10), {"share": (0.05, 1)}),
        "clock.step": Habit(_A_DAY_OF_SOAK / 3, how={"by_s": (-7200, 7200)}),
        "clock.drift": Habit(_A_DAY_OF_SOAK / 5, (10, 60), {"ppm": (-500, 500)}),
        "clock.reset": Habit(_A_DAY_OF_SOAK / 10, (5, 20)),
    },
}
"""How a bad week looks, in days; and a bad half-hour, for soak, with everything at once."""


class MixMistake(BadInput):
    """Asks for faults that there are not."""


class Trace(msgspec.Struct, frozen=True):
    """A timetable, and what it was made from."""

    seed: int
    duration_ms: int
    mix: str
    faults: tuple[Fault, ...]


def plan(seed: int, duration_ms: int, mix: str = "bad-week", only: Sequence[str] = ()) -> Trace:
    """The timetable of a seed, in order. `only`: kinds, or whole targets such as "network".

    Faults of one kind do not overlap; the last may end after the duration. Raise MixMistake.
    """
    if mix not in MIXES:
        raise MixMistake(f"there is no mix '{mix}' ({suggest(mix, list(MIXES))})")
    habits = {kind: habit for kind, habit in MIXES[mix].items() if not only or _is_one_of(kind, only)}
    for name in only:
        if not any(_is_one_of(kind, [name]) for kind in KINDS):
            known = sorted({*KINDS, *(kind.partition(".")[0] for kind in KINDS)})
            raise MixMistake(f"there is no fault '{name}' ({suggest(name, known)})")
    found = [fault for kind, habit in habits.items() for fault in _of_kind(seed, kind, habit, duration_ms)]
    return Trace(seed, duration_ms, mix, tuple(sorted(found, key=lambda fault: (fault.at_ms, fault.kind))))


def _is_one_of(kind: str, names: Sequence[str]) -> bool:
    return kind in names or kind.partition(".")[0] in names


def _of_kind(seed: int, kind: str, habit: Habit, duration_ms: int) -> Sequence[Fault]:
    chance = random.Random(key_of(seed, "lab", kind))
    found: list[Fault] = []
    at_ms = 0
    while True:
        at_ms += round(chance.expovariate(habit.a_day) * DAY_MS)
        lasts_ms = round(chance.uniform(*habit.lasts_s) * 1000)
        how = {name: round(chance.uniform(*span), 3) for name, span in (habit.how or {}).items()}
        if at_ms >= duration_ms:
            return found
        found.append(Fault(at_ms, kind, lasts_ms, how))
        at_ms += lasts_ms
