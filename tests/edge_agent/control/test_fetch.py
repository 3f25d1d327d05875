"""Asking the collector for commands: patient, polite, and never the same in a circle."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_agent.control.fetch import WAIT_S, Fetcher
from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.questions import CollectorBusy, CollectorRefused
from models.protocol import MOST_GOT
from tests.support.clocks import VirtualClock, settle


@dataclass
class Connection:
    """Answers what is scripted, then nothing any more; and the inbox that believes what begins with c."""

    script: list[Any] = field(default_factory=list)
    asked: list[tuple[list[str], bool, float]] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    async def ask_commands(self, *, got: Sequence[str], everything: bool, wait_s: float) -> list[bytes]:
        self.asked.append((list(got), everything, wait_s))
        if not self.script:
            await asyncio.Event().wait()
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [one.encode() for one in answer]

    async def take(self, signed: bytes) -> str | None:
        self.taken.append(signed)
        return signed.decode() if signed.startswith(b"c") else None


async def asked(
    connection: Connection, clock: VirtualClock, *, seconds: float = 0, is_time_known: bool = True
) -> list[tuple[list[str], bool, float]]:
    fetcher = Fetcher(
        connection,
        connection,  # type: ignore[arg-type]  # of the inbox it needs one method
        clock=clock.clock,
        is_time_known=lambda: is_time_known,
        rng=random.Random(1),
    )
    task = asyncio.create_task(fetcher.run())
    await settle()
    await clock.advance(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return connection.asked


async def test_the_first_question_is_for_everything_and_the_next_names_what_came(
    clock: VirtualClock,
) -> None:
    connection = Connection([["c-1", "c-2"], [], ["c-3"]])
    assert await asked(connection, clock) == [
        ([], True, WAIT_S),
        (["c-1", "c-2"], False, WAIT_S),
        ([], False, WAIT_S),
        (["c-3"], False, WAIT_S),
    ]


async def test_what_is_too_much_for_one_address_is_named_in_several(clock: VirtualClock) -> None:
    connection = Connection([[f"c-{n}" for n in range(50)], [], []])
    questions = await asked(connection, clock)
    assert [(len(got), wait_s) for got, _, wait_s in questions] == [
        (0, WAIT_S),
        (MOST_GOT, 0),
        (MOST_GOT, 0),
        (10, WAIT_S),
    ]


async def test_what_an_answer_that_got_lost_was_told_is_told_again(clock: VirtualClock) -> None:
    connection = Connection([["c-1"], CollectorUnreachable("https://c", "gone"), []])
    questions = await asked(connection, clock, seconds=10)
    assert [got for got, _, _ in questions] == [[], ["c-1"], ["c-1"], []]


async def test_a_collector_without_an_answer_is_asked_less_and_less(clock: VirtualClock) -> None:
    connection = Connection([CollectorUnreachable("https://c", "gone")] * 10_000)
    assert 10 < len(await asked(connection, clock, seconds=3600)) < 60
    connection = Connection([CollectorUnreachable("https://c", "gone")] * 10_000)
    assert len(await asked(connection, clock, seconds=7 * 86_400)) < 7 * 86_400 / 100


async def test_a_pause_that_the_collector_asks_for_is_kept(clock: VirtualClock) -> None:
    connection = Connection([CollectorBusy("https://c", 100)] * 9)
    assert len(await asked(connection, clock, seconds=100)) == 1


async def test_a_gateway_that_is_told_to_go_asks_again_after_minutes(clock: VirtualClock) -> None:
    connection = Connection([CollectorRefused("https://c", 403, "revoked", "no")] * 99)
    assert 12 <= len(await asked(connection, clock, seconds=3600)) <= 25


async def test_what_is_not_accepted_and_comes_again_and_again_is_no_storm(clock: VirtualClock) -> None:
    connection = Connection([["forged"]] * 10_000)
    await asked(connection, clock, seconds=600)
    assert len(connection.taken) < 20


@pytest.mark.parametrize("seconds", [0, 3600])
async def test_before_the_time_is_known_nothing_is_asked_for(clock: VirtualClock, seconds: float) -> None:
    connection = Connection([["c-1"]])
    assert await asked(connection, clock, seconds=seconds, is_time_known=False) == []
