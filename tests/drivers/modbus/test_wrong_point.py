"""No reading under a wrong point, whatever comes when: over RTU, RTU over TCP, and Modbus TCP.

Every register shows who it is and how often its unit was asked, so that any value that is stale, foreign or
misplaced is seen. All is seeded; where no socket is needed it runs in virtual time.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from drivers.line import StreamLine
from drivers.modbus.driver import ModbusDriver, make_driver
from drivers.modbus.link import Link
from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.tcp import ModbusTcpLink
from models.reading import Quality, Reading
from models.times import Clock
from tests.support.clocks import START_MS
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import VirtualLoop, in_virtual_time

UNITS = (1, 2, 3)
POINTS = (
    # Two blocks of the same shape, one of another, and one that is a single value.
    *(a_point(f"a_{n}", 2 * n, "uint32") for n in range(4)),
    *(a_point(f"b_{n}", 100 + 2 * n, "uint32") for n in range(4)),
    *(a_point(f"c_{n}", 200 + 2 * n, "uint32", table="input") for n in range(6)),
    a_point("d", 300, "uint32"),
)
COMMON = ("lost", "late", "late", "late", "foreign", "echo", "truncated", "busy", "late_busy", "noise")
RTU_FAULTS = (*COMMON, "bad_crc", "noise_before", "noise_after")
TCP_FAULTS = (*COMMON, "shifted", "shifted_back")


class Asked(NamedTuple):
    """A request in any framing, and how a reply to it is framed."""

    unit: int
    pdu: bytes
    frame: bytes
    framed: Callable[[int, bytes], bytes]  # unit and PDU to the bytes of a reply
    shifted: Callable[[int, bytes], bytes]  # the same, with so much added to its number


def register(function: int, address: int, unit: int, serial: int) -> bytes:
    """One register: of each two, the first tells who it is and the second which request it answers."""
    if address % 2:
        return (serial & 0xFFFF).to_bytes(2, "big")
    return (unit << 12 | function << 9 | address).to_bytes(2, "big")


@dataclass
class Liar:
    """A unit that answers truly, or as it should not."""

    unit: int
    roll: random.Random
    faults: tuple[str, ...]
    timeout_s: float
    now_s: Callable[[], float]
    share: float = 0.3
    serial: int = 0
    served_s: dict[int, float] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> list[Said]:
        self.serial += 1
        self.served_s[self.serial & 0xFFFF] = self.now_s()
        function, roll = asked.pdu[0], self.roll
        first, count = int.from_bytes(asked.pdu[1:3], "big"), int.from_bytes(asked.pdu[3:5], "big")
        words = b"".join(register(function, first + n, self.unit, self.serial) for n in range(count))
        pdu = bytes((function, len(words))) + words
        honest = asked.framed(self.unit, pdu)
        if roll.random() >= self.share:
            return [Said(honest)]
        noise = roll.randbytes(roll.randint(1, 12))
        match roll.choice(self.faults):
            case "lost":
                return []
            case "late":
                return [Said(honest, self.timeout_s * roll.uniform(0.9, 6))]
            case "foreign":
                # At once: a unit that answers late and with another's address cannot be told from that one.
                return [Said(asked.framed(self.unit % 3 + 1, pdu), in_turn=False)]
            case "echo":
                return [Said(asked.frame)]
            case "truncated":
                return [Said(honest[: roll.randint(1, len(honest) - 1)])]
            case "bad_crc":
                wrong = bytearray(honest)
                wrong[roll.randrange(len(wrong))] ^= 1 << roll.randrange(8)
                return [Said(bytes(wrong))]
            case "shifted":
                return [Said(asked.shifted(1, pdu))]
            case "shifted_back":
                return [Said(asked.shifted(-1, pdu))]
            case "noise_before":
                return [Said(noise + honest)]
            case "noise_after":
                return [Said(honest + noise)]
            case "busy":
                return [Said(asked.framed(self.unit, bytes((function | 0x80, 6))))]
            case "late_busy":
                return [Said(asked.framed(self.unit, bytes((function | 0x80, 6))), self.timeout_s * 1.5)]
            case _:
                # At once as well: nothing guards a stream against bytes that fill up a truncated frame.
                return [Said(noise, in_turn=False)]


class Trial:
    """Three lying units, their drivers on one link, and the truth."""

    def __init__(
        self, seed: int, faults: tuple[str, ...], clock: Clock, now_s: Callable[[], float], timeout_s: float
    ) -> None:
        self.roll, self.clock = random.Random(seed), clock
        self.liars = {unit: Liar(unit, self.roll, faults, timeout_s, now_s) for unit in UNITS}
        self.profile = a_profile(*POINTS, reply_timeout_s=timeout_s)
        self.good = self.bad = 0

    @property
    def transactions(self) -> int:
        return sum(liar.serial for liar in self.liars.values())

    async def play(self, link: Link, transactions: int) -> None:
        """Read until so many requests were served, and then until all is well again."""
        drivers = [
            make_driver(
                device_id=f"d-{unit}",
                profile=self.profile,
                unit=unit,
                link=link,
                parameters={},
                clock=self.clock,
            )
            for unit in UNITS
        ]
        while self.transactions < transactions:
            for driver in drivers:
                await self.read(driver)
            await self.clock.sleep(self.roll.choice((0.0, 0.0, 2.0 * self.liars[1].timeout_s)))
        for liar in self.liars.values():
            liar.share = 0.0
        for _ in range(3):
            healed = [await self.read(driver) for driver in drivers]
        for driver in drivers:
            await driver.close()
        assert healed == [len(POINTS)] * len(UNITS), "it did not recover by itself"
        assert self.good > self.bad > 0

    async def read(self, driver: ModbusDriver) -> int:
        """How many points have a value; all of them are the truth."""
        liar = self.liars[int(driver.device_id[-1])]
        began_ms = self.clock.now_ms()
        readings = await driver.read()
        good = sum(self.is_true(reading, liar, began_ms) for reading in readings)
        self.good, self.bad = self.good + good, self.bad + len(readings) - good
        return good

    def is_true(self, reading: Reading, liar: Liar, began_ms: int) -> bool:
        """False without a value. Fails unless the request that carried it is the one it was answered to."""
        if reading.quality is Quality.BAD:
            assert reading.value is None
            return False
        [point] = [point for point in POINTS if point.name == reading.point]
        function = 4 if point.table == "input" else 3
        assert reading.value is not None
        who, serial = divmod(int(reading.value), 0x10000)
        assert who == int.from_bytes(register(function, point.address, liar.unit, 0), "big"), reading
        sent_ms = 2 * reading.measured_ms - reading.received_ms  # measured is the middle, rounded down
        served_ms = START_MS + liar.served_s[serial] * 1000
        assert began_ms - 1 <= sent_ms
        assert sent_ms - 2 <= served_ms <= reading.received_ms + 1, reading
        return True


def rtu_asked(request: bytes) -> Asked:
    return Asked(
        request[0],
        request[1:-2],
        request,
        lambda unit, pdu: sealed(bytes((unit,)) + pdu),
        lambda by, pdu: b"",
    )


def tcp_asked(request: bytes) -> Asked:
    def framed(unit: int, pdu: bytes, number: int = int.from_bytes(request[:2], "big")) -> bytes:
        return (number & 0xFFFF).to_bytes(2, "big") + (len(pdu) + 1).to_bytes(4, "big") + bytes((unit,)) + pdu

    number = int.from_bytes(request[:2], "big")
    unit = request[6]
    return Asked(unit, request[7:], request, framed, lambda by, pdu: framed(unit, pdu, number + by))


def unit_of(liar: Liar) -> Callable[[bytes], list[Said]]:
    return lambda request: liar(rtu_asked(request))


@pytest.mark.parametrize("echoes", [False, True], ids=["plain line", "line that echoes"])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_value_is_the_answer_to_its_own_question_on_a_serial_line(seed: int, echoes: bool) -> None:
    async def scenario(clock: Clock) -> None:
        trial = Trial(seed, RTU_FAULTS, clock, clock.monotonic_s, 0.1)
        units = {unit: unit_of(liar) for unit, liar in trial.liars.items()}
        bus = RtuBus(units, baud=19200, turnaround_s=0.002, echoes=echoes)
        await trial.play(RtuLink(MemoryLine(bus, clock=clock)), 5_000)

    in_virtual_time(scenario)


class TcpUnits(asyncio.Protocol):
    """The far end of a connection: the units answer in order, each for itself."""

    def __init__(self, liars: dict[int, Liar]) -> None:
        self._liars, self._stream = liars, b""
        self._free_s: dict[int, float] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def asked(self) -> Asked | None:
        """The next whole request, taken off the stream."""
        if len(self._stream) < 12:
            return None
        request, self._stream = self._stream[:12], self._stream[12:]
        return tcp_asked(request)

    def data_received(self, data: bytes) -> None:
        self._stream += data
        loop = asyncio.get_running_loop()
        while (asked := self.asked()) is not None:
            for said in self._liars[asked.unit](asked):
                at_s = loop.time() + said.after_s
                if said.in_turn:
                    at_s = self._free_s[asked.unit] = max(at_s, self._free_s.get(asked.unit, 0.0))
                if at_s <= loop.time():
                    self._transport.write(said.data)
                else:
                    loop.call_at(at_s, self._transport.write, said.data)


class RtuOverTcpUnits(TcpUnits):
    """The same behind a serial server: RTU frames in a stream."""

    def asked(self) -> Asked | None:
        if len(self._stream) < 8:
            return None
        request, self._stream = self._stream[:8], self._stream[8:]
        return rtu_asked(request)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_value_is_the_answer_to_its_own_question_over_modbus_tcp(seed: int) -> None:
    async def scenario(clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        trial = Trial(seed, TCP_FAULTS, clock, clock.monotonic_s, 0.1)
        loop.serve(502, lambda: TcpUnits(trial.liars))
        await trial.play(ModbusTcpLink("meters", 502, clock=clock), 10_000)

    in_virtual_time(scenario)


async def test_every_value_is_the_answer_to_its_own_question_through_a_serial_server() -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    def now_s() -> float:
        return loop.time() - began_s

    clock = Clock(now_ms=lambda: START_MS + round(now_s() * 1000), monotonic_s=loop.time, sleep=asyncio.sleep)
    trial = Trial(3, RTU_FAULTS, clock, now_s, 0.02)
    server = await loop.create_server(lambda: RtuOverTcpUnits(trial.liars), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await trial.play(RtuLink(StreamLine("127.0.0.1", port, clock=clock)), 150)
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)
