"""The simulated readers speak OSDP on their wire: seen with bytes that were written by hand."""

import asyncio
import os
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from simulators.access.readers import running_line, wiegand26
from simulators.access.sections import OsdpLineSection, ReaderSection, find_line_mistakes
from simulators.access.spoiling import Spoiling
from simulators.faults import Fault, FaultSet
from tests.support.clocks import START_MS, fast_clock
from tests.support.doors import eventually

SOM, POLL, ID = 0x53, 0x60, 0x61
ACK, PDID, RAW = 0x40, 0x45, 0x50


def frame(address: int, sequence: int, command: int, data: bytes = b"") -> bytes:
    """A command with a checksum, as the standard draws it: the sum of all bytes is 0."""
    head = bytes([SOM, address, 8 + len(data) - 1, 0, sequence, command]) + data
    return head + bytes([-sum(head) & 0xFF])


@contextmanager
def opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        tty.setraw(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


async def ask(wire: int, command: bytes) -> bytes:
    """The reply, whose length is its third byte."""
    os.write(wire, command)
    reply = b""
    async with asyncio.timeout(5):
        while True:
            try:
                reply += os.read(wire, 256)
            except BlockingIOError:
                await asyncio.sleep(0.001)
            start = reply.find(SOM)
            if start >= 0 and len(reply) > start + 2 and len(reply) >= start + reply[start + 2]:
                return reply[start : start + reply[start + 2]]


async def test_a_reader_says_who_it_is_and_tells_a_card_when_it_is_polled() -> None:
    section = OsdpLineSection(readers=(ReaderSection(id="a", address=5), ReaderSection(id="b", address=6)))
    async with running_line(section, clock=fast_clock(1), seed=1, origin_ms=START_MS) as line:
        with opened(str(line.port)) as wire:
            identity = await ask(wire, frame(5, 0, ID, b"\0"))
            line.readers["a"].hold("0008106606")
            sequence, reply = 1, b""
            async with asyncio.timeout(5):
                while not reply or reply[5] == ACK:
                    reply = await ask(wire, frame(5, sequence, POLL))
                    sequence = sequence % 3 + 1
    assert (identity[1], identity[5]) == (0x85, PDID)
    assert identity[6:9] == bytes.fromhex("e0d000")  # its maker
    assert (reply[1], reply[5]) == (0x85, RAW)
    assert reply[6:14].hex() == "00011a00" + "bdd93740"  # reader 0, Wiegand, 26 bits, the card


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("lost", [], id="lost"),
        pytest.param("late", [(0.3, "53 85 07 00 01 40 e0")], id="late"),
        pytest.param("duplicate", [(0.0, "53 85 07 00 01 40 e0")] * 2, id="duplicate"),
        pytest.param("foreign_unit", [(0.0, "53 84 07 00 01 40 e1")], id="foreign"),
        pytest.param("foreign_transaction", [(0.0, "53 85 07 00 02 40 df")], id="another-question"),
        pytest.param("truncated", [(0.0, "53 85 07")], id="truncated"),
    ],
)
def test_a_reply_is_spoiled_as_the_fault_says(kind: Any, expected: list[tuple[float, str]]) -> None:
    spoiling = Spoiling(FaultSet("line", seed=1, origin_ms=0, now_ms=lambda: 0), seed=1)
    spoiling.faults.add(Fault(kind=kind, delay_ms=300 if kind == "late" else None))
    ack = bytes.fromhex("53 85 07 00 01 40 e0")  # its sum is 0
    assert spoiling.spoil(ack, 0) == [(delay_s, bytes.fromhex(said)) for delay_s, said in expected]


def test_the_same_seed_spoils_the_same_replies() -> None:
    def trace(seed: int) -> list[list[tuple[float, bytes]]]:
        spoiling = Spoiling(FaultSet("line", seed=seed, origin_ms=0, now_ms=lambda: 0), seed=seed)
        for kind in ("noise", "garbled", "bad_checksum"):
            spoiling.faults.add(Fault(kind=kind, probability=0.2))
        return [spoiling.spoil(bytes.fromhex("53 85 07 00 01 40 e0"), n) for n in range(200)]

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


async def test_a_reboot_takes_the_power_from_all_readers_for_its_time() -> None:
    reboot = Fault(kind="reboot", after_ms=2_000, lasts_ms=4_000)
    section = OsdpLineSection(readers=(ReaderSection(id="a", address=0),), faults=(reboot,))
    clock = fast_clock(20)
    async with running_line(section, clock=clock, seed=1, origin_ms=clock.now_ms()) as line:
        await eventually(lambda: not line.readers["a"].is_on)
        await eventually(lambda: line.readers["a"].is_on)


def test_the_bits_of_a_card_are_those_that_were_worked_out_by_hand() -> None:
    assert wiegand26(8106606).hex() == "bdd93740"


def test_two_readers_with_one_address_are_a_mistake() -> None:
    section = OsdpLineSection(readers=(ReaderSection(id="a", address=5), ReaderSection(id="a", address=5)))
    assert [mistake.path[-1] for mistake in find_line_mistakes(section)] == ["id", "address"]
