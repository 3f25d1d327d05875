"""What was flipped, cut, swapped, repeated or reordered is refused and counted, and is one alert."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from collector.alerts.service import resolve
from collector.insight.job import InsightJob
from collector.intake.refusals import AT_ONCE, QUIET_MS, Refused
from collector.intake.service import MAX_WAITING_BATCHES, Intake
from collector.settings import Settings
from collector.store.engine import Store
from models.envelope import GM, STANDARD, SUITES, Suite
from models.protocol import Receipt
from tests.collector.intake.conftest import Enrol, Query
from tests.support.collector import NOW_MS, Sender, StandingClock, a_reading, an_event

SETTINGS = Settings.model_validate(
    {
        "url": "https://collector.example:8443",
        "receivers": [
            {"kind": "webhook", "name": "platform", "url": "http://127.0.0.1:9/", "secret": "s" * 16}
        ],
    }
)


@dataclass
class Attack:
    """One body, who brings it, and whether it is one that is stored already, byte for byte."""

    body: bytes
    sender: str
    is_known: bool = False


class Hostile:
    """Somebody who has the envelopes of two gateways and the place of both, and a seed."""

    def __init__(self, seed: int, victim: Sender, other: Sender) -> None:
        self.rng = random.Random(seed)
        self.ids = (victim.gateway_id, other.gateway_id)
        self.stored = [
            [gateway.seal([a_reading(float(n), at_ms=NOW_MS - n), an_event(n=n)]).body for n in range(1, 12)]
            for gateway in (victim, other)
        ]
        # Made by a thief of the key itself: right in everything but their place in the chain.
        self.out_of_order = self._twins(victim, other)

    @staticmethod
    def _twins(*gateways: Sender) -> list[list[bytes]]:
        found = []
        for gateway in gateways:
            twin = replace(gateway, number=0, next_seq=1, previous=bytes(32))
            twin.content_key = gateway.content_key
            found.append([twin.seal([a_reading(float(n), at_ms=NOW_MS - n)]).body for n in range(50, 61)])
        return found

    def attacks(self, count: int) -> Iterator[Attack]:
        kinds = (self.flipped, self.cut, self.grown, self.swapped, self.mixed, self.repeated, self.reordered)
        for _ in range(count):
            yield self.rng.choice(kinds)()

    def _one(self) -> tuple[int, bytes]:
        whose = self.rng.randrange(2)
        return whose, self.rng.choice(self.stored[whose])

    def flipped(self) -> Attack:
        whose, body = self._one()
        changed = bytearray(body)
        for _ in range(self.rng.choice((1, 1, 1, 2, 9))):
            changed[self.rng.randrange(len(changed))] ^= 1 << self.rng.randrange(8)
        return Attack(bytes(changed), self.ids[whose], is_known=bytes(changed) == body)

    def cut(self) -> Attack:
        whose, body = self._one()
        return Attack(body[: self.rng.randrange(len(body))], self.ids[whose])

    def grown(self) -> Attack:
        whose, body = self._one()
        at = self.rng.randrange(len(body) + 1)
        return Attack(body[:at] + self.rng.randbytes(self.rng.randrange(1, 9)) + body[at:], self.ids[whose])

    def swapped(self) -> Attack:
        """The envelope of one gateway, brought by the other."""
        whose, body = self._one()
        return Attack(body, self.ids[1 - whose])

    def mixed(self) -> Attack:
        """Head of one envelope, tail of another."""
        (whose, head), (_, tail) = self._one(), self._one()
        end = 6 + int.from_bytes(head[4:6], "big")
        parts = self.rng.choice((end, len(head) - 64))
        mixed = head[:parts] + tail[parts:]
        return Attack(mixed, self.ids[whose], is_known=mixed in self.stored[whose])

    def repeated(self) -> Attack:
        whose, body = self._one()
        return Attack(body, self.ids[whose], is_known=True)

    def reordered(self) -> Attack:
        """Other content under a number that is taken."""
        whose = self.rng.randrange(2)
        return Attack(self.rng.choice(self.out_of_order[whose]), self.ids[whose])


async def fuzz(intake: Intake, hostile: Hostile, count: int, dump: Callable[[], str]) -> int:
    """How many were refused; every other one was known, and changed nothing."""
    for bodies, gateway_id in zip(hostile.stored, hostile.ids, strict=True):
        for body in bodies:
            assert not (await intake.accept(body, gateway_id)).already
    before = without_refusals(dump())
    refused = 0
    attacks = hostile.attacks(count)
    while several := list(itertools.islice(attacks, MAX_WAITING_BATCHES)):
        sent = (intake.accept(attack.body, attack.sender) for attack in several)
        answers = await asyncio.gather(*sent, return_exceptions=True)
        for attack, answer in zip(several, answers, strict=True):
            if attack.is_known:
                assert isinstance(answer, Receipt)
                assert answer.already
            else:
                assert isinstance(answer, Refused)
                refused += 1
    await intake.count_refusals()
    assert without_refusals(dump()) == before
    return refused


def without_refusals(dump: str) -> list[str]:
    return [line for line in dump.splitlines() if 'INTO "refusal"' not in line]


async def gateways(enrol: Enrol, intake: Intake, suite: Suite) -> tuple[Sender, Sender]:
    pair = (await enrol("gw-00000000aaaa", suite), await enrol("gw-00000000bbbb", suite))
    for gateway in pair:
        await intake.accept_key(gateway.package, gateway.content_key.key_id, gateway.gateway_id)
    return pair


@pytest.mark.parametrize(
    ("suite", "count"),
    [
        pytest.param(STANDARD, 10_000, id="standard"),
        pytest.param(GM, 1500, id="gm"),
        pytest.param(STANDARD, 100_000, marks=pytest.mark.soak, id="standard-soak"),
        pytest.param(GM, 20_000, marks=pytest.mark.soak, id="gm-soak"),
    ],
)
async def test_hostile_envelopes_are_refused_and_counted_and_are_one_alert_for_each_gateway(
    intake: Intake,
    enrol: Enrol,
    store: Store,
    standing: StandingClock,
    rows: Query,
    dump: Callable[[], str],
    suite: Suite,
    count: int,
) -> None:
    victim, other = await gateways(enrol, intake, suite)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  # shown when the test fails

    refused = await fuzz(intake, Hostile(seed, victim, other), count, dump)

    assert refused > count // 2
    assert rows("SELECT sum(count) FROM refusal") == [refused]
    job = InsightJob(store, standing.clock, SETTINGS)
    for _ in range(3):
        await job.run_once()
    assert rows("SELECT condition FROM alert WHERE detector = 'refused' ORDER BY condition") == [
        f"refused:gateway:{gateway.gateway_id}" for gateway in (victim, other)
    ]
    assert rows("SELECT count(*) FROM outbox") == [2]


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
async def test_no_changed_package_of_a_key_is_taken(
    intake: Intake, enrol: Enrol, rows: Query, suite: Suite
) -> None:
    victim, other = await gateways(enrol, intake, suite)
    rng = random.Random(7)
    attempts = [(other.package, victim), (victim.package, other)]
    for _ in range(300):
        changed = bytearray(victim.package)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        attempts.append((bytes(changed), victim))
    attempts += [(victim.package[: rng.randrange(len(victim.package))], victim) for _ in range(50)]
    for package, gateway in attempts:
        with pytest.raises(Refused):
            await intake.accept_key(package, gateway.content_key.key_id, gateway.gateway_id)
    await intake.count_refusals()
    assert rows("SELECT sum(count) FROM refusal") == [len(attempts)]
    assert rows("SELECT package FROM content_key ORDER BY gateway_id") == [victim.package, other.package]


class Watch:
    """The collector's detectors, looking at the alerts of refused gateways."""

    def __init__(self, store: Store, standing: StandingClock, rows: Query, intake: Intake) -> None:
        self.standing, self.rows, self.intake = standing, rows, intake
        self.job = InsightJob(store, standing.clock, SETTINGS)

    async def alerts(self, *, minutes_later: float = 0) -> list[Any]:
        self.standing.now_ms += round(minutes_later * 60_000)
        await self.intake.count_refusals()
        await self.job.run_once()
        return self.rows("SELECT state FROM alert WHERE detector = 'refused' ORDER BY id")

    def told(self) -> int:
        """How often people were told of such an alert."""
        [count] = self.rows(
            "SELECT count(*) FROM outbox JOIN alert ON alert.id = alert_id WHERE detector = 'refused'"
        )
        return int(count)

    async def forge(self, gateway: Sender, times: int = 1) -> None:
        body = bytearray(gateway.seal([a_reading()]).body)
        body[-1] ^= 1
        for _ in range(times):
            with pytest.raises(Refused):
                await self.intake.accept(bytes(body), gateway.gateway_id)


@pytest.fixture
def watch(store: Store, standing: StandingClock, rows: Query, intake: Intake) -> Watch:
    return Watch(store, standing, rows, intake)


QUIET_MINUTES = QUIET_MS / 60_000


async def test_an_event_says_which_gateway_what_since_when_and_how_often_and_ends_by_itself(
    watch: Watch, sender: Sender
) -> None:
    began_ms = watch.standing.now_ms
    await watch.forge(sender, 3)
    assert await watch.alerts() == ["firing"]
    watch.standing.now_ms += 10 * 60_000
    last_ms = watch.standing.now_ms
    await watch.forge(sender, 40)
    assert await watch.alerts() == ["firing"]

    [(opened_ms, severity, text)] = watch.rows(
        "SELECT opened_ms, severity, data FROM alert WHERE detector = 'refused'"
    )
    data = json.loads(text)
    assert (opened_ms, severity) == (began_ms, "critical")
    assert (data["gateway_id"], data["refused"]) == (sender.gateway_id, {"bad-signature": 43})
    assert "签名错误 43 次" in data["text"]["zh"]
    assert "Refused 43 times since" in data["text"]["en"]
    assert "43 with a wrong signature" in data["text"]["en"]
    assert watch.told() == 1

    assert await watch.alerts(minutes_later=QUIET_MINUTES) == ["firing"]
    assert await watch.alerts(minutes_later=1) == ["resolved"]
    assert watch.rows("SELECT resolved_by, resolved_ms FROM alert WHERE detector = 'refused'") == [
        ("recovered", last_ms)
    ]
    assert watch.told() == 2  # whoever was told of it is told that it is over


async def test_after_a_time_of_quiet_another_event_begins_and_counts_from_one(
    watch: Watch, sender: Sender
) -> None:
    await watch.forge(sender, 20)
    assert await watch.alerts() == ["firing"]
    assert await watch.alerts(minutes_later=QUIET_MINUTES + 1) == ["resolved"]
    await watch.forge(sender)
    assert await watch.alerts() == ["resolved", "firing"]
    assert watch.rows("SELECT count, episode_count FROM refusal") == [(21, 1)]


async def test_what_a_restored_store_is_told_once_is_no_event_but_more_of_it_is(
    watch: Watch, sender: Sender
) -> None:
    body = sender.seal([a_reading()]).body
    await watch.intake.accept(body, sender.gateway_id)
    twin = replace(sender, number=0, next_seq=1, previous=bytes(32))
    twin.content_key = sender.content_key
    other = twin.seal([a_reading(2.0)]).body
    for expected in ([], [], ["firing"]):
        with pytest.raises(Refused, match="chain-broken"):
            await watch.intake.accept(other, sender.gateway_id)
        assert await watch.alerts() == expected


async def test_what_belongs_to_the_protocol_is_no_event(watch: Watch, enrol: Enrol) -> None:
    stranger = await enrol("gw-00000000cccc")
    for _ in range(5):
        with pytest.raises(Refused, match="unknown-key"):
            await watch.intake.accept(stranger.seal([a_reading()]).body, stranger.gateway_id)
    assert await watch.alerts() == []


async def test_an_event_that_a_person_has_closed_stays_closed_while_it_goes_on(
    watch: Watch, sender: Sender, store: Store
) -> None:
    await watch.forge(sender)
    assert await watch.alerts() == ["firing"]
    [(site_id, alert_id)] = watch.rows("SELECT site_id, id FROM alert")
    async with store.write() as connection:
        await resolve(connection, site_id, alert_id, by="duty", now_ms=watch.standing.now_ms)
    await watch.forge(sender, 5)
    assert await watch.alerts(minutes_later=5) == ["resolved"]


async def test_a_flood_is_written_once_a_second_and_counted_to_the_last(watch: Watch, sender: Sender) -> None:
    await watch.forge(sender, 100)
    assert watch.rows("SELECT count FROM refusal") == [AT_ONCE]
    await watch.intake.count_refusals()
    assert watch.rows("SELECT count FROM refusal") == [100]
