"""What is on a line or in a network is found, with the profiles that fit, and nothing is written."""

import asyncio
import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.contract import DeviceUnreachable
from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.scan import Found, Progress, scan_line
from drivers.modbus.scan_hosts import NetworkTooLarge, OpenHost, scan_hosts
from drivers.modbus.tcp import ModbusTcpLink
from models.profile.modbus import Fingerprint, Identification, ModbusProfile
from models.times import Clock
from tests.support.byte_server import Asked, HangUp, byte_server, framed
from tests.support.clocks import VirtualClock
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import in_virtual_time

ALL = range(1, 248)


@dataclass
class Meter:
    """A unit of raw bytes with some registers; what it does not have, it refuses."""

    words: dict[tuple[int, int], int] = field(default_factory=dict)
    says: tuple[bytes, ...] = ()  # vendor, product, revision
    after_s: float = 0.0
    wordless: bool = False  # of functions that it does not know
    asked: list[bytes] = field(default_factory=list)

    def __call__(self, request: bytes) -> Iterable[Said]:
        pdu = request[1:-2]
        self.asked.append(pdu)
        reply = self.reply(pdu)
        return [Said(sealed(request[:1] + reply), self.after_s)] if reply else []

    def reply(self, pdu: bytes) -> bytes:
        if pdu[0] in (3, 4):
            first, count = struct.unpack(">HH", pdu[1:])
            keys = [(pdu[0], first + n) for n in range(count)]
            if all(key in self.words for key in keys):
                return bytes((pdu[0], 2 * count)) + struct.pack(
                    f">{count}H", *(self.words[key] for key in keys)
                )
            return bytes((pdu[0] | 0x80, 2))
        if pdu[0] == 0x2B and self.says:
            objects = b"".join(bytes((n, len(text))) + text for n, text in enumerate(self.says))
            return bytes.fromhex("2b0e01810000") + bytes((len(self.says),)) + objects
        return b"" if self.wordless else bytes((pdu[0] | 0x80, 1))

    def set(self, function: int, first: int, data: bytes) -> "Meter":
        for at in range(0, len(data), 2):
            self.words[function, first + at // 2] = int.from_bytes(data[at : at + 2], "big")
        return self


def profile(name: str, *prints: Fingerprint, says: tuple[str, str] | None = None) -> ModbusProfile:
    points = (
        a_point("frequency_hz", 0x46, "float32", table="input", decimals=2, min=45, max=65),
        a_point("voltage_v", 0, "uint16", min=100, max=300),
    )
    update: dict[str, Any] = {"profile": name, "fingerprints": prints}
    if says is not None:
        update["identifications"] = (Identification(vendor=says[0], product=says[1]),)
    return a_profile(*points).model_copy(update=update)


HERTZ = Fingerprint(table="input", address=0x46, count=2, point="frequency_hz")
MODEL = Fingerprint(table="holding", address=0xFC02, count=1, equals="0070")
VOLTS = Fingerprint(table="holding", address=0, count=1, point="voltage_v")
PROFILES = [
    profile("by-frequency", HERTZ),
    profile("by-model", HERTZ, MODEL),
    profile("by-voltage", VOLTS),
    profile("by-name", says=("acme", "pm-1")),
    profile("by-nothing"),
]


def found_on(
    units: dict[int, Meter],
    *,
    asked: Iterable[int] = ALL,
    profiles: Iterable[ModbusProfile] = PROFILES,
    baud: int = 9600,
    echoes: bool = False,
) -> tuple[list[Found], list[Progress], float]:
    """What a search of a line finds, how it says that it goes on, and how long it takes."""

    async def scenario(clock: Clock) -> tuple[list[Found], list[Progress], float]:
        bus = RtuBus(units, baud=baud, turnaround_s=0.02, echoes=echoes)
        said: list[Progress] = []
        link = RtuLink(MemoryLine(bus, clock=clock))
        found = await scan_line(link, list(asked), list(profiles), on_progress=said.append)
        return found, said, clock.monotonic_s()

    return in_virtual_time(scenario)


def fit(found: Found) -> list[str]:
    return [candidate.profile for candidate in found.candidates]


def a_meter(hertz: float = 50.0) -> Meter:
    return Meter().set(4, 0x46, struct.pack(">f", hertz))


@pytest.mark.parametrize("echoes", [False, True])
def test_all_units_of_a_line_are_asked_in_less_than_a_minute(echoes: bool) -> None:
    units = {1: a_meter(), 7: a_meter(), 200: Meter(), 247: a_meter()}
    found, said, took_s = found_on(units, echoes=echoes)
    assert [(f.unit, fit(f)) for f in found] == [
        (1, ["by-frequency"]), (7, ["by-frequency"]), (200, []), (247, ["by-frequency"])
    ]  # fmt: skip
    assert took_s < 60
    assert [progress.done for progress in said] == list(range(1, 247 + 4 + 1))
    assert said[-1] == Progress(done=251, of=251, found=4)
    assert all(progress.done <= progress.of for progress in said)


def test_nothing_is_ever_written() -> None:
    meter = a_meter()
    found_on({3: meter}, asked=range(1, 6))
    assert {pdu[0] for pdu in meter.asked} <= {1, 2, 3, 4, 0x2B}


def test_the_best_fit_comes_first_and_says_why() -> None:
    meter = a_meter(49.98).set(3, 0xFC02, b"\x00\x70")
    [found], _, _ = found_on({5: meter}, asked=[5])
    best, second = found.candidates
    assert (best.profile, best.reasons) == (
        "by-model", ("frequency_hz at input 0x0046 is 49.98 V", "holding 0xfc02 is 0070")
    )  # fmt: skip
    assert (second.profile, second.score < best.score) == ("by-frequency", True)


def test_a_value_that_is_out_of_its_bounds_fits_nothing() -> None:
    [found], _, _ = found_on({5: a_meter(0.0).set(3, 0, b"\xff\xff")}, asked=[5])
    assert found.candidates == ()


def test_a_device_that_says_who_it_is_is_believed() -> None:
    [found], _, _ = found_on({5: Meter(says=(b"ACME Ltd", b"PM-1200", b"V2\xff"))}, asked=[5])
    assert found.identification == {"vendor": "ACME Ltd", "product": "PM-1200", "revision": "V2\ufffd"}
    assert [(c.profile, c.reasons) for c in found.candidates] == [("by-name", ("it calls itself acme pm-1",))]


def test_a_device_that_does_not_answer_what_it_does_not_know_is_found_all_the_same() -> None:
    [found], _, _ = found_on({5: Meter(a_meter().words, wordless=True)}, asked=range(4, 7))
    assert (found.unit, fit(found)) == (5, ["by-frequency"])


@pytest.mark.parametrize("after_s", [0.08, 0.2, 0.5])
def test_slow_units_are_found_as_well(after_s: float) -> None:
    units = {unit: Meter(a_meter().words, after_s=after_s) for unit in (3, 4, 90)}
    found, _, _ = found_on(units, asked=range(1, 100))
    assert [f.unit for f in found] == [3, 4, 90]
    assert all(fit(f) == ["by-frequency"] for f in found)


def test_many_meters_of_one_kind_are_not_taken_for_one() -> None:
    found, _, _ = found_on({unit: a_meter() for unit in range(1, 33)}, asked=range(1, 33), baud=115_200)
    assert [f.unit for f in found] == list(range(1, 33))
    assert not any(f.any_unit for f in found)


async def test_a_tcp_device_that_answers_to_every_unit_is_found_once() -> None:
    async with byte_server() as server:
        server.set(3, 0, "00e6")
        link = ModbusTcpLink("127.0.0.1", server.port, clock=VirtualClock().clock)
        [found] = await scan_line(link, range(1, 101), PROFILES)
        assert (found.unit, found.any_unit, fit(found)) == (1, True, ["by-voltage"])
        assert found.endpoint == f"127.0.0.1:{server.port}"


async def test_units_that_a_gateway_does_not_reach_are_not_there() -> None:
    async with byte_server() as server:
        server.twist = lambda asked, honest: [
            honest
            if asked.unit == 2
            else framed(asked.transaction, asked.unit, bytes((asked.function | 0x80, 11)))
        ]
        link = ModbusTcpLink("127.0.0.1", server.port, clock=VirtualClock().clock)
        assert [found.unit for found in await scan_line(link, range(1, 5), [])] == [2]


async def test_a_unit_whose_answer_is_lost_with_the_connection_is_asked_again() -> None:
    async with byte_server() as server:
        server.units = {2, 3}

        def hang_up_once(asked: Asked, honest: bytes) -> list[bytes]:
            if [earlier.unit for earlier in server.asked].count(2) == 1:
                raise HangUp
            return [honest]

        server.twist = hang_up_once
        link = ModbusTcpLink("127.0.0.1", server.port, clock=VirtualClock().clock)
        assert [found.unit for found in await scan_line(link, range(2, 4), [])] == [2, 3]


async def test_a_link_that_cannot_be_opened_is_said() -> None:
    async with byte_server() as server:
        port = server.port
    link = ModbusTcpLink("127.0.0.1", port, clock=VirtualClock().clock)
    with pytest.raises(DeviceUnreachable):
        await scan_line(link, [1], [])


async def test_hosts_with_the_port_open_are_found_in_order() -> None:
    left = asyncio.Semaphore(0)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.release()

    one = await asyncio.start_server(accept, "127.0.0.3", 0)
    port = one.sockets[0].getsockname()[1]
    two = await asyncio.start_server(accept, "127.0.0.1", port)
    said: list[Progress] = []
    async with one, two:
        found = await scan_hosts(ipaddress.ip_network("127.0.0.0/29"), port, on_progress=said.append)
        async with asyncio.timeout(10):
            for _ in found:
                await left.acquire()
    assert [(host.host, host.port) for host in found] == [("127.0.0.1", port), ("127.0.0.3", port)]
    assert isinstance(found[0], OpenHost)
    assert [progress.done for progress in said] == [1, 2, 3, 4, 5, 6]
    assert said[-1].found == 2


async def test_no_more_hosts_are_tried_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = [0, 0]
    connect = asyncio.get_running_loop().create_connection

    async def counted(*given: Any, **named: Any) -> Any:
        at_once[0] += 1
        at_once[1] = max(at_once)
        try:
            await asyncio.sleep(0)
            return await connect(*given, **named)
        finally:
            at_once[0] -= 1

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", counted)
    assert await scan_hosts(ipaddress.ip_network("127.0.0.0/26"), 1, at_once=5) == []
    assert at_once == [0, 5]


async def test_a_network_that_is_too_large_is_refused() -> None:
    with pytest.raises(NetworkTooLarge, match=r"16777216 addresses.*name a part of it"):
        await scan_hosts(ipaddress.ip_network("10.0.0.0/8"))
