"""Who goes through the doors of a building in a day: the same people and the same day for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from models.times import DAY_MS
from simulators.building import Building

_FAMILY = ("王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "马", "朱", "胡", "林")
_GIVEN = ("伟", "芳", "娜", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "涛", "明", "霞")
_STEP_MS = 1_000  # no controller reports two things of one door in a shorter time


@dataclass(frozen=True, slots=True)
class Person:
    """One of those who work there, or somebody with a card that opens nothing."""

    name: str
    number: str  # employee number
    card: str  # ten digits with zeros in front, as it is printed on the card
    uses_face: bool = False


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that happens at a door."""

    at_ms: int
    what: str  # a key of `codes.MEANINGS`
    door: int
    person: Person | None = None


def staff(seed: int, count: int) -> list[Person]:
    """Card numbers are those of 26-bit cards: 8 bits of facility and 16 of the card."""
    rng = random.Random(f"people {seed}")
    facility = rng.randrange(16, 256)
    numbers = rng.sample(range(1000, 65536), count)
    people = []
    for index, number in enumerate(numbers):
        name = rng.choice(_FAMILY) + rng.choice(_GIVEN) + rng.choice(_GIVEN)
        card = f"{(facility << 16) + number:010d}"
        people.append(Person(name, f"GOV-{rng.randrange(10**5):05d}-{index:03d}", card, rng.random() < 0.3))
    return people


def day_of_doors(building: Building, people: list[Person], *, doors: int, day: int) -> Iterator[Deed]:
    """What happens on one local day, in the order of its time."""
    rng = random.Random(f"doors {building.seed} {day}")
    midnight_ms = building.day_starts_ms(day)
    deeds: list[Deed] = []
    for person in people:
        if building.is_free(day) and rng.random() > building.weekend_share:
            continue
        times_h = [
            building.work_from_h + rng.gauss(0, 0.3),
            building.lunch_from_h + rng.gauss(0.1, 0.1),
            building.lunch_to_h + rng.gauss(-0.1, 0.1),
            building.work_to_h + rng.gauss(0.2, 0.4),
        ]
        for leaves, hour in enumerate(times_h):
            at_ms = midnight_ms + round(min(max(hour, 0.0), 23.9) * 3_600_000)
            deeds += _passage(rng, at_ms, rng.randrange(1, doors + 1), person, leaves=leaves % 2 == 1)
    for _ in range(2 + len(people) // 10):  # what should not happen
        at_ms = midnight_ms + rng.randrange(DAY_MS - 600_000)
        door = rng.randrange(1, doors + 1)
        deeds += _trouble(rng, at_ms, door, rng.choice(people) if people else None)
    return iter(sorted(deeds, key=lambda deed: deed.at_ms))


def _passage(rng: random.Random, at_ms: int, door: int, person: Person, *, leaves: bool) -> list[Deed]:
    if leaves and rng.random() < 0.5:
        whats = ["button", "lock_open", "opened", "closed", "lock_closed"]
        return [Deed(at_ms + n * _STEP_MS, what, door) for n, what in enumerate(whats)]
    first = "face_ok" if person.uses_face else "card_ok"
    whats = [first, "lock_open", "opened", "closed", "lock_closed"]
    return [
        Deed(at_ms + n * _STEP_MS, what, door, person if n == 0 else None) for n, what in enumerate(whats)
    ]


def _trouble(rng: random.Random, at_ms: int, door: int, person: Person | None) -> list[Deed]:
    with_card = ["no_right", "wrong_hours", "expired", "unknown_card"] if person is not None else []
    what = rng.choice([*with_card, "forced", "held_open", "mystery"])
    if what in ("forced", "held_open"):
        first = "opened" if what == "held_open" else "forced"
        rest = ["held_open", "closed"] if what == "held_open" else ["closed"]
        return [Deed(at_ms + n * 30_000, step, door) for n, step in enumerate([first, *rest])]
    return [Deed(at_ms, what, door, person if what != "mystery" else None)]
