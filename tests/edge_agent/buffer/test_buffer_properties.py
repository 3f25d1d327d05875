"""Whatever is done in whatever order: nothing is lost, nothing is doubled, and the sums hold."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.buffer.blocks import BlockDamaged, blocks_of, chunks_of, decode_item, encode_item, items_of
from edge_agent.buffer.contract import Batch, Outbox
from edge_agent.buffer.rows import StoredBlock, rows_of
from edge_agent.buffer.sqlite import SqliteBuffer
from models.reading import Event, Item, Quality, Reading, Reason
from tests.support.buffers import AT_REST, open_buffer
from tests.support.clocks import VirtualClock
from tests.support.items import Sealer, an_event, readings, values

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 40)),
        st.tuples(st.just("event"), st.just(0)),
        st.tuples(st.just("store"), st.integers(1, 50)),
        st.tuples(st.just("deliver"), st.integers(0, 3)),
        st.tuples(st.just("withdraw"), st.just(0)),
        st.tuples(st.just("refuse"), st.integers(0, 60)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("new epoch"), st.just(0)),
    ),
    max_size=40,
)

times = st.integers(-(1 << 40), 1 << 50)
items = st.one_of(
    st.builds(
        Reading,
        device_id=st.text(max_size=20),
        point=st.text(max_size=20),
        value=st.one_of(st.none(), st.floats(allow_nan=False)),
        quality=st.sampled_from(Quality),
        reason=st.sampled_from(Reason),
        measured_ms=times,
        received_ms=times,
    ),
    st.builds(
        Event,
        device_id=st.text(max_size=20),
        kind=st.text(max_size=20),
        data=st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.text(max_size=9))),
        measured_ms=times,
        received_ms=times,
    ),
)


class Model:
    """What a buffer should hold, and what left it."""

    def __init__(self) -> None:
        self.fresh: Iterator[int] = count()
        self.unsealed: list[float] = []
        self.sealed: list[tuple[Batch, list[float]]] = []
        self.delivered: list[float] = []
        self.refused: list[float] = []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=OPERATIONS)
async def test_every_reading_is_in_exactly_one_place_after_any_sequence_of_calls(
    operations: list[tuple[str, int]],
) -> None:
    clock, sealer, model = VirtualClock(), Sealer(), Model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "buffer.db"
        buffer = await open_buffer(path, clock.clock, window_s=0)
        outbox = await buffer.outbox("main")
        try:
            for name, number in [*operations, ("append", 1), ("store", 5000)]:
                if name == "reopen":
                    await buffer.close()
                    buffer = await open_buffer(path, clock.clock, window_s=0)
                    outbox = await buffer.outbox("main")
                else:
                    await do(name, number, buffer, outbox, sealer, model)
                counts = await outbox.counts()
                assert counts.conserved
                assert counts.dropped == 0
            remaining = [value for _, batch in model.sealed for value in batch] + model.unsealed
            rest: list[Item | None] = []
            while (batch := await outbox.pending()) is not None:
                await outbox.deliver(batch.number, quarantined=0, receipt="{}")
            while (cut := await outbox.cut(7)) is not None:
                stored = await sealer.store_next(outbox, 7)
                await outbox.deliver(stored.number, quarantined=0, receipt="{}")
                rest += cut.items
            assert values(rest) == model.unsealed
            everything = sorted([*model.delivered, *model.refused, *remaining])
            assert everything == [float(i) for i in range(next(model.fresh))]
        finally:
            await buffer.close()


async def do(
    name: str, number: int, buffer: SqliteBuffer, outbox: Outbox, sealer: Sealer, model: Model
) -> None:
    if name == "append":
        numbers = [next(model.fresh) for _ in range(number)]
        await buffer.append(readings(number, first=numbers[0]))
        model.unsealed += map(float, numbers)
    elif name == "event":
        await buffer.append([an_event()])
    elif name == "store":
        cut = await outbox.cut(number)
        if cut is not None:
            batch = await sealer.store_next(outbox, number)
            taken = [value for value in values(cut.items) if value is not None]
            assert model.unsealed[: len(taken)] == taken
            del model.unsealed[: len(taken)]
            model.sealed.append((batch, taken))
    elif name == "deliver":
        pending = await outbox.pending()
        assert pending == (model.sealed[0][0] if model.sealed else None)
        if pending is not None:
            await outbox.deliver(pending.number, quarantined=min(number, pending.count), receipt="{}")
            model.delivered += model.sealed.pop(0)[1]
    elif name == "withdraw" and model.sealed:
        batch, taken = model.sealed.pop()
        await outbox.withdraw(batch.number)
        model.unsealed[:0] = taken
    elif name == "refuse":
        cut = await outbox.cut(1000)
        if cut is not None and number < len(cut.items):
            item = cut.items[number]
            await outbox.refuse(cut.first_seq + number, "wrong")
            if isinstance(item, Reading) and item.value is not None:
                model.unsealed.remove(item.value)
                model.refused.append(item.value)
    elif name == "new epoch":
        await outbox.begin_epoch()
        model.unsealed[:0] = [value for _, batch in model.sealed for value in batch]
        model.sealed.clear()


@given(st.lists(st.lists(items, min_size=1, max_size=30), min_size=1, max_size=8))
def test_blocks_give_back_the_items_bit_for_bit(appends: list[list[Item]]) -> None:
    blocks = list(blocks_of(chunk for append in appends for chunk in chunks_of(append)))
    back = [item for block in blocks for item in items_of(block.data, block.count)]
    assert repr(back) == repr([item for append in appends for item in append])
    assert sum(block.readings for block in blocks) == sum(isinstance(item, Reading) for item in back)


@given(items)
def test_one_item_alone_comes_back_equal(item: Item) -> None:
    assert repr(decode_item(encode_item(item))) == repr(item)


@given(st.data())
async def test_no_changed_block_is_taken_for_a_good_one(data: st.DataObject) -> None:
    row = next(rows_of(blocks_of(chunks_of(readings(data.draw(st.integers(1, 50))))), 1, 0, AT_REST))
    stored = StoredBlock(first_seq=1, count=row[1], holes=0, stored_ms=0, thinned=0, data=row[-1])
    at = data.draw(st.integers(0, len(stored.data) - 1))
    changed = bytearray(stored.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    for wrong in (replace(stored, data=bytes(changed)), replace(stored, first_seq=2)):
        with pytest.raises(BlockDamaged):
            wrong.items(AT_REST)
    assert len(stored.items(AT_REST)) == stored.count
