"""What a unit still owes is never taken for the answer to another question; in virtual time, on raw bytes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from drivers.contract import Exchange
from drivers.line import ReplyTimeout, UnusableReply
from drivers.modbus.driver import make_driver
from drivers.modbus.link import Question, reading
from drivers.modbus.owed import LATE_LIMIT_S
from drivers.modbus.plan import Request, other_reads
from drivers.modbus.rtu_link import RtuLink
from models.profile.modbus import Forbidden, ModbusSection
from models.times import Clock
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, registers_unit, sealed
from tests.support.virtual_loop import in_virtual_time

A = reading(bytes.fromhex("0300000002"), 4)
B = reading(bytes.fromhex("0300640002"), 4)  # elsewhere, and looks the same
C = reading(bytes.fromhex("0300000004"), 8)  # looks different
D = reading(bytes.fromhex("0400000001"), 2)
TIMEOUT_S = 0.1


class Bench:
    """One unit whose registers show their own addresses, and a link to it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.honest = registers_unit(lambda function, address: address)
        self.unit: Callable[[bytes], Iterable[Said]] = self.honest
        self.bus = RtuBus({1: lambda request: self.unit(request)}, baud=9600)
        self.link = RtuLink(MemoryLine(self.bus, clock=clock))

    async def ask(
        self, question: Question, *others: Question, trace: list[Exchange] | None = None, unit: int = 1
    ) -> str:
        """The data of the answer, the refusal, or how it failed."""
        try:
            answer = await self.link.request(unit, question, TIMEOUT_S, trace, others=others)
        except ReplyTimeout:
            return "silence"
        except UnusableReply:
            return "rubbish"
        return f"refused {answer.refusal}" if answer.refusal else answer.pdu[2:].hex()

    def asked(self) -> list[str]:
        asked = [request[1:-2].hex() for _, request in self.bus.asked]
        self.bus.asked.clear()
        return asked

    def once(self, said: Callable[[bytes], Iterable[Said]]) -> None:
        """Let the unit say this to the next request, and be honest afterwards."""

        def unit(request: bytes) -> Iterable[Said]:
            self.unit = self.honest
            return said(request)

        self.unit = unit

    def late(self, by_s: float) -> None:
        self.once(lambda request: [Said(said.data, by_s) for said in self.honest(request)])


def played(scenario: Callable[[Bench], Awaitable[Any]]) -> None:
    async def main(clock: Clock) -> None:
        await scenario(Bench(clock))

    in_virtual_time(main)


def test_a_late_reply_is_not_the_answer_to_a_question_that_looks_the_same() -> None:
    async def scenario(bench: Bench) -> None:
        bench.late(0.15)
        assert await bench.ask(A) == "silence"
        assert await bench.ask(B, C) == "00640065"
        assert bench.asked() == [question.pdu.hex() for question in (A, C, B)]

    played(scenario)


def test_an_answer_that_looks_different_settles_all_debts() -> None:
    async def scenario(bench: Bench) -> None:
        bench.late(0.15)
        assert await bench.ask(A) == "silence"
        assert await bench.ask(C) == "0000000100020003"  # asked at once: its answer cannot be A's
        assert await bench.ask(B, D) == "00640065"
        assert bench.asked() == [question.pdu.hex() for question in (A, C, B)]

    played(scenario)


def test_a_retry_asks_something_else_first() -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(lambda request: [])
        assert await bench.ask(A, C) == "silence"
        assert await bench.ask(A, C) == "00000001"
        assert bench.asked() == [question.pdu.hex() for question in (A, C, A)]

    played(scenario)


def test_where_nothing_else_can_be_asked_the_debt_is_waited_for_without_using_the_line() -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(lambda request: [])
        assert await bench.ask(A) == "silence"
        assert await bench.ask(B) == await bench.ask(A, B) == "silence"
        assert bench.asked() == [A.pdu.hex()]
        await bench.clock.sleep(LATE_LIMIT_S)
        assert await bench.ask(B) == "00640065"

    played(scenario)


def refuse(code: int) -> Callable[[bytes], Iterable[Said]]:
    return lambda request: [Said(sealed(bytes((1, request[1] | 0x80, code))))]


def test_a_refusal_of_another_function_by_the_unit_itself_settles_debts() -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(lambda request: [])
        assert await bench.ask(A) == "silence"
        bench.once(refuse(2))
        assert await bench.ask(B, D) == "00640065"
        assert bench.asked() == [question.pdu.hex() for question in (A, D, B)]

    played(scenario)


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_refusal_that_says_nothing_of_the_unit_settles_nothing(code: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(lambda request: [])
        assert await bench.ask(A) == "silence"
        bench.once(refuse(code))
        assert await bench.ask(B, D) == "rubbish"
        assert bench.asked() == [A.pdu.hex(), D.pdu.hex()]

    played(scenario)


def test_a_late_refusal_is_not_taken_for_one_of_the_next_question() -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(lambda request: [Said(said.data, 0.15) for said in refuse(2)(request)])
        assert await bench.ask(A) == "silence"
        assert await bench.ask(C) == "0000000100020003"
        bench.once(refuse(2))
        assert await bench.ask(C) == "refused 2"

    played(scenario)


def test_a_gateway_that_gave_up_may_still_deliver_the_reply() -> None:
    async def scenario(bench: Bench) -> None:
        bench.once(
            lambda request: [
                Said(sealed(bytes((1, request[1] | 0x80, 11)))),
                *(Said(said.data, 0.05) for said in bench.honest(request)),
            ]
        )
        assert await bench.ask(A) == "refused 11"
        assert await bench.ask(B, C) == "00640065"
        assert bench.asked() == [question.pdu.hex() for question in (A, C, B)]

    played(scenario)


def test_what_a_cancelled_question_was_asked_is_owed_as_well() -> None:
    async def scenario(bench: Bench) -> None:
        bench.late(0.08)
        asking = asyncio.create_task(bench.ask(A))
        await bench.clock.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await bench.ask(B, C) == "00640065"

    played(scenario)


def test_a_silent_unit_among_late_neighbours_is_silent_and_not_garbled() -> None:
    async def scenario(bench: Bench) -> None:
        bench.late(0.15)
        assert await bench.ask(A) == "silence"
        assert await bench.ask(A, unit=2) == "silence"  # while the reply of unit 1 comes in
        bench.unit = lambda request: [Said(sealed(b"\3" + request[1:2] + b"\4\0\0\0\0"))]
        assert await bench.ask(C) == "rubbish"  # somebody answers whom nobody asked

    played(scenario)


def test_a_write_on_a_line_that_echoes_waits_for_the_answer_behind_the_echo() -> None:
    async def scenario(bench: Bench) -> None:
        write = Question(bytes.fromhex("0600000007"), bytes.fromhex("0600000007"), 5)
        bench.bus.echoes = True
        assert await bench.ask(A) == "00000001"
        bench.unit = lambda request: []
        assert await bench.ask(write) == "silence"  # though its echo looks like the answer
        trace: list[Exchange] = []
        bench.unit = lambda request: [Said(request)] if request[1] == 6 else bench.honest(request)
        assert await bench.ask(write, C, trace=trace) == write.pdu[2:].hex()
        assert trace[-1].replies == (trace[-1].request, trace[-1].request)

    played(scenario)


def test_other_reads_hold_whole_points_and_touch_nothing_that_is_forbidden() -> None:
    points = [a_point("a", 0, "uint32"), a_point("b", 4, "float64"), a_point("c", 20, table="input")]
    section = ModbusSection(max_gap=2, forbidden=(Forbidden(table="coil", first=0, last=9),))
    whole, far = Request("holding", 0, 8, (0, 1)), Request("input", 20, 1, (2,))
    found = [question.pdu.hex() for question in other_reads(whole, [whole, far], points, section)]
    assert found == [
        "0300000008", "0400140001",  # what is planned
        "0300000002", "0300000008", "0300000002", "0300000008", "0400140001",  # beginnings
        "2b0e0100", "0200000001", "0300000001", "0400000001",  # answered in any case; no coil
    ]  # fmt: skip


def test_after_a_lost_reply_the_device_is_read_in_pieces_that_no_late_one_resembles() -> None:
    """The late reply comes out of order, between the answers to the pieces."""

    async def scenario(bench: Bench) -> None:
        points = [a_point(f"p_{n}", 2 * n, "uint32") for n in range(4)]
        driver = make_driver(
            device_id="d", profile=a_profile(*points, reply_timeout_s=TIMEOUT_S), unit=1, link=bench.link,
            parameters={}, clock=bench.clock,
        )  # fmt: skip
        served = [0]

        def counting(request: bytes) -> Iterable[Said]:
            served[0] += 1
            honest = registers_unit(lambda function, address: served[0] if address % 2 else 0)(request)
            late_s = TIMEOUT_S + 0.04 if served[0] == 1 else 0.0
            return [Said(said.data, late_s, in_turn=False) for said in honest]

        bench.unit = counting
        assert [reading.value for reading in await driver.read()] == [2.0, 3.0, 3.0, 3.0]
        assert bench.asked() == ["0300000008", "0300000002", "0300020006"]
        await bench.clock.sleep(1)
        assert [reading.value for reading in await driver.read()] == [4.0, 5.0, 5.0, 5.0]
        await bench.clock.sleep(LATE_LIMIT_S)
        assert [reading.value for reading in await driver.read()] == [6.0] * 4

    played(scenario)
