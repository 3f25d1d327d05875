"""A network that is cut, stalled and slow, between real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from simulators.lab.network import Network, network
from tests.support.clocks import VirtualClock, settle
from tests.support.wire import PATIENCE_S, wire

Shout = Callable[[], Awaitable[None]]


@asynccontextmanager
async def an_echo() -> AsyncIterator[int]:
    """A server that sends back in capitals what it gets, until the other side ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while text := await reader.read(1000):
                writer.write(text.upper())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def a_network(clock: VirtualClock | None = None) -> AsyncIterator[Network]:
    async with an_echo() as port:
        if clock is None:
            async with network("127.0.0.1", port) as made:
                yield made
        else:
            async with network("127.0.0.1", port, sleep=clock.sleep) as made:
                yield made


async def test_it_carries_both_ways() -> None:
    async with a_network() as net, wire(net.port) as line:
        line.send(b"hello")
        assert await line.take(5) == b"HELLO"
        line.writer.write_eof()
        assert await line.rest() == b""
        assert (net.connections_taken, net.bytes_carried) == (1, 10)


async def test_a_cut_breaks_connections_and_refuses_new_ones_until_it_is_restored() -> None:
    async with a_network() as net:
        port = net.port
        async with wire(port) as line:
            line.send(b"hello")
            await line.take(5)
            await net.cut()
            with pytest.raises(ConnectionResetError):
                await line.rest()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await net.restore()
        assert net.port == port
        async with wire(port) as line:
            line.send(b"again")
            assert await line.take(5) == b"AGAIN"


async def test_a_stall_holds_everything_back_and_loses_nothing() -> None:
    async with a_network() as net, wire(net.port) as line:
        line.send(b"one")
        assert await line.take(3) == b"ONE"
        net.stall()
        line.send(b"two")
        async with wire(net.port) as second:
            second.send(b"three")
            await settle()
            assert net.bytes_carried == 6
            await net.restore()
            assert await line.take(3) == b"TWO"
            assert await second.take(5) == b"THREE"


async def test_lost_connections_are_lost_once() -> None:
    async with a_network() as net:
        async with wire(net.port) as line:
            line.send(b"hello")
            await line.take(5)
            await net.drop_connections()
            with pytest.raises(ConnectionResetError):
                await line.rest()
        async with wire(net.port) as line:
            line.send(b"hello")
            assert await line.take(5) == b"HELLO"


async def test_a_slow_line_delays_each_way(virtual_clock: VirtualClock) -> None:
    async with a_network(virtual_clock) as net, wire(net.port) as line:
        net.line.delay_s = 0.25
        line.send(b"hello")
        await settle()
        assert net.bytes_carried == 0
        await virtual_clock.advance(0.25)
        await settle()
        assert net.bytes_carried == 5
        await virtual_clock.advance(0.25)
        assert await line.take(5) == b"HELLO"


async def test_a_target_that_is_not_there_breaks_the_connection() -> None:
    async with an_echo() as port:
        pass
    async with network("127.0.0.1", port) as net, wire(net.port) as line:
        with pytest.raises(ConnectionResetError):
            await line.rest()


async def test_who_is_refused_comes_in_again_and_the_others_stay() -> None:
    async with a_network() as net, wire(net.port) as line:
        line.send(b"hello")
        await line.take(5)
        net.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", net.port)
        line.send(b"still")
        assert await line.take(5) == b"STILL"
        await net.accept()
        async with wire(net.port) as second:
            second.send(b"again")
            assert await second.take(5) == b"AGAIN"


@pytest.mark.parametrize(("dead", "carried"), [("deaf", 2), ("mute", 5)])
async def test_a_direction_that_is_dead_loses_what_was_sent_meanwhile(dead: str, carried: int) -> None:
    async with a_network() as net, wire(net.port) as line:
        setattr(net.line, dead, True)
        line.send(b"one")
        await _settled_wire()
        setattr(net.line, dead, False)
        line.send(b"ab")
        assert await line.take(2) == b"AB"
        assert net.bytes_carried == carried + 2


async def test_a_lost_packet_comes_after_the_pause_of_tcp_and_nothing_overtakes_it(
    virtual_clock: VirtualClock,
) -> None:
    async with a_network(virtual_clock) as net, wire(net.port) as line:
        net.line.loss = 1.0
        line.send(b"one")
        await virtual_clock.someone_sleeps()
        net.line.loss = 0.0
        line.send(b"two")
        await _settled_wire()
        assert net.bytes_carried == 0
        await virtual_clock.advance(10)
        assert await line.take(6) == b"ONETWO"


async def test_a_line_drips_byte_by_byte(virtual_clock: VirtualClock) -> None:
    async with a_network(virtual_clock) as net, wire(net.port) as line:
        net.line.drip_s = 1.0
        line.send(b"abc")
        for count in range(1, 4):
            await virtual_clock.someone_sleeps()
            assert net.bytes_carried == count
            if count < 3:
                net.line.mute = True  # the answers of the echo do not count
                await virtual_clock.advance(1)


async def test_a_slow_line_takes_as_long_as_its_bytes(virtual_clock: VirtualClock) -> None:
    async with a_network(virtual_clock) as net, wire(net.port) as line:
        net.line.bytes_per_s, net.line.mute = 1000, True
        line.send(bytes(2800))
        assert await virtual_clock.someone_sleeps() == pytest.approx(1.4)
        assert net.bytes_carried == 1400
        await virtual_clock.advance(1.4)
        assert await virtual_clock.someone_sleeps() == pytest.approx(1.4)
        assert net.bytes_carried == 2800


async def test_a_connection_breaks_in_the_middle_of_its_answer() -> None:
    async with a_network() as net, wire(net.port) as line:
        net.line.reset = 1.0
        line.send(b"a long question")
        with pytest.raises(ConnectionResetError):
            await line.rest()
        assert net.bytes_carried == 15  # the question has arrived


async def _settled_wire() -> None:
    """Let what is in the machine's own buffers arrive."""
    for _ in range(50):
        await settle()
