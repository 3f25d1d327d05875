"""Requests and replies as bytes on a real socket."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from models.profile import load_profile
from models.profile.modbus import ModbusProfile, Writable
from simulators.modbus.meter import ModbusMeter
from simulators.modbus.server import CannotListen
from tests.simulators.conftest import Serving
from tests.support.clocks import START_MS, settle
from tests.support.wire import read_frame, wire

Making = Callable[..., ModbusMeter]


async def test_input_registers_come_with_header_and_byte_count(a_meter: Making, serving: Serving) -> None:
    meter = a_meter()
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        reply = await line.ask("1a2b 0000 0006 01 04 0000 0002")
    assert reply[:9] == bytes.fromhex("1a2b 0000 0007 01 04 04")
    volts = int.from_bytes(reply[9:], "big")  # IEEE 754: sign, exponent, fraction
    value = (1 + (volts & 0x7FFFFF) / 2**23) * 2.0 ** ((volts >> 23) - 127)
    assert round(value, 2) == meter.display(START_MS)["voltage_l1_v"]


async def test_bits_and_holding_registers_are_tables_of_their_own(a_meter: Making, serving: Serving) -> None:
    async with serving(a_meter()) as endpoint, wire(endpoint.port) as line:
        assert await line.ask("0001 0000 0006 01 01 0005 0001") == bytes.fromhex("0001 0000 0004 01 01 01 00")
        assert await line.ask("0002 0000 0006 01 02 0009 0001") == bytes.fromhex("0002 0000 0004 01 02 01 00")
        assert await line.ask("0003 0000 0006 01 03 0012 0001") == bytes.fromhex(
            "0003 0000 0005 01 03 02 0001"  # the transformer ratio, 1
        )


@pytest.mark.parametrize(
    ("request_pdu", "reply_pdu"),
    [
        pytest.param("04 0100 0002", "84 02", id="no such register"),
        pytest.param("04 0010 0006", "84 02", id="over forbidden registers"),
        pytest.param("03 001f 0002", "83 02", id="beyond the last"),
        pytest.param("04 0000 003d", "84 03", id="61 registers from a meter that gives 60"),
        pytest.param("04 0000 0000", "84 03", id="none"),
        pytest.param("05 0000 ff00", "85 02", id="write a coil that is only read"),
        pytest.param("06 0012 0001", "86 02", id="write a register that is only read"),
        pytest.param("2b 0e 01 00", "ab 01", id="tell who it is"),
        pytest.param("07", "87 01", id="a function it does not have"),
    ],
)
async def test_what_a_meter_cannot_do_is_an_exception(
    a_meter: Making, serving: Serving, request_pdu: str, reply_pdu: str
) -> None:
    pdu, expected = bytes.fromhex(request_pdu), bytes.fromhex(reply_pdu)
    async with serving(a_meter()) as endpoint, wire(endpoint.port) as line:
        reply = await line.ask(b"\0\7\0\0\0" + bytes([len(pdu) + 1, 1]) + pdu)
    assert reply == bytes.fromhex("0007 0000 0003 01") + expected


async def test_several_meters_answer_behind_one_port(a_meter: Making, serving: Serving) -> None:
    first, second = a_meter("m-01", unit=1), a_meter("m-02", unit=22)
    async with serving(first, second) as endpoint, wire(endpoint.port) as line:
        replies = [await line.ask(read_frame(unit, 0x16, 2)) for unit in (1, 22, 1)]
        nobody = await line.ask(read_frame(9, 0, 2))
    assert [reply[6] for reply in replies] == [1, 22, 1]
    assert replies[0][9:] == replies[2][9:] != replies[1][9:]
    assert nobody == bytes.fromhex("0001 0000 0003 09 84 0b")  # the gateway's target does not answer


async def test_requests_may_come_in_pieces_or_many_at_once(a_meter: Making, serving: Serving) -> None:
    async with serving(a_meter()) as endpoint, wire(endpoint.port) as line:
        whole = read_frame(1, 0, 2, transaction=1)
        line.send(whole[:5])
        await line.writer.drain()
        line.send(whole[5:], read_frame(1, 2, 2, transaction=2), read_frame(1, 4, 2, transaction=3))
        assert [(await line.frame())[1] for _ in range(3)] == [1, 2, 3]


async def test_many_connections_are_served_side_by_side(a_meter: Making, serving: Serving) -> None:
    async def one(port: int, number: int) -> int:
        async with wire(port) as line:
            replies = [await line.ask(read_frame(1, 0, 4, transaction=number)) for _ in range(5)]
        return int.from_bytes(replies[-1][:2], "big")

    async with serving(a_meter()) as endpoint:
        assert await asyncio.gather(*(one(endpoint.port, n) for n in range(60))) == list(range(60))
        assert endpoint.requests == 300


async def test_a_stream_that_is_no_modbus_is_closed(a_meter: Making, serving: Serving) -> None:
    async with serving(a_meter()) as endpoint:
        async with wire(endpoint.port) as line:
            line.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await line.rest() == b""
        async with wire(endpoint.port) as line:  # and the next one is served
            assert (await line.ask(read_frame(1, 0, 2)))[7] == 4


WIDE_METER = """
profile: wide-meter
version: "1"
title: Two registers, far apart
family: modbus
verified: true
source: made for this test
modbus: {max_gap: 124}
points:
  - {name: frequency_hz, unit: Hz, kind: gauge, table: input, address: 0, type: uint16, scale: 0.01}
  - {name: relay_on, unit: "", kind: state, table: input, address: 124, type: uint16}
"""


async def test_a_client_that_does_not_read_is_not_read_either(a_meter: Making, serving: Serving) -> None:
    meter = a_meter(profile=load_profile(WIDE_METER, "wide-meter"))
    asks = read_frame(1, 0, 125) * 1000
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # both ways are soon full
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with serving(meter) as endpoint:
            client.connect(("127.0.0.1", endpoint.port))
            client.setblocking(False)
            served, blocked, rounds = -1, False, 0
            while not (blocked and endpoint.requests == served) and rounds < 3000:
                served, blocked, rounds = endpoint.requests, False, rounds + 1
                try:
                    client.send(asks)
                except BlockingIOError:
                    blocked = True
                await settle()
            assert blocked  # before some 30 MB have been asked for
            async with wire(endpoint.port) as line:  # others are served meanwhile
                assert (await line.ask(read_frame(1, 0, 1)))[7] == 4


async def test_a_port_that_is_taken_is_named(a_meter: Making, serving: Serving) -> None:
    async with serving(a_meter()) as endpoint, serving(a_meter()) as other:
        other.stop()
        other.port = endpoint.port
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{endpoint.port}"):
            await other.listen()


async def test_what_is_written_over_tcp_is_read_afterwards(
    a_meter: Making, serving: Serving, profile: ModbusProfile
) -> None:
    points = tuple(
        point.model_copy(update={"writable": Writable(min=0, max=100)}) if point.name == "ct_ratio" else point
        for point in profile.points
    )
    meter = a_meter(profile=profile.model_copy(update={"points": points}))
    async with serving(meter) as endpoint, wire(endpoint.port) as line:
        written = await line.ask("0001 0000 0006 01 06 0012 0019")
        read = await line.ask("0002 0000 0006 01 03 0012 0001")
    assert written == bytes.fromhex("0001 0000 0006 01 06 0012 0019")
    assert read == bytes.fromhex("0002 0000 0005 01 03 02 0019")
    assert meter.display(START_MS)["ct_ratio"] == 25
