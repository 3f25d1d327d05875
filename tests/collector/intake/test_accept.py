"""A batch is stored once, whole, and acknowledged with what the collector then holds."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from collector.identity.gateways import revoke_gateway
from collector.identity.keyring import Keyring
from collector.intake.refusals import Refused
from collector.intake.service import Intake
from models.inventory import DEVICE_DESCRIBED, DeviceDescription, PointDescription
from models.protocol import Code, Receipt, collector_key_name
from models.reading import Event, Item, Quality, Reason
from models.times import DAY_MS, HOUR_MS, hour_of
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading, an_event

Rows = Callable[..., list[Any]]


def described(
    device: str = "meter-01",
    *,
    name: str = "1号楼总表",
    at_ms: int = NOW_MS,
    unit: str = "V",
    unauthenticated: bool = False,
) -> Event:
    point = PointDescription(name="voltage_v", unit=unit, kind="gauge", decimals=1)
    counter = PointDescription(
        name="energy_kwh", unit="kWh", kind="counter", item_code="01000", modulus=1e6, max_rate_per_h=500
    )
    description = DeviceDescription(
        device_id=device,
        name=name,
        profile="sdm630",
        profile_version="1",
        period_s=60,
        points=(point, counter),
        unauthenticated=unauthenticated,
    )
    data = msgspec.to_builtins(description)
    return Event(device_id=device, kind=DEVICE_DESCRIBED, data=data, measured_ms=at_ms, received_ms=at_ms)


async def test_every_reading_is_stored_as_it_was_sent(intake: Intake, sender: Sender, rows: Rows) -> None:
    times = [NOW_MS - 60_000, NOW_MS - 50_000]
    items = [
        a_reading(230.1, at_ms=times[0]),
        a_reading(
            0.5, point="current_a", at_ms=times[0], quality=Quality.SUSPECT, reason=Reason.OUT_OF_RANGE
        ),
        a_reading(None, device="meter-02", at_ms=times[1], quality=Quality.BAD, reason=Reason.NO_REPLY),
        a_reading(-0.0, at_ms=times[1]),
    ]
    sealed = sender.seal(items)
    receipt = await intake.accept(sealed.body, sender.gateway_id)
    assert receipt.collector_key == collector_key_name(sender.collector_key)
    assert receipt.model_copy(update={"collector_key": ""}) == Receipt(
        epoch=sender.epoch.hex(),
        number=1,
        digest=sealed.digest.hex(),
        stored=4,
        already=False,
        quarantined=[],
        high_water=4,
        missing=[],
    )
    stored = rows(
        "SELECT device.device_id, point.name, measured_ms, received_ms, value, quality, reason, seq "
        "FROM reading JOIN point ON point.id = point_id JOIN device ON device.id = point.device ORDER BY seq"
    )
    assert stored == [
        (r.device_id, r.point, r.measured_ms, r.received_ms, r.value, r.quality, r.reason, seq)
        for seq, r in enumerate(items, start=1)
    ]
    assert rows("SELECT body, digest FROM envelope") == [(sealed.body, sealed.digest)]


@pytest.mark.parametrize("count", [1, 3, 4, 255, 256, 257, 1100])
async def test_batches_of_any_size_are_stored_whole(
    intake: Intake, sender: Sender, rows: Rows, count: int
) -> None:
    items: list[Item] = [a_reading(float(i), at_ms=NOW_MS - 10 * i) for i in range(count)]
    await intake.accept(sender.seal(items).body, sender.gateway_id)
    assert rows("SELECT value FROM reading ORDER BY seq") == [float(i) for i in range(count)]


async def test_the_same_envelope_again_changes_no_row(
    intake: Intake, sender: Sender, standing: StandingClock, dump: Callable[[], str]
) -> None:
    items: list[Item] = [a_reading(), described(), an_event(), a_reading(1.0, at_ms=NOW_MS + DAY_MS)]
    sealed = sender.seal(items)
    first = await intake.accept(sealed.body, sender.gateway_id)
    before = dump()
    standing.now_ms += 5_000_000
    again = await intake.accept(sealed.body, sender.gateway_id)
    assert again == first.model_copy(update={"already": True})
    assert dump() == before


async def test_a_restarted_collector_knows_the_envelope_again(
    intake: Intake,
    sender: Sender,
    private_key: Any,
    store: Any,
    standing: StandingClock,
    dump: Callable[[], str],
) -> None:
    sealed = sender.seal([a_reading()])
    await intake.accept(sealed.body, sender.gateway_id)
    before = dump()
    async with Intake(store, Keyring.of(private_key), standing.clock) as restarted:
        receipt = await restarted.accept(sealed.body, sender.gateway_id)
        assert (receipt.already, dump()) == (True, before)
        await restarted.accept(sender.seal([a_reading(231.0, at_ms=NOW_MS)]).body, sender.gateway_id)


async def test_batches_in_any_order_end_in_the_same_rows_and_what_is_missing_is_named(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    sealed = [
        sender.seal([a_reading(float(10 * n + i), at_ms=NOW_MS - 1000 * (10 * n + i)) for i in range(10)])
        for n in range(20)
    ]
    order = list(range(20))
    random.Random(4).shuffle(order)
    arrived: set[int] = set()
    for n in order:
        receipt = await intake.accept(sealed[n].body, sender.gateway_id)
        arrived.add(n)
        first_missing = next(i for i in range(21) if i not in arrived)
        gaps = [(10 * i + 1, 10 * i + 10) for i in range(max(arrived)) if i not in arrived]
        assert receipt.high_water == 10 * first_missing
        assert joined(receipt.missing) == joined(gaps)
    assert rows("SELECT count(*), sum(value) FROM reading") == [(200, sum(range(200)))]
    assert rows("SELECT count(*) FROM sequence_gap") == [0]


def joined(ranges: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last + 1)]


async def test_what_a_gateway_reports_as_lost_is_not_asked_for(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    await intake.accept(sender.seal([a_reading()]).body, sender.gateway_id)
    sender.next_seq = 41
    gap = an_event("buffer.gap", first_seq=2, last_seq=30, reason="full")
    receipt = await intake.accept(sender.seal([gap]).body, sender.gateway_id)
    assert (receipt.high_water, receipt.missing) == (1, [(31, 40)])
    assert rows("SELECT first_seq, last_seq, lost FROM sequence_gap") == [(2, 30, 1), (31, 40, 0)]


async def test_two_epochs_of_one_gateway_do_not_meet(intake: Intake, sender: Sender, rows: Rows) -> None:
    await intake.accept(sender.seal([a_reading(1.0)]).body, sender.gateway_id)
    reborn = Sender(sender.gateway_id, sender.collector_key, sender.signing_key)
    await intake.accept_key(reborn.package, reborn.content_key.key_id, reborn.gateway_id)
    receipt = await intake.accept(reborn.seal([a_reading(2.0, at_ms=NOW_MS)]).body, reborn.gateway_id)
    assert (receipt.stored, receipt.high_water, receipt.missing) == (1, 1, [])
    assert rows("SELECT epoch_id, value FROM reading ORDER BY epoch_id") == [(1, 1.0), (2, 2.0)]


async def test_another_value_for_the_same_time_is_kept_beside_the_first(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    at = NOW_MS - 90_000
    first = [a_reading(1.0, at_ms=at), a_reading(2.0, point="p", at_ms=at)]
    second = [a_reading(1.0, at_ms=at), a_reading(2.5, point="p", at_ms=at), a_reading(3.0, at_ms=at + 1)]
    await intake.accept(sender.seal(first).body, sender.gateway_id)
    receipt = await intake.accept(sender.seal(second).body, sender.gateway_id)
    assert receipt.stored == 3
    assert rows("SELECT value FROM reading ORDER BY seq") == [1.0, 2.0, 3.0]
    assert rows("SELECT seq, value FROM reading_revision") == [(4, 2.5)]


async def test_the_first_of_two_values_in_one_batch_counts_everywhere(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    items = [a_reading(1.0), a_reading(2.0), a_reading(2.0)]
    await intake.accept(sender.seal(items).body, sender.gateway_id)
    assert rows("SELECT value FROM reading") == rows("SELECT value FROM latest") == [1.0]
    assert rows("SELECT seq, value FROM reading_revision") == [(2, 2.0), (3, 2.0)]


async def test_the_latest_value_is_the_newest_and_not_the_last_to_arrive(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    newer = [a_reading(5.0, at_ms=NOW_MS - 1000), a_reading(4.0, at_ms=NOW_MS - 2000)]
    await intake.accept(sender.seal(newer).body, sender.gateway_id)
    assert rows("SELECT value, measured_ms FROM latest") == [(5.0, NOW_MS - 1000)]
    older = [a_reading(1.0, at_ms=NOW_MS - 9000), a_reading(2.0, point="p", at_ms=NOW_MS - 9000)]
    await intake.accept(sender.seal(older).body, sender.gateway_id)
    assert rows("SELECT value FROM latest ORDER BY point_id") == [5.0, 2.0]


async def test_exactly_the_hours_that_readings_lie_in_are_marked(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    hour = hour_of(NOW_MS) - 5 * HOUR_MS
    items = [
        a_reading(1.0, at_ms=hour),
        a_reading(2.0, at_ms=hour + HOUR_MS - 1),
        a_reading(3.0, at_ms=hour + 3 * HOUR_MS),
        a_reading(4.0, point="p", at_ms=hour + HOUR_MS),
    ]
    await intake.accept(sender.seal(items).body, sender.gateway_id)
    marked = "SELECT point_id, hour_ms, marked_no FROM dirty_hour"
    assert rows(marked) == [(1, hour, 1), (1, hour + 3 * HOUR_MS, 1), (2, hour + HOUR_MS, 1)]
    await intake.accept(sender.seal([a_reading(5.0, at_ms=hour + 7)]).body, sender.gateway_id)
    assert rows(marked) == [(1, hour, 2), (1, hour + 3 * HOUR_MS, 1), (2, hour + HOUR_MS, 1)]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        pytest.param(a_reading(at_ms=NOW_MS + 10 * 365 * DAY_MS), "time-ahead", id="ten-years-ahead"),
        pytest.param(a_reading(at_ms=NOW_MS + 5 * 60_000 + 1), "time-ahead", id="just-ahead"),
        pytest.param(a_reading(at_ms=NOW_MS - 400 * DAY_MS - 1), "time-too-old", id="just-too-old"),
        pytest.param(a_reading(at_ms=0), "time-too-old", id="clock-never-set"),
        pytest.param(a_reading(at_ms=(1 << 62) - 1), "time-ahead", id="end-of-time"),
        pytest.param(a_reading(float("nan")), "not-finite", id="nan"),
        pytest.param(a_reading(float("-inf")), "not-finite", id="infinite"),
        pytest.param(a_reading(None), "value-contradicts-quality", id="good-without-value"),
        pytest.param(a_reading(1.0, quality=Quality.BAD), "value-contradicts-quality", id="bad-with-value"),
        pytest.param(an_event(at_ms=NOW_MS + HOUR_MS), "time-ahead", id="event-ahead"),
        pytest.param(an_event(DEVICE_DESCRIBED, name="half"), "not-a-description", id="half-a-description"),
    ],
)
async def test_what_cannot_be_right_is_set_aside_and_the_rest_is_stored(
    intake: Intake, sender: Sender, rows: Rows, item: Item, reason: str
) -> None:
    sealed = sender.seal([a_reading(1.0), item, a_reading(2.0, at_ms=NOW_MS)])
    receipt = await intake.accept(sealed.body, sender.gateway_id)
    assert [(q.seq, q.reason) for q in receipt.quarantined] == [(2, reason)]
    assert (receipt.stored, receipt.high_water) == (3, 3)
    assert rows("SELECT seq, value FROM reading") == [(1, 1.0), (3, 2.0)]
    assert rows("SELECT count(*) FROM event") == [0]
    [(seq, text)] = rows("SELECT seq, item FROM quarantine")
    kept = json.loads(text)
    assert (seq, kept["measured_ms"]) == (2, item.measured_ms)


async def test_times_at_the_edge_of_the_tolerance_are_stored(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    ahead = a_reading(1.0, at_ms=NOW_MS + 5 * 60_000 - 12)
    old = a_reading(2.0, at_ms=NOW_MS - 400 * DAY_MS)
    receipt = await intake.accept(sender.seal([ahead, old]).body, sender.gateway_id)
    assert receipt.quarantined == []
    assert rows("SELECT count(*) FROM reading") == [2]


async def test_events_are_stored_with_their_data(intake: Intake, sender: Sender, rows: Rows) -> None:
    event = an_event("door.forced", card="…7f", open_s=3.5, note=None, 门="北")
    await intake.accept(sender.seal([a_reading(), event]).body, sender.gateway_id)
    [(gateway_id, seq, kind, data)] = rows("SELECT gateway_id, seq, kind, data FROM event")
    assert (gateway_id, seq, kind) == (sender.gateway_id, 2, "door.forced")
    assert json.loads(data) == event.data


async def test_a_description_gives_meaning_to_readings_before_and_after_it(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    await intake.accept(sender.seal([a_reading()]).body, sender.gateway_id)
    assert rows("SELECT unit, kind FROM point") == [("", "gauge")]
    await intake.accept(sender.seal([described()]).body, sender.gateway_id)
    assert rows("SELECT device_id, name, profile, period_s FROM device") == [
        ("meter-01", "1号楼总表", "sdm630", 60.0)
    ]
    assert rows("SELECT id, name, unit, kind, item_code, decimals, modulus, max_rate_per_h FROM point") == [
        (1, "voltage_v", "V", "gauge", None, 1, None, None),
        (2, "energy_kwh", "kWh", "counter", "01000", 3, 1e6, 500.0),
    ]
    await intake.accept(sender.seal([a_reading(7.0, point="energy_kwh")]).body, sender.gateway_id)
    assert rows("SELECT point_id FROM reading ORDER BY seq") == [1, 2]


async def test_an_older_description_that_arrives_late_changes_nothing(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    await intake.accept(sender.seal([described(name="new", at_ms=NOW_MS)]).body, sender.gateway_id)
    await intake.accept(
        sender.seal([described(name="old", at_ms=NOW_MS - 1, unit="kV")]).body, sender.gateway_id
    )
    assert rows("SELECT name FROM device") == ["new"]
    assert rows("SELECT unit FROM point WHERE name = 'voltage_v'") == ["V"]


async def test_whether_anything_proves_who_sends_is_kept_with_the_device(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    told = [described("meter-01"), described("radio-01", unauthenticated=True)]
    await intake.accept(sender.seal(told).body, sender.gateway_id)
    assert rows("SELECT device_id, unauthenticated FROM device ORDER BY id") == [
        ("meter-01", 0),
        ("radio-01", 1),
    ]


async def test_gateways_of_one_site_may_name_their_devices_alike(
    intake: Intake, sender: Sender, enrol: Any, rows: Rows
) -> None:
    other = await enrol("gw-000000000002")
    await intake.accept_key(other.package, other.content_key.key_id, other.gateway_id)
    await intake.accept(sender.seal([a_reading(1.0)]).body, sender.gateway_id)
    await intake.accept(other.seal([a_reading(2.0)]).body, other.gateway_id)
    assert rows("SELECT point_id, value FROM reading") == [(1, 1.0), (2, 2.0)]


async def test_the_gateways_clock_is_judged_by_what_it_says_as_it_sends(
    intake: Intake, sender: Sender, standing: StandingClock, rows: Rows
) -> None:
    waited_long = sender.seal([a_reading(1.0, at_ms=NOW_MS - DAY_MS)])
    await intake.accept(waited_long.body, sender.gateway_id, gateway_clock_ms=NOW_MS - 2000)
    assert rows("SELECT last_seen_ms, clock_skew_ms FROM gateway") == [(NOW_MS, -2000)]
    standing.now_ms += 500
    await intake.accept(sender.seal([a_reading(2.0)]).body, sender.gateway_id)
    assert rows("SELECT last_seen_ms, clock_skew_ms FROM gateway") == [(NOW_MS + 500, -2000)]


async def test_a_revoked_gateway_is_refused_from_its_next_batch_on(
    intake: Intake, sender: Sender, store: Any, rows: Rows
) -> None:
    await intake.accept(sender.seal([a_reading()]).body, sender.gateway_id)
    assert await revoke_gateway(store, sender.gateway_id, by="test", now_ms=NOW_MS)
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await intake.accept(sender.seal([a_reading(2.0)]).body, sender.gateway_id)
        assert refused.value.code == Code.REVOKED
    with pytest.raises(Refused, match="revoked"):
        await intake.accept_key(sender.package, sender.content_key.key_id, sender.gateway_id)
    assert rows("SELECT count(*) FROM reading") == [1]
    assert rows("SELECT gateway_id, code, count FROM refusal") == [(sender.gateway_id, "revoked", 3)]
