"""Only the reply to the question that was asked is ever taken for an answer."""

import asyncio
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.contract import DeviceUnreachable
from drivers.line import ConnectionBroke, ReplyTimeout, UnusableReply
from drivers.line.line import SILENT_REQUESTS
from drivers.line.pauses import LONGEST_PAUSE_S
from drivers.modbus.link import reading as a_read
from drivers.modbus.tcp import ModbusTcpLink
from models.reading import Quality, Reason
from tests.drivers.modbus.conftest import Drivers
from tests.support.byte_server import Asked, ByteServer, HangUp, byte_server, framed
from tests.support.clocks import VirtualClock
from tests.support.profiles import a_point, a_profile

ONE_REGISTER = a_read(bytes.fromhex("0300000001"), 2)
TRUE, WRONG = b"\x12\x34", b"\xde\xad"
HASTY = a_profile(a_point("x", 0), reply_timeout_s=0.3, retries=0)
PATIENT = a_profile(a_point("x", 0), a_point("y", 100), reply_timeout_s=5, retries=0)


def reply(asked: Asked, data: bytes = WRONG, **changed: int) -> bytes:
    """A reply that carries a wrong value, and differs from an honest one in what is `changed`."""
    transaction = changed.get("transaction", asked.transaction)
    unit = changed.get("unit", asked.unit)
    function = changed.get("function", asked.function)
    return framed(transaction, unit, bytes([function, changed.get("byte_count", len(data))]) + data)


def protocol_1(asked: Asked) -> bytes:
    frame = bytearray(reply(asked))
    frame[3] = 1
    return bytes(frame)


def longer_header(asked: Asked) -> bytes:
    frame = bytearray(reply(asked))
    frame[5] += 40
    return bytes(frame)


FOREIGN: dict[str, Callable[[Asked], bytes]] = {
    "another transaction": lambda asked: reply(asked, transaction=asked.transaction + 1),
    "transaction 0": lambda asked: reply(asked, transaction=0),
    "another unit": lambda asked: reply(asked, unit=asked.unit + 1),
    "unit 0": lambda asked: reply(asked, unit=0),
    "another function": lambda asked: reply(asked, function=4),
    "a function to write": lambda asked: framed(asked.transaction, asked.unit, b"\x06\x00\x00\xde\xad"),
    "exception of another function": lambda asked: framed(asked.transaction, asked.unit, b"\x84\x02"),
    "more registers": lambda asked: reply(asked, WRONG * 2),
    "fewer registers": lambda asked: reply(asked, b""),
    "an odd number of bytes": lambda asked: reply(asked, WRONG + b"\0"),
    "a byte count that is too high": lambda asked: reply(asked, byte_count=4),
    "a byte count that is too low": lambda asked: reply(asked, byte_count=1),
    "the request itself": lambda asked: asked.frame,
    "another protocol": protocol_1,
    "a header that promises more": longer_header,
    "half a frame": lambda asked: reply(asked)[:7],
    "half a frame without its header": lambda asked: reply(asked)[5:],
    "a frame without a body": lambda asked: asked.frame[:4] + b"\0\1\1",
    "noise": lambda asked: b"\xff" * 20,
    "zeros": lambda asked: b"\0" * 20,
    "text": lambda asked: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a frame and the half of another": lambda asked: reply(asked) + reply(asked)[:5],
    "half a frame and then a whole one": lambda asked: reply(asked)[:9] + reply(asked),
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
async def test_what_is_no_answer_is_never_a_value(
    server: ByteServer, drivers: Drivers, foreign: Callable[[Asked], bytes]
) -> None:
    server.twist = lambda asked, honest: [foreign(asked)]
    [reading] = await drivers(HASTY).read()
    assert (reading.value, reading.quality, reading.reason) == (None, Quality.BAD, Reason.BAD_REPLY)


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
async def test_the_answer_that_a_retry_gets_is_the_right_one(
    server: ByteServer, drivers: Drivers, foreign: Callable[[Asked], bytes]
) -> None:
    server.set(3, 0, TRUE)
    server.twist = lambda asked, honest: [foreign(asked)] if len(server.asked) == 1 else [honest]
    driver = drivers(a_profile(a_point("x", 0), reply_timeout_s=0.3))
    for _ in range(2):
        [reading] = await driver.read()
        assert reading.value == float(0x1234)


@pytest.mark.parametrize(
    "name", ["another protocol", "noise", "zeros", "text", "a frame and the half of another"]
)
async def test_after_bytes_that_are_no_frames_the_connection_is_made_anew_at_once(
    server: ByteServer, drivers: Drivers, name: str
) -> None:
    server.set(3, 0, TRUE)
    server.twist = lambda asked, honest: [FOREIGN[name](asked)] if len(server.asked) == 1 else [honest]
    [reading] = await drivers(a_profile(a_point("x", 0), reply_timeout_s=60)).read()
    assert reading.value == float(0x1234)
    assert server.connections == 2


async def test_an_echo_that_is_formed_like_a_reply_is_none(server: ByteServer, link: ModbusTcpLink) -> None:
    """The plan never asks this, and if anybody did, it would still not be taken for an answer."""
    server.twist = lambda asked, honest: [asked.frame]
    with pytest.raises(UnusableReply):
        await link.request(1, a_read(bytes.fromhex("0103000014"), 3), 0.3)


WHOLE = [
    "another transaction", "transaction 0", "another unit", "another function", "more registers",
    "the request itself", "a function to write",
]  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_behind_a_foreign_frame_is_taken(
    server: ByteServer, drivers: Drivers, name: str
) -> None:
    server.set(3, 0, TRUE)
    server.twist = lambda asked, honest: [FOREIGN[name](asked), honest]
    reading, _ = await drivers(PATIENT).read()
    assert reading.value == float(0x1234)
    assert (len(server.asked), server.connections) == (2, 1)


async def test_an_answer_in_pieces_is_put_together(server: ByteServer, link: ModbusTcpLink) -> None:
    server.set(3, 0, TRUE)
    pieces: list[bytes] = []
    arrived = asyncio.Event()

    def withhold(asked: Asked, honest: bytes) -> Iterable[bytes]:
        pieces.extend(honest[index : index + 1] for index in range(len(honest)))
        arrived.set()
        return []

    server.twist = withhold
    waiting = asyncio.create_task(link.request(1, ONE_REGISTER, 5.0))
    await arrived.wait()
    for piece in pieces:
        server.send(piece)
        await asyncio.sleep(0.001)  # so that each piece is a segment of its own
    assert (await waiting).pdu[2:] == TRUE


async def test_a_reply_after_the_timeout_is_not_taken_for_the_next_one(
    server: ByteServer, drivers: Drivers
) -> None:
    """The device answers each question when the next one comes: always one too late."""
    held: list[bytes] = []

    def one_behind(asked: Asked, honest: bytes) -> list[bytes]:
        server.words[3, 0] += 1
        held.append(honest)
        return [held.pop(0)] if len(held) > 1 else []

    server.words[3, 0] = 1
    server.twist = one_behind
    driver = drivers(HASTY)
    for _ in range(4):
        [reading] = await driver.read()
        assert (reading.value, reading.reason) == (None, Reason.NO_REPLY)


async def test_a_late_reply_and_the_right_one_may_come_together(server: ByteServer, drivers: Drivers) -> None:
    held: list[bytes] = []

    def late_then_right(asked: Asked, honest: bytes) -> list[bytes]:
        held.append(honest)
        return [] if len(held) == 1 else [held[0] + honest]

    server.set(3, 0, WRONG)
    server.twist = late_then_right
    driver = drivers(a_profile(a_point("x", 0), reply_timeout_s=0.3, retries=0))
    assert [reading.reason for reading in await driver.read()] == [Reason.NO_REPLY]
    server.set(3, 0, TRUE)
    assert [reading.value for reading in await driver.read()] == [float(0x1234)]


async def test_an_answer_that_comes_twice_counts_once(server: ByteServer, drivers: Drivers) -> None:
    server.set(3, 0, TRUE)
    server.set(3, 100, "0042")
    server.twist = lambda asked, honest: [honest, honest]
    driver = drivers(PATIENT)
    for _ in range(3):
        assert [reading.value for reading in await driver.read()] == [float(0x1234), float(0x42)]


async def test_a_frame_that_never_ends_does_not_swallow_the_next_answer(
    server: ByteServer, drivers: Drivers
) -> None:
    """What a truncated reply lacks, the next reply would fill up."""
    server.set(3, 0, TRUE)
    server.twist = lambda asked, honest: [honest[:-1]] if len(server.asked) == 1 else [honest]
    driver = drivers(a_profile(a_point("x", 0), reply_timeout_s=0.3))
    [reading] = await driver.read()
    assert reading.value == float(0x1234)
    assert server.connections == 2


async def test_a_cancelled_read_leaves_nothing_for_the_next_one(server: ByteServer, drivers: Drivers) -> None:
    held: list[bytes] = []
    arrived = asyncio.Event()

    def hold_the_first(asked: Asked, honest: bytes) -> list[bytes]:
        held.append(honest)
        arrived.set()
        return [held[0], honest] if len(held) > 1 else []

    server.set(3, 0, WRONG)
    server.twist = hold_the_first
    driver = drivers(a_profile(a_point("x", 0), reply_timeout_s=30))
    reading = asyncio.create_task(driver.read())
    await arrived.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    server.set(3, 0, TRUE)
    assert [r.value for r in await driver.read()] == [float(0x1234)]


async def test_drivers_that_share_a_link_take_turns(server: ByteServer, drivers: Drivers) -> None:
    waiting: list[int] = []

    def one_at_a_time(asked: Asked, honest: bytes) -> list[bytes]:
        waiting.append(asked.unit)
        assert len(waiting) == 1, "a second question came before the first was answered"
        asyncio.get_running_loop().call_soon(answer, honest)
        return []

    def answer(honest: bytes) -> None:
        waiting.clear()
        server.send(honest)

    server.twist = one_at_a_time
    server.set(3, 0, TRUE)
    some = [drivers(a_profile(a_point("x", 0), reply_timeout_s=5), unit=unit) for unit in range(1, 9)]
    for readings in await asyncio.gather(*(driver.read() for driver in some)):
        assert [reading.value for reading in readings] == [float(0x1234)]
    assert sorted(asked.unit for asked in server.asked) == list(range(1, 9))
    assert server.connections == 1


async def test_a_silent_connection_is_made_anew_for_it_may_be_half_open(
    server: ByteServer, link: ModbusTcpLink
) -> None:
    server.units = set()
    for _ in range(SILENT_REQUESTS):
        with pytest.raises(ReplyTimeout):
            await link.request(1, ONE_REGISTER, 0.03)
    assert server.connections == 1
    server.units = None
    await link.request(1, ONE_REGISTER, 5.0)
    assert server.connections == 2


def hang_up(asked: Asked, honest: bytes) -> list[bytes]:
    raise HangUp


async def test_the_errors_say_what_may_be_done(server: ByteServer, link: ModbusTcpLink) -> None:
    server.twist = lambda asked, honest: []
    with pytest.raises(ReplyTimeout, match=r"unit 9: no reply within 0\.03 s") as silent:
        await link.request(9, ONE_REGISTER, 0.03)
    assert (silent.value.who, silent.value.waited_s) == ("unit 9", 0.03)
    server.twist = lambda asked, honest: [b"\xff" * 12]
    with pytest.raises(UnusableReply, match="unit 9"):
        await link.request(9, ONE_REGISTER, 5.0)
    server.twist = None
    await link.request(9, ONE_REGISTER, 5.0)
    server.twist = hang_up
    with pytest.raises(ConnectionBroke, match="the next request connects again"):
        await link.request(9, ONE_REGISTER, 5.0)


async def test_a_link_that_cannot_connect_waits_longer_and_longer_between_attempts(
    time: VirtualClock,
) -> None:
    async with byte_server() as server:
        port = server.port
    link = ModbusTcpLink("127.0.0.1", port, clock=time.clock)
    with pytest.raises(DeviceUnreachable, match="Connection refused"):
        await link.attach(link)
    async with byte_server(port) as server:
        with pytest.raises(DeviceUnreachable, match="Connection refused"):
            await link.attach(link)  # too early: not even tried
        assert server.connections == 0
        await time.advance(LONGEST_PAUSE_S)
        await link.attach(link)
        await link.shut()


async def test_a_host_that_is_no_name_is_unreachable(time: VirtualClock) -> None:
    link = ModbusTcpLink("a" * 70 + ".invalid", 502, clock=time.clock)
    with pytest.raises(DeviceUnreachable):
        await link.attach(link)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=40),
            st.sampled_from(sorted(FOREIGN)),
            st.just("honest"),
        ),
        max_size=4,
    ),
    cuts=st.lists(st.integers(1, 30), max_size=4),
)
def test_whatever_comes_no_wrong_value_is_read(noise: list[bytes | str], cuts: list[int]) -> None:
    """Any mixture of noise, foreign frames and the answer, in any pieces: the right value or none."""

    async def scenario() -> None:
        async with byte_server() as server:
            server.set(3, 0, TRUE)

            def twist(asked: Asked, honest: bytes) -> list[bytes]:
                parts = [
                    part if isinstance(part, bytes) else honest if part == "honest" else FOREIGN[part](asked)
                    for part in noise
                ]
                whole, at = b"".join(parts), 0
                pieces = []
                for cut in cuts:
                    pieces.append(whole[at : at + cut])
                    at += cut
                return [*pieces, whole[at:]]

            server.twist = twist
            clock = VirtualClock().clock
            link = ModbusTcpLink("127.0.0.1", server.port, clock=clock)
            driver = Drivers(link, VirtualClock())(
                a_profile(a_point("x", 0), reply_timeout_s=0.02, retries=0)
            )
            [reading] = await driver.read()
            assert reading.value in (None, float(0x1234))
            assert (reading.value is None) == (reading.quality is Quality.BAD)
            server.twist = None
            await driver.read()
            assert [r.value for r in await driver.read()] == [float(0x1234)]
            await link.shut()

    asyncio.run(scenario())
