"""Readers on an OSDP line say what happens at them, and how well they are protected, over a real wire."""

import asyncio
import binascii
import os
import pty
import tty
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from drivers.access.osdp import OsdpReader, OsdpReaders
from drivers.access.osdp_line import OsdpLine
from drivers.access.osdp_says import Outcome, Reader
from drivers.contract import CommandRefused, DeviceUnreachable
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.access import OsdpProfile
from models.pseudonym import Pseudonymiser
from models.reading import Reason
from models.times import Clock
from simulators.access.readers import SimulatedLine, running_line
from simulators.access.sections import OsdpLineSection, ReaderSection
from simulators.faults import Fault
from tests.support.clocks import START_MS, fast_clock
from tests.support.doors import KEY, eventually
from tests.support.keeping_sink import KeepingSink

OWN = "00112233445566778899aabbccddeeff"
PROFILE = as_family(Catalogue().load("osdp-reader"), OsdpProfile)


@pytest.fixture
def clock() -> Clock:
    return fast_clock(1)  # libosdp has a clock of its own


def a_line(*keys: str) -> OsdpLineSection:
    return OsdpLineSection(
        readers=tuple(ReaderSection(id=f"r{n}", address=n - 1, key=key) for n, key in enumerate(keys, 1))
    )


@asynccontextmanager
async def panel(
    line: SimulatedLine, keys: Sequence[str | None], sink: KeepingSink, clock: Clock
) -> AsyncIterator[OsdpReaders]:
    """Listen to the readers of a line, with the keys that a gateway was given."""
    readers = [
        OsdpReader(f"r{n}", n - 1, PROFILE, None if key is None else bytes.fromhex(key))
        for n, key in enumerate(keys, 1)
    ]
    async with panel_of(str(line.port), readers, sink, clock) as listener:
        yield listener


@asynccontextmanager
async def panel_of(
    port: str, readers: Sequence[OsdpReader], sink: KeepingSink, clock: Clock
) -> AsyncIterator[OsdpReaders]:
    listener = OsdpReaders(port, 9600, readers, pseudonyms=Pseudonymiser(KEY), clock=clock)
    task = asyncio.create_task(listener.run(sink), name="panel")
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (err := task.exception()) is not None:
            raise err


@contextmanager
def reader_by_hand(says: bytes) -> Iterator[str]:
    """A reader at address 0 that speaks in clear and answers every poll with `says`; its port."""
    answers = {0x61: b"\x45" + bytes(12), 0x62: b"\x46\x0a\x00\x00", 0x60: says}  # ID, CAP, POLL
    wire, kept = pty.openpty()
    tty.setraw(wire)
    tty.setraw(kept)
    heard = bytearray()

    def answer() -> None:
        heard.extend(os.read(wire, 4096))
        at = heard.find(b"\x53\x00")
        if at < 0 or len(heard) < at + 4 or len(heard) < at + heard[at + 2]:
            return
        control, command = heard[at + 4], heard[at + 5]
        heard.clear()
        said = answers.get(command, b"\x40")  # ACK
        head = bytes([0x53, 0x80, 5 + len(said) + 2, 0, control & 3 | 4]) + said
        os.write(wire, head + binascii.crc_hqx(head, 0x1D0F).to_bytes(2, "little"))

    asyncio.get_running_loop().add_reader(wire, answer)
    try:
        yield os.ttyname(kept)
    finally:
        asyncio.get_running_loop().remove_reader(wire)
        os.close(wire)
        os.close(kept)


def online(listener: OsdpReaders, *ids: str) -> bool:
    states = {state.id: state for state in listener.states}
    return all(states[name].answered_ms is not None and states[name].lost_since_ms is None for name in ids)


async def test_cards_pins_tampering_and_power_are_told_without_what_they_carry(
    sink: KeepingSink, clock: Clock, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with running_line(a_line(OWN), clock=clock, seed=1, origin_ms=START_MS) as line:
        reader = line.readers["r1"]
        async with panel(line, [OWN], sink, clock) as listener:
            await eventually(lambda: online(listener, "r1"))
            reader.hold("0008106606")
            [card] = await sink.has(1, "door.card_read")
            reader.hold_bits(26, bytes.fromhex("bdd93700"))
            [misread] = await sink.has(1, "door.card_misread")
            reader.hold_bits(32, bytes.fromhex("0badcafe"))
            _, raw = await sink.has(2, "door.card_read")
            reader.type("80417236#")
            reader.open_case()
            reader.lose_power()
            await sink.has(1, "door.fault")
            reader.open_case(False)
            reader.lose_power(False)
            await sink.has(1, "door.fault_ended")
    assert card.data == {
        "reader": 1, "credential": "card", "format": "wiegand26", "bits": 26, "last4": "6606",
        "pseudonym": "b3e6205b3f0d67a5c6cbc178ee576c1f",
    }  # fmt: skip
    assert misread.data == {"reader": 1, "credential": "card", "format": "wiegand26", "bits": 26}
    assert (raw.data["format"], "last4" in raw.data) == ("raw", False)
    assert [event.data for event in sink.of_kind("door.pin_typed")] == [{"reader": 1, "credential": "pin"}]
    kinds = [event.kind for event in sink.events[3:]]
    assert kinds == ["door.pin_typed", "door.tamper", "door.fault", "door.tamper_ended", "door.fault_ended"]
    assert not [event for event in sink.events if event.kind.startswith("osdp.")]
    shown = caplog.text + repr(sink.stored) + repr(sink.events) + "".join(capfd.readouterr())
    for secret in ("8106606", "bdd93740", "80417236", OWN, "0badcafe"):
        assert secret not in shown


@pytest.mark.parametrize("key", ["none", OWN], ids=["in-clear", "secure"])
async def test_a_reader_that_is_tampered_with_at_the_start_says_so(
    sink: KeepingSink, clock: Clock, key: str
) -> None:
    async with running_line(a_line(key), clock=clock, seed=1, origin_ms=START_MS) as line:
        line.readers["r1"].open_case()
        async with panel(line, [None if key == "none" else key], sink, clock):
            await sink.has(1, "door.tamper")


async def test_how_each_reader_is_protected_is_found_and_told_once(sink: KeepingSink, clock: Clock) -> None:
    default_as_own = bytes(range(0x30, 0x40)).hex()
    at_readers = [OWN, "none", "default", "default", "ff" * 16, default_as_own]
    at_gateway = [OWN, None, None, OWN, OWN, None]
    async with running_line(a_line(*at_readers), clock=clock, seed=1, origin_ms=START_MS) as line:
        async with panel(line, at_gateway, sink, clock) as listener:
            await sink.has(5, "osdp.not_secure", "osdp.default_key", "osdp.wrong_key")
            await eventually(lambda: online(listener, "r1", "r2", "r3", "r6"))
            for reader in line.readers.values():
                reader.hold("0008106606")
            await sink.has(4, "door.card_read")
        found = {event.device_id: event.kind for event in sink.events if event.kind.startswith("osdp.")}
        assert found == {
            "r2": "osdp.not_secure",
            "r3": "osdp.default_key",
            "r4": "osdp.default_key",
            "r5": "osdp.wrong_key",
            "r6": "osdp.default_key",
        }
        assert {event.device_id for event in sink.of_kind("door.card_read")} == {"r1", "r2", "r3", "r6"}
        assert all(reader.keys_set == 0 for reader in line.readers.values())  # nobody was given a key
        async with panel(line, at_gateway, sink, clock) as listener:
            await eventually(lambda: online(listener, "r1", "r2", "r3", "r6"))
    assert sum(event.kind.startswith("osdp.") for event in sink.events) == 5


async def test_loss_and_return_of_a_reader_are_told_and_do_not_concern_its_neighbour(
    sink: KeepingSink, clock: Clock
) -> None:
    async with (
        running_line(a_line(OWN, OWN), clock=clock, seed=1, origin_ms=START_MS) as line,
        panel(line, [OWN, OWN], sink, clock) as listener,
    ):
        await eventually(lambda: online(listener, "r1", "r2"))
        line.readers["r1"].switch_off()
        [lost] = await sink.has(1, "device.offline")
        assert (lost.device_id, lost.data) == ("r1", {"reason": "no_reply"})
        assert listener.states[0].reason is Reason.NO_REPLY
        line.readers["r2"].hold("0008106606")
        await sink.has(1, "door.card_read")
        with pytest.raises(DeviceUnreachable):
            await listener.act("r1", "open_once", {"key": "1"})
        line.readers["r1"].switch_on()
        [back] = await sink.has(1, "device.back")
        assert (await listener.act("r1", "open_once", {"key": "1"}))["confirmed"]  # it never got there before
        line.readers["r1"].hold("0008106606")
        await sink.has(2, "door.card_read")
    assert back.device_id == "r1"
    assert not sink.of_kind("osdp.wrong_key", "osdp.not_secure")


async def test_outputs_are_switched_once_a_key_and_only_where_they_are(
    sink: KeepingSink, clock: Clock
) -> None:
    async with (
        running_line(a_line(OWN), clock=clock, seed=1, origin_ms=START_MS) as line,
        panel(line, [OWN], sink, clock) as listener,
    ):
        await eventually(lambda: online(listener, "r1"))
        done: list[dict[str, Any]] = []
        for _ in range(2):
            done.append(await listener.act("r1", "open_once", {"key": "1", "seconds": 2}))
        assert done == [{"action": "open_once", "output": 0, "confirmed": True}] * 2
        assert line.readers["r1"].outputs == {0: 5}
        await listener.act("r1", "unlock", {"key": "2"})
        assert line.readers["r1"].outputs == {0: 2}
        await listener.act("r1", "lock", {"key": "3"})
        assert line.readers["r1"].outputs == {0: 1}
        for arguments in (
            {"key": "4", "output": 7}, {"key": "5", "seconds": -1}, {"output": 0},
            {"key": "6", "output": True}, {"key": "7", "seconds": True},
        ):  # fmt: skip
            with pytest.raises(CommandRefused):
                await listener.act("r1", "open_once", arguments)
        with pytest.raises(CommandRefused):
            await listener.act("r1", "put_pass", {"key": "6"})
        assert online(listener, "r1")


async def test_a_port_that_is_not_there_is_tried_again_and_found(sink: KeepingSink, tmp_path: Any) -> None:
    clock, port = fast_clock(10), tmp_path / "ttyDoor"
    async with running_line(a_line(OWN), clock=clock, seed=1, origin_ms=START_MS) as line:
        real, line.port = line.port, port
        async with panel(line, [OWN], sink, clock) as listener:
            [lost] = await sink.has(1, "device.offline")
            port.symlink_to(real)
            await sink.has(1, "device.back")
            assert online(listener, "r1")
    assert lost.data == {"reason": "unreachable"}


async def test_an_order_is_answered_also_when_the_line_ends_before_it_was_sent(clock: Clock) -> None:
    outcomes: list[Outcome] = []
    async with running_line(a_line(OWN), clock=clock, seed=1, origin_ms=START_MS) as simulated:
        line = OsdpLine(str(simulated.port), 9600, [Reader(0)], heard=lambda *_: None)
        line.start()
        line.set_output(0, 0, 1, 0, outcomes.append)
        line.stop()
        line.set_output(0, 0, 1, 0, outcomes.append)
    assert outcomes == [Outcome.OFFLINE] * 2


async def test_a_card_without_a_single_bit_is_told_as_misread(sink: KeepingSink, clock: Clock) -> None:
    with reader_by_hand(b"\x50\x00\x00\x00\x00") as port:  # RAW of reader 0: no format, 0 bits
        readers = [OsdpReader("r1", 0, PROFILE)]
        async with panel_of(port, readers, sink, clock):
            [misread] = await sink.has(1, "door.card_misread")
    assert misread.data == {"reader": 1, "credential": "card", "format": "raw", "bits": 0}


async def test_whatever_becomes_of_replies_no_card_is_another_one_and_the_line_recovers(
    sink: KeepingSink, clock: Clock
) -> None:
    faults = (
        Fault(kind="noise", probability=0.1),
        Fault(kind="duplicate", probability=0.1),
        Fault(kind="bad_checksum", probability=0.1, times=1),
    )
    section = a_line(OWN).model_copy(update={"faults": faults})
    async with (
        running_line(section, clock=clock, seed=4, origin_ms=START_MS) as line,
        panel(line, [OWN], sink, clock),
    ):
        async with asyncio.timeout(30):
            while len(sink.of_kind("door.card_read")) < 5:
                line.readers["r1"].hold("0008106606")
                await clock.sleep(0.2)
    cards = {event.data["pseudonym"] for event in sink.of_kind("door.card_read")}
    assert cards == {Pseudonymiser(KEY).card("8106606").pseudonym}
    assert not sink.of_kind("door.card_misread")


async def test_noise_on_the_wire_does_no_harm(sink: KeepingSink, clock: Clock) -> None:
    async with (
        running_line(a_line(OWN), clock=clock, seed=1, origin_ms=START_MS) as line,
        panel(line, [OWN], sink, clock) as listener,
    ):
        await eventually(lambda: online(listener, "r1"))
        for noise in (b"\xff\x53", bytes(range(256)), b"\x53\x81\x08\x00\x04\x40\x12\x34", b"\x53" * 300):
            line.write(noise)
        line.readers["r1"].hold("0008106606")
        await sink.has(1, "door.card_read")
