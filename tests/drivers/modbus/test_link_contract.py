"""What `Link` promises, for every implementation of it; on raw bytes in memory, in virtual time."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drivers.contract import Exchange
from drivers.line import ReplyTimeout, UnusableReply
from drivers.modbus.link import Answer, Link, Question, reading
from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.tcp import ModbusTcpLink
from models.times import Clock
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import VirtualLoop, in_virtual_time

TIMEOUT_S = 0.2
READ = reading(bytes.fromhex("0300100002"), 4)
COILS = reading(bytes.fromhex("0100050003"), 1)
WRITE = Question(bytes.fromhex("06001000ff"), bytes.fromhex("06001000ff"), 5)
WRITE_MANY = Question(bytes.fromhex("100010000204000a000b"), bytes.fromhex("1000100002"), 5)
IDENTIFY = Question(bytes.fromhex("2b0e0100"), bytes.fromhex("2b0e01"), 0)


class Rig:
    """A link to units that answer a PDU with PDUs, each so much later."""

    link: Link

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[int, bytes]] = []
        self.says: Callable[[int, bytes], list[tuple[bytes, float]]] = self.honest

    def honest(self, unit: int, pdu: bytes) -> list[tuple[bytes, float]]:
        if unit > 3:
            return []
        first, count = struct.unpack(">HH", pdu[1:5].ljust(4, b"\0"))
        match pdu[0]:
            case 1:
                reply = b"\1\1\5"
            case 3:
                reply = bytes((3, 2 * count)) + struct.pack(f">{count}H", *range(first, first + count))
            case 0x2B:
                reply = bytes.fromhex("2b0e018100000100024f4b")
            case _:
                reply = pdu[:5]
        return [(reply, 0.0)]

    def hear(self, unit: int, pdu: bytes) -> list[tuple[bytes, float]]:
        self.asked.append((unit, pdu))
        return self.says(unit, pdu)

    async def ask(self, question: Question, unit: int = 1, trace: list[Exchange] | None = None) -> Answer:
        return await self.link.request(unit, question, TIMEOUT_S, trace)


class RtuRig(Rig):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        units = dict.fromkeys(range(1, 10), self.serve)
        self.link = RtuLink(MemoryLine(RtuBus(units), clock=clock))

    def serve(self, request: bytes) -> list[Said]:
        said = self.hear(request[0], request[1:-2])
        return [Said(sealed(request[:1] + pdu), after_s) for pdu, after_s in said]


class TcpRig(Rig):
    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.serve(502, lambda: _TcpEnd(self))
        self.link = ModbusTcpLink("meters", 502, clock=clock)


class _TcpEnd(asyncio.Protocol):
    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for pdu, after_s in self._rig.hear(data[6], data[7:]):
            whole = data[:2] + (len(pdu) + 1).to_bytes(4, "big") + data[6:7] + pdu
            asyncio.get_running_loop().call_later(after_s, self._transport.write, whole)


RIGS: dict[str, Callable[[Clock], Rig]] = {"rtu": RtuRig, "tcp": TcpRig}


@pytest.fixture(params=list(RIGS.values()), ids=list(RIGS))
def playing(request: pytest.FixtureRequest) -> Callable[[Callable[[Rig], Awaitable[Any]]], Any]:
    def play(scenario: Callable[[Rig], Awaitable[Any]]) -> Any:
        async def main(clock: Clock) -> Any:
            rig: Rig = request.param(clock)
            await rig.link.attach(rig)
            result = await scenario(rig)
            await rig.link.detach(rig)
            await rig.link.detach(rig)
            return result

        return in_virtual_time(main)

    return play


Playing = Callable[[Callable[[Rig], Awaitable[Any]]], Any]


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        pytest.param(READ, "03 04 0010 0011", id="registers"),
        pytest.param(COILS, "01 01 05", id="coils"),
        pytest.param(WRITE, "06 0010 00ff", id="one register set"),
        pytest.param(WRITE_MANY, "10 0010 0002", id="several registers set"),
        pytest.param(IDENTIFY, "2b 0e 01 81 00 00 01 00 02 4f4b", id="identification"),
    ],
)
def test_an_answer_begins_with_its_function(playing: Playing, question: Question, reply: str) -> None:
    async def scenario(rig: Rig) -> None:
        answer = await rig.ask(question)
        assert (answer.pdu, answer.refusal) == (bytes.fromhex(reply), 0)
        assert answer.sent_ms <= answer.received_ms
        assert rig.asked == [(1, question.pdu)]

    playing(scenario)


@pytest.mark.parametrize("question", [READ, WRITE, WRITE_MANY, IDENTIFY])
def test_a_refusal_is_an_answer(playing: Playing, question: Question) -> None:
    async def scenario(rig: Rig) -> None:
        rig.says = lambda unit, pdu: [(bytes((pdu[0] | 0x80, 4)), 0.0)]
        answer = await rig.ask(question)
        assert (answer.pdu, answer.refusal) == (bytes((question.function | 0x80, 4)), 4)

    playing(scenario)


@pytest.mark.parametrize(
    "pdu", ["03 02 0010", "04 04 0010 0011", "03 06 0010 0011 0012", "06 0010 00ff", "84 02"]
)
def test_another_reply_is_none(playing: Playing, pdu: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.says = lambda unit, asked: [(bytes.fromhex(pdu), 0.0)]
        with pytest.raises(UnusableReply, match="unit 1: no valid reply"):
            await rig.ask(READ)
        rig.says = rig.honest
        assert (await rig.link.request(1, READ, TIMEOUT_S, others=[COILS])).pdu[2:] == b"\0\x10\0\x11"

    playing(scenario)


def test_silence_lasts_as_long_as_was_said_and_concerns_one_unit(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        began_s = rig.clock.monotonic_s()
        trace: list[Exchange] = []
        with pytest.raises(ReplyTimeout, match=r"unit 9: no reply within 0\.2 s"):
            await rig.ask(READ, unit=9, trace=trace)
        assert rig.clock.monotonic_s() - began_s == pytest.approx(TIMEOUT_S, abs=0.01)
        assert [(exchange.replies, "no reply" in exchange.problem) for exchange in trace] == [((), True)]
        assert (await rig.ask(READ, unit=2)).refusal == 0

    playing(scenario)


def test_a_late_reply_is_never_the_answer_to_the_next_question(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        other = reading(bytes.fromhex("0300640002"), 4)
        rig.says = lambda unit, pdu: [(reply, 1.5 * TIMEOUT_S) for reply, _ in rig.honest(unit, pdu)]
        with pytest.raises(ReplyTimeout):
            await rig.ask(READ)
        certain = rig.link.is_certain(1, other)
        assert rig.link.is_certain(2, other)
        rig.says = rig.honest
        answer = await rig.link.request(1, other, TIMEOUT_S, others=[COILS])
        assert answer.pdu[2:] == struct.pack(">HH", 0x64, 0x65)
        assert certain is isinstance(rig, TcpRig)

    playing(scenario)


def test_what_went_over_the_wire_is_shown(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        trace: list[Exchange] = []
        await rig.ask(READ, trace=trace)
        [exchange] = trace
        assert READ.pdu in exchange.request
        assert bytes.fromhex("0304 0010 0011") in exchange.replies[-1]
        assert exchange.problem == ""

    playing(scenario)


def test_questions_of_several_units_take_turns(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        rig.says = lambda unit, pdu: [(reply, 0.05) for reply, _ in rig.honest(unit, pdu)]
        answers = await asyncio.gather(*(rig.ask(READ, unit=unit) for unit in (1, 2, 3)))
        assert [answer.pdu[2:] for answer in answers] == [b"\0\x10\0\x11"] * 3
        assert [unit for unit, _ in rig.asked] == [1, 2, 3]

    playing(scenario)


def test_after_the_last_user_has_gone_a_question_connects_again(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.ask(READ)
        await rig.link.detach(rig)
        assert (await rig.ask(READ)).refusal == 0

    playing(scenario)


def test_a_cancelled_question_leaves_the_link_usable(playing: Playing) -> None:
    async def scenario(rig: Rig) -> None:
        rig.says = lambda unit, pdu: []
        for wait_s in (0.0, 0.001, 0.1):
            asking = asyncio.create_task(rig.ask(READ))
            await rig.clock.sleep(wait_s)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        rig.says = rig.honest
        answer = await rig.link.request(1, READ, TIMEOUT_S, others=[COILS])
        assert answer.pdu[2:] == b"\0\x10\0\x11"

    playing(scenario)
