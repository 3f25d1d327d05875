"""Whatever happens to its files, a buffer starts, has what can still be read, and tells what it has not."""

import os
import random
from pathlib import Path

import pytest

from models.reading import Event, Item
from tests.edge_agent.buffer.damaged_stores import Store
from tests.support.clocks import VirtualClock
from tests.support.items import a_reading

TRIALS = 16
TRIALS_OF_A_SOAK = 500


@pytest.fixture
async def store(tmp_path: Path, clock: VirtualClock) -> Store:
    store = Store(tmp_path / "state", clock)
    await store.fill(random.Random(4))
    return store


def events(items: dict[int, Item], kind: str) -> list[Event]:
    return [item for item in items.values() if isinstance(item, Event) and item.kind == kind]


async def trial(store: Store, seed: int) -> str:
    """Damage the store by `seed`, start it, and hold what comes of it against what was in it."""
    rng = random.Random(seed)
    store.put_back()
    how, touched = store.damage(rng)
    last_before = max(store.items)
    is_large = rng.random() < 0.5  # as if it were too large to be checked when it is opened
    async with await store.open(**({"checked_at_once": 0} if is_large else {})) as buffer:
        outbox = await buffer.outbox("main")
        assert (await outbox.counts()).conserved
        alive = a_reading(-1.0, device="alive")
        [first, last] = await buffer.append([alive])
        assert last == first > last_before  # no number is used again
        if is_large:
            await buffer.look_through()
        await buffer.wait_salvaged()
        assert (await outbox.counts()).conserved
        await store.send(outbox)
        await buffer.wait_salvaged()  # what was sent may have lain on a page that is broken
        await store.send(outbox)
        counts = await outbox.counts()
        assert (counts.conserved, counts.pending) == (True, 0)
    got = store.collector.items
    assert got[first] == alive
    written = {seq: item for seq, item in store.items.items() if seq != store.refused}
    lost = written.keys() - got.keys()
    assert all(got[seq] == item for seq, item in written.items() if seq in got)  # nothing is invented
    assert not lost & store.sound_numbers(touched)  # what could be read is salvaged
    told = [range(gap.data["first_seq"], gap.data["last_seq"] + 1) for gap in events(got, "buffer.gap")]
    assert all(any(seq in numbers for numbers in told) for seq in lost)  # the collector knows what is not
    asides = store.aside()
    assert len(events(got, "buffer.set-aside")) == len(asides) == len(events(got, "buffer.salvaged"))
    return f"{how}: {len(lost)} lost, {store.collector.again} again, aside: {len(asides)}"


async def test_whatever_is_damaged_the_store_starts_and_has_all_that_is_sound(store: Store) -> None:
    for seed in range(TRIALS):
        try:
            await trial(store, seed)
        except BaseException:
            print(f"seed {seed}")  # noqa: T201  # to play this one again
            raise


@pytest.mark.soak
async def test_five_hundred_trials_of_damage(store: Store) -> None:
    first = int(os.environ.get("GATEHOUSE_SEED", "1000"))
    for seed in range(first, first + TRIALS_OF_A_SOAK):
        try:
            await trial(store, seed)
        except BaseException:
            print(f"seed {seed}")  # noqa: T201  # to play this one again
            raise
