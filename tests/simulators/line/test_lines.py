"""A simulated line takes its time, carries several families, and knows when its reader has gone."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.cjt188.line import make_talker as cjt188
from simulators.cjt188.sections import Cjt188LineSection
from simulators.dlt645.line import make_talker as dlt645
from simulators.dlt645.line import running_dlt645
from simulators.dlt645.meter import Dlt645Meter
from simulators.dlt645.sections import Dlt645LineSection
from simulators.ledger import LedgerWriter
from simulators.line.meter_line import MeterLine
from simulators.line.running import CannotOpen, running_line
from simulators.line.sections import LineSection
from tests.support.clocks import START_MS, VirtualClock, settle

READ = bytes.fromhex("68 129078563412 68 11 04 33333433 68 16")
READ_WATER = bytes.fromhex("68 10 44332211003378 01 03 1F9000 80 16")
METERS = {"meters": [{"id": "m", "address": "123456789012", "wake_bytes": 0}]}
WATER = {"meters": [{"id": "w", "address": "78330011223344", "wake_bytes": 0}]}


@pytest.fixture
def time() -> VirtualClock:
    return VirtualClock()


class Reader:
    """A program that has the port open."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.heard = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.fd, self._read)

    def _read(self) -> None:
        self.heard += os.read(self.fd, 4096)
        self._news.set()

    def ask(self, request: bytes) -> None:
        os.write(self.fd, request)

    async def has(self, count: int) -> bytes:
        while len(self.heard) < count:
            self._news.clear()
            await self._news.wait()
        return self.heard

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        os.close(self.fd)


@pytest.fixture
async def line(time: VirtualClock) -> AsyncIterator[MeterLine[Dlt645Meter]]:
    """A line at 2400 baud whose time is the test's."""
    section = Dlt645LineSection.model_validate({**METERS, "turnaround_ms": 50})
    async with running_dlt645(
        section, clock=time.clock, seed=1, origin_ms=START_MS, wire_sleep=time.sleep
    ) as line:
        yield line


async def test_request_turnaround_and_reply_take_their_time(
    line: MeterLine[Dlt645Meter], time: VirtualClock
) -> None:
    reader = Reader(line.line.path)
    reader.ask(READ)
    byte_s = 11 / 2400
    assert await time.someone_sleeps() == pytest.approx(len(READ) * byte_s + 0.05)
    await time.advance(len(READ) * byte_s + 0.05)
    assert await time.someone_sleeps() == pytest.approx(16 * byte_s)  # then the first bytes arrive
    await time.advance(16 * byte_s)
    assert len(await reader.has(16)) == 16
    await time.advance(4 * byte_s)
    assert len(await reader.has(20)) == 20
    reader.close()


async def test_meters_of_several_families_share_a_line(time: VirtualClock) -> None:
    given: dict[str, Any] = {"clock": time.clock, "seed": 1, "origin_ms": START_MS}
    power = dlt645(Dlt645LineSection.model_validate(METERS), **given)
    water = cjt188(Cjt188LineSection.model_validate(WATER), **given)
    async with running_line(LineSection(baud=None), [power, water], clock=time.clock) as line:
        reader = Reader(line.path)
        for request, size in ((READ, 20), (READ_WATER, 35), (READ, 20)):
            reader.heard = b""
            reader.ask(request)
            assert (await reader.has(size))[:2] == request[:2]
        reader.close()
    assert (power.requests, water.requests) == (2, 1)


async def test_an_adapter_that_hears_itself_echoes_every_request(time: VirtualClock) -> None:
    section = Dlt645LineSection.model_validate({**METERS, "baud": None, "echoes": True})
    async with running_dlt645(section, clock=time.clock, seed=1, origin_ms=START_MS) as line:
        reader = Reader(line.line.path)
        reader.ask(READ)
        assert (await reader.has(36)).startswith(READ + READ[:8])
        reader.close()


async def test_a_serial_server_passes_the_bytes_on(time: VirtualClock) -> None:
    section = Dlt645LineSection.model_validate({**METERS, "baud": None, "port": 0})
    async with running_dlt645(section, clock=time.clock, seed=1, origin_ms=START_MS) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.line.port)
        writer.write(READ[:5])
        writer.write(READ[5:])
        assert (await reader.readexactly(20))[:8] == READ[:8]
        writer.close()
        await writer.wait_closed()
        assert line.bus("b") == {"id": "b", "serial_server": {"host": "127.0.0.1", "port": line.line.port}}


async def test_who_closes_the_port_and_opens_it_again_is_a_new_connection(
    time: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = LedgerWriter(path, scenario="test", seed=1, start_ms=START_MS)
    section = Dlt645LineSection.model_validate({**METERS, "baud": None, "link": str(tmp_path / "meters")})
    async with running_dlt645(section, clock=time.clock, seed=1, origin_ms=START_MS, ledger=ledger) as line:
        for _ in range(2):
            reader = Reader(line.line.path)
            reader.ask(READ)
            await reader.has(20)
            reader.close()
            await settle()
    ledger.close()
    assert not (tmp_path / "meters").exists()
    lines = [msgspec.json.decode(text) for text in path.read_bytes().splitlines()]
    assert [line[1] for line in lines if isinstance(line, list)] == [1, 2]
    assert [line["closed"] for line in lines if isinstance(line, dict) and "closed" in line][:1] == [1]


async def test_a_gateway_is_told_how_to_read_the_line(line: MeterLine[Dlt645Meter]) -> None:
    assert line.bus("meters") == {
        "id": "meters",
        "serial": {"port": line.line.path, "baud": 2400, "parity": "even"},
    }
    [device] = line.devices("meters", period_s=30)
    assert (device["address"], device["profile"], device["period_s"]) == (
        "123456789012",
        "dlt645-single-phase",
        30,
    )


async def test_a_port_that_is_taken_is_told(time: VirtualClock) -> None:
    given: dict[str, Any] = {"clock": time.clock, "seed": 1, "origin_ms": START_MS}
    section = Dlt645LineSection.model_validate({**METERS, "port": 0})
    async with running_dlt645(section, **given) as line:
        taken = section.model_copy(update={"port": line.line.port})
        with pytest.raises(CannotOpen, match="choose another one"):
            async with running_dlt645(taken, **given):
                pass


def test_a_line_is_a_terminal_or_a_port() -> None:
    with pytest.raises(ValueError, match="either a `link` or a `port`"):
        LineSection(link="/tmp/line", port=5000)  # noqa: S108  # nothing is opened


@pytest.mark.parametrize("place", ["file", "folder", "way"])
async def test_what_stands_where_the_link_is_wanted_is_left_alone(
    place: str, tmp_path: Path, time: VirtualClock
) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to("file")
    section = LineSection(link=str(tmp_path / place))
    with pytest.raises(CannotOpen, match=place):
        async with running_line(section, [], clock=time.clock):
            pass
    assert (tmp_path / "way").is_symlink()
    assert (tmp_path / "way").read_text() == "precious"
    assert (tmp_path / "folder").is_dir()


async def test_a_link_is_taken_over_and_removed_by_whoever_made_it_last(
    tmp_path: Path, time: VirtualClock
) -> None:
    link = tmp_path / "line"
    link.symlink_to("/dev/pts/99999")  # of one that was killed
    section = LineSection(link=str(link))
    async with running_line(section, [], clock=time.clock):
        first = str(link.readlink())
        async with running_line(section, [], clock=time.clock):
            second = str(link.readlink())
            assert second not in (first, "/dev/pts/99999")
        assert not link.is_symlink()
    one = section.make_port()
    await one.open()
    other = section.make_port()
    await other.open()
    await one.close()
    assert link.exists()
    await other.close()
    assert not link.is_symlink()
