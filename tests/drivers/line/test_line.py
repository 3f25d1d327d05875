"""One question at a time on a shared wire, with its silences; on a pseudo-terminal, over TCP, in memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from drivers.contract import DeviceUnreachable, Exchange
from drivers.line import ConnectionBroke, Found, Line, ReplyTimeout, SerialLine, StreamLine, UnusableReply
from drivers.line.line import SILENT_REQUESTS, STORM_LIMIT_S
from drivers.line.pauses import LONGEST_PAUSE_S
from drivers.line.question import MOST_HEARD, SETTLED_S
from drivers.line.serial import silent_interval_s
from models.times import Clock
from simulators.line.pty import PtyPort
from simulators.line.tcp import TcpPort
from tests.support.clocks import VirtualClock
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import in_virtual_time

SOON_S, LATE_S = 0.05, 5.0  # a timeout that passes, and one that does not


def look(heard: bytes) -> Found:
    """Frames are <…>; the answer is <yes>."""
    strays: list[bytes] = []
    rest = heard
    while b">" in rest:
        piece, _, rest = rest.partition(b">")
        if piece.endswith(b"<yes"):
            before = piece[: -len(b"<yes")]
            return Found(b"<yes>", (*strays, *filter(None, (before,))), rest)
        strays.append(piece + b">")
    return Found(None, tuple(strays), rest)


@dataclass
class Far:
    """The far end of a line: what it does with each request is a function of it."""

    port: PtyPort | TcpPort

    def __post_init__(self) -> None:
        self.heard: list[bytes] = []
        self.answer: Callable[[bytes], bytes] = lambda request: b"<yes>"
        self.port.heard = self._heard

    def _heard(self, data: bytes) -> None:
        self.heard.append(data)
        self.port.send(self.answer(data))


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["serial", "stream"])
async def far(request: pytest.FixtureRequest) -> AsyncIterator[Far]:
    port = PtyPort() if request.param == "serial" else TcpPort()
    await port.open()
    yield Far(port)
    await port.close()
    await asyncio.sleep(0)


@pytest.fixture
async def line(far: Far, time: VirtualClock) -> AsyncIterator[Line]:
    line = line_to(far, time)
    yield line
    await line.shut()


def line_to(far: Far, time: VirtualClock) -> Line:
    if isinstance(far.port, PtyPort):
        return SerialLine(far.port.path, baud=115_200, parity="even", clock=time.clock)
    return StreamLine("127.0.0.1", far.port.port, clock=time.clock)


async def ask(line: Line, timeout_s: float = LATE_S, trace: list[Exchange] | None = None) -> bytes:
    return (await line.ask(b"<is it?>", look, timeout_s=timeout_s, who="unit 9", trace=trace)).frame


async def until(so: Callable[[], bool]) -> None:
    """Let the system bring what was sent."""
    while not so():  # noqa: ASYNC110  # it comes from outside of the loop
        await asyncio.sleep(0.001)


async def test_the_answer_is_found_among_what_comes(far: Far, line: Line) -> None:
    far.answer = lambda request: b"noise<no><yes><later"
    trace: list[Exchange] = []
    assert await ask(line, trace=trace) == b"<yes>"
    assert (trace[0].request, trace[0].replies, trace[0].problem) == (
        b"<is it?>", (b"noise<no>", b"<yes>"), ""
    )  # fmt: skip


async def test_silence_is_told_from_a_wrong_answer_and_an_echo_is_silence(far: Far, line: Line) -> None:
    far.answer = lambda request: b""
    with pytest.raises(ReplyTimeout, match=r"unit 9: no reply within 0\.05 s"):
        await ask(line, SOON_S)
    far.answer = lambda request: request
    with pytest.raises(ReplyTimeout):
        await ask(line, SOON_S)
    trace: list[Exchange] = []
    far.answer = lambda request: b"<no><ye"
    with pytest.raises(UnusableReply, match="no valid reply") as caught:
        await ask(line, SOON_S, trace)
    assert caught.value.heard == trace[0].replies == (b"<no>", b"<ye")
    far.answer = lambda request: b"<yes>"
    assert await ask(line) == b"<yes>"


async def test_an_answer_that_comes_too_late_is_dropped(far: Far, line: Line) -> None:
    far.answer = lambda request: b""
    with pytest.raises(ReplyTimeout):
        await ask(line, SOON_S)
    far.port.send(b"<no><yes>")
    await until(lambda: line.unasked_bytes == 9)
    far.answer = lambda request: b"<never>"
    with pytest.raises(UnusableReply) as caught:
        await ask(line, SOON_S)
    assert caught.value.heard == (b"<never>",)


async def test_questions_wait_for_each_other(far: Far, line: Line) -> None:
    waiting: list[bytes] = []

    def one_at_a_time(request: bytes) -> bytes:
        waiting.append(request)
        assert len(waiting) == 1
        asyncio.get_running_loop().call_soon(waiting.clear)
        return b"<yes>"

    far.answer = one_at_a_time
    assert await asyncio.gather(*(ask(line) for _ in range(8))) == [b"<yes>"] * 8


async def test_a_cancelled_question_leaves_the_line_usable(far: Far, line: Line) -> None:
    far.answer = lambda request: b""
    for rounds in range(15):
        asking = asyncio.create_task(ask(line))
        for _ in range(rounds):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    far.answer = lambda request: b"<yes>"
    assert await ask(line) == b"<yes>"


async def test_what_is_told_to_all_is_sent_and_no_answer_awaited(far: Far, line: Line) -> None:
    await line.tell(b"<listen>")
    await until(lambda: far.heard == [b"<listen>"])


async def test_a_flood_ends_the_question_and_not_the_loop_or_the_memory(far: Far, line: Line) -> None:
    far.answer = lambda request: b"\xff" * 2_000_000
    with pytest.raises(UnusableReply) as caught:
        await ask(line)
    assert sum(map(len, caught.value.heard)) < MOST_HEARD + 8192
    far.answer = lambda request: b""
    asking = asyncio.create_task(ask(line, SOON_S))
    with pytest.raises((UnusableReply, ReplyTimeout)):
        await asking


async def test_a_line_that_goes_away_and_comes_back_is_opened_again(far: Far, time: VirtualClock) -> None:
    line = line_to(far, time)
    assert await ask(line) == b"<yes>"
    path = far.port.path if isinstance(far.port, PtyPort) else ""
    await far.port.close()
    with pytest.raises((ConnectionBroke, DeviceUnreachable)):
        await ask(line, SOON_S)
    with pytest.raises(DeviceUnreachable) as caught:
        await ask(line, SOON_S)
    assert caught.value.endpoint == line.endpoint
    await far.port.open()
    if isinstance(far.port, PtyPort) and far.port.path != path:
        await line.shut()
        line = line_to(far, time)
    else:
        with pytest.raises(DeviceUnreachable):
            await ask(line, SOON_S)  # too early: not even tried
        await time.advance(LONGEST_PAUSE_S)
    assert await ask(line) == b"<yes>"
    await line.shut()


async def test_a_line_that_is_lost_while_an_answer_is_awaited_is_said_at_once(far: Far, line: Line) -> None:
    far.answer = lambda request: b""
    asking = asyncio.create_task(ask(line))
    await until(lambda: bool(far.heard))
    await far.port.close()
    with pytest.raises(ConnectionBroke, match="the next request connects again"):
        await asking


async def test_the_line_closes_with_its_last_user(far: Far, line: Line) -> None:
    left = asyncio.Event()
    far.port.left = left.set
    await line.attach(1)
    await line.attach(2)
    assert await ask(line) == b"<yes>"
    await line.detach(1)
    assert await ask(line) == b"<yes>"
    assert not left.is_set()
    await line.detach(2)
    await line.detach(2)
    await left.wait()


async def test_a_port_is_opened_by_one_alone(time: VirtualClock) -> None:
    port = PtyPort()
    await port.open()
    one, two = (SerialLine(port.path, clock=time.clock) for _ in range(2))
    await one.attach(1)
    with pytest.raises(DeviceUnreachable, match="another program, or another bus, has it open"):
        await two.attach(2)
    await one.shut()
    await port.close()


@pytest.mark.parametrize("path", ["/dev/ttyNOSUCH", "/dev/null", os.devnull + "/x"])
async def test_what_is_no_serial_port_is_unreachable(path: str, time: VirtualClock) -> None:
    line = SerialLine(path, clock=time.clock)
    with pytest.raises(DeviceUnreachable, match=path):
        await line.attach(1)


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "192.0.2.1.invalid"])
async def test_a_host_that_is_no_name_is_unreachable(host: str, time: VirtualClock) -> None:
    line = StreamLine(host, 4001, clock=time.clock)
    with pytest.raises(DeviceUnreachable):
        await line.attach(1)


async def test_a_silent_connection_is_made_anew_for_it_may_be_half_open(time: VirtualClock) -> None:
    port = TcpPort()
    await port.open()
    far = Far(port)
    far.answer = lambda request: b""
    line = line_to(far, time)
    left = asyncio.Event()
    port.left = left.set
    for _ in range(SILENT_REQUESTS):
        assert not left.is_set()
        with pytest.raises(ReplyTimeout):
            await ask(line, 0.02)
    await left.wait()
    far.answer = lambda request: b"<yes>"
    assert await ask(line) == b"<yes>"
    await line.shut()
    await port.close()


@pytest.mark.parametrize(
    ("baud", "silent_s"),
    [(1200, 0.03208), (9600, 0.00401), (19200, 0.002005), (38400, 0.00175), (115200, 0.00175)],
)
def test_the_silence_before_a_request_is_that_of_the_standard(baud: int, silent_s: float) -> None:
    assert silent_interval_s(baud) == pytest.approx(silent_s, rel=1e-3)


READ = sealed(bytes.fromhex("010300000001"))


def any_frame(heard: bytes) -> Found:
    return Found(heard, (), b"") if len(heard) >= 7 else Found(None, (), heard)


@pytest.mark.parametrize("baud", [1200, 9600, 115_200])
def test_before_each_request_the_line_is_silent_and_after_each_there_is_time_for_it(baud: int) -> None:
    """At 1200 baud the request alone takes longer than the timeout, which begins when it has left."""

    async def scenario(clock: Clock) -> list[float]:
        bus = RtuBus({1: lambda request: [Said(sealed(b"\1\3\2\0\1"))]}, baud=baud)
        line = MemoryLine(bus, clock=clock)
        for _ in range(3):
            await line.ask(READ, any_frame, timeout_s=0.07, who="unit 1")
        return [at_s for at_s, _ in bus.asked]

    asked_s = in_virtual_time(scenario)
    whole_s = (8 + 7) * 11 / baud + silent_interval_s(baud)
    for before_s, after_s in pairwise(asked_s):
        assert after_s - before_s == pytest.approx(whole_s)


def test_a_frame_that_is_still_growing_is_waited_for() -> None:
    async def scenario(clock: Clock) -> bytes:
        bus = RtuBus({1: lambda request: [Said(sealed(b"\1\3\2\0\1"), 0.099)]}, baud=300, chunk=1)
        line = MemoryLine(bus, clock=clock)
        return (await line.ask(READ, any_frame, timeout_s=0.2, who="unit 1")).frame

    assert in_virtual_time(scenario)[:5] == b"\1\3\2\0\1"


def test_a_likely_answer_counts_once_nothing_more_comes() -> None:
    def hesitant(heard: bytes) -> Found:
        return Found(None, (), heard, likely=heard[1:])

    async def scenario(clock: Clock) -> tuple[bytes, float]:
        bus = RtuBus({1: lambda request: [Said(b"\xff" + sealed(b"\1\3\2\0\1"))]})
        line = MemoryLine(bus, clock=clock)
        reply = await line.ask(READ, hesitant, timeout_s=9, who="unit 1")
        assert reply.received_ms == reply.sent_ms  # it came at once, though it was believed later
        return reply.frame, clock.monotonic_s()

    frame, took_s = in_virtual_time(scenario)
    assert frame == sealed(b"\1\3\2\0\1")
    assert took_s == pytest.approx(SETTLED_S + silent_interval_s(115_200))


def test_a_line_that_is_never_silent_is_asked_all_the_same() -> None:
    async def scenario(clock: Clock) -> float:
        bus = RtuBus({1: lambda request: [Said(sealed(b"\1\3\2\0\1"))]})
        line = MemoryLine(bus, clock=clock)
        await line.attach(1)

        async def storm() -> None:
            while True:
                bus.shout(b"\xff")
                await asyncio.sleep(0.001)

        storming = asyncio.create_task(storm())
        await asyncio.sleep(0.01)
        began_s = clock.monotonic_s()
        await line.ask(READ, any_frame, timeout_s=1, who="unit 1")
        storming.cancel()
        assert line.unasked_bytes > 100
        return clock.monotonic_s() - began_s

    assert in_virtual_time(scenario) < STORM_LIMIT_S + 0.01


def test_a_look_that_fails_is_seen_by_whoever_asks() -> None:
    def broken(heard: bytes) -> Found:
        raise ZeroDivisionError

    async def scenario(clock: Clock) -> None:
        line = MemoryLine(RtuBus({1: lambda request: [Said(b"x")]}), clock=clock)
        with pytest.raises(ZeroDivisionError):
            await line.ask(READ, broken, timeout_s=1, who="unit 1")

    in_virtual_time(scenario)
