"""A zone controller on a line: no bay gets a state that was not provably said of it in this cycle."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.contract import DeviceUnreachable
from drivers.line import StreamLine
from drivers.parking.controller import ParkingControllerDriver
from drivers.parking.frames import Codec
from edge_agent.catalogue import Catalogue
from models.profile import as_family
from models.profile.parking_controller import ParkingControllerProfile
from models.reading import Quality, Reading, Reason
from simulators.parking.controller_frames import frame
from tests.support.clocks import VirtualClock

CATALOGUE = Catalogue()
SHIPPED = as_family(CATALOGUE.load("ultrasonic-zone-e8"), ParkingControllerProfile)
GOLDEN = SHIPPED.golden[0]
UNIT = 3


def with_section(**changes: object) -> ParkingControllerProfile:
    section = SHIPPED.controller.model_copy(update=changes)
    return SHIPPED.model_copy(update={"controller": section})


QUICK = with_section(reply_timeout_s=0.12)  # a line waits 0.05 s for whether a frame goes on


def said(states: Iterable[int], *, unit: int = UNIT, control: int = 0xA0) -> bytes:
    """A reply with one byte for each detector."""
    return frame(SHIPPED.controller, unit, control, bytes(states))


class Controller:
    """Answers each request with the chunks that a script makes of it; none: silence."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.script: Callable[[bytes], Iterable[bytes]] = lambda request: [said([0] * 32)]
        self.port = 0
        self._writers: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}  # by who serves them
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers.values():
            writer.close()
        await asyncio.gather(*filter(None, self._writers), return_exceptions=True)
        self._writers.clear()

    def send(self, data: bytes) -> None:
        """Something that nobody asked for."""
        [*_, writer] = self._writers.values()
        writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[asyncio.current_task()] = writer
        while request := await reader.read(1000):
            self.requests.append(request)
            for chunk in self.script(request):
                writer.write(chunk)
                await asyncio.sleep(0.001)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def controller() -> AsyncIterator[Controller]:
    made = Controller()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def driver_of(
    controller: Controller, profile: ParkingControllerProfile = QUICK, time: VirtualClock | None = None
) -> AsyncIterator[ParkingControllerDriver]:
    clock = (time or VirtualClock()).clock
    line = StreamLine("127.0.0.1", controller.port, clock=clock)
    driver = ParkingControllerDriver(
        device_id="ctl", profile=profile, unit=UNIT, line=line, parameters={}, clock=clock
    )
    try:
        yield driver
    finally:
        await driver.close()


def values(readings: list[Reading]) -> list[float | None]:
    assert [reading.point for reading in readings] == [point.name for point in SHIPPED.points]
    for reading in readings:
        assert (reading.value is None) is (reading.quality is Quality.BAD)
        assert (reading.reason == 0) is (reading.quality is Quality.GOOD)
    return [reading.value for reading in readings]


async def test_the_golden_request_is_sent_and_the_golden_reply_read(controller: Controller) -> None:
    controller.script = lambda request: [bytes.fromhex(GOLDEN.reply)]
    async with driver_of(controller) as driver:
        readings, [exchange] = await driver.read_traced()
    assert controller.requests == [bytes.fromhex(GOLDEN.request)]
    told = {reading.point: reading for reading in readings}
    assert {name: told[name].value for name in GOLDEN.values} == GOLDEN.values
    assert told["bay_04_occupied"].reason is Reason.NOT_AVAILABLE
    assert (exchange.request, exchange.replies) == (
        bytes.fromhex(GOLDEN.request),
        (bytes.fromhex(GOLDEN.reply),),
    )
    assert GOLDEN.source


@pytest.mark.parametrize("size", [1, 7])
async def test_a_reply_in_pieces_after_noise_is_read(controller: Controller, size: int) -> None:
    reply = b"\x00\xff" + said([1] * 32)
    controller.script = lambda request: [reply[at : at + size] for at in range(0, len(reply), size)]
    async with driver_of(controller) as driver:
        assert values(await driver.read()) == [1.0] * 32


async def test_a_state_that_the_profile_does_not_have_is_no_state(controller: Controller) -> None:
    controller.script = lambda request: [said([7, 1] + [0] * 30)]
    async with driver_of(controller) as driver:
        first, second, *_ = await driver.read()
    assert (first.value, first.reason) == (None, Reason.UNDECODABLE)
    assert second.value == 1.0


async def test_a_detector_that_the_controller_does_not_have_has_no_value(controller: Controller) -> None:
    controller.script = lambda request: [said([1] * 10)]
    async with driver_of(controller) as driver:
        readings = await driver.read()
    assert values(readings) == [1.0] * 10 + [None] * 22
    assert readings[-1].reason is Reason.NOT_AVAILABLE


WRONG: dict[str, tuple[Callable[[bytes], list[bytes]], Reason]] = {
    "silence": (lambda request: [], Reason.NO_REPLY),
    "an echo": (lambda request: [request], Reason.NO_REPLY),
    "another controller": (lambda request: [said([1] * 32, unit=4)], Reason.BAD_REPLY),
    "another function": (lambda request: [said([1] * 32, control=0xA1)], Reason.BAD_REPLY),
    "a request of another master": (lambda request: [said([1] * 32, control=0x20)], Reason.BAD_REPLY),
    "a wrong checksum": (lambda request: [said([1] * 32)[:-1] + b"\x00"], Reason.BAD_REPLY),
    "half a reply": (lambda request: [said([1] * 32)[:20]], Reason.BAD_REPLY),
    "noise": (lambda request: [b"\xe8" * 30], Reason.BAD_REPLY),
    "no": (lambda request: [said([], control=0xE0)], Reason.REFUSED),
}


@pytest.mark.parametrize(("script", "reason"), WRONG.values(), ids=WRONG)
async def test_what_is_no_answer_gives_no_value_and_the_next_answer_does(
    controller: Controller, script: Callable[[bytes], list[bytes]], reason: Reason
) -> None:
    async with driver_of(controller) as driver:
        controller.script = script
        readings = await driver.read()
        assert values(readings) == [None] * 32
        assert {reading.reason for reading in readings} == {reason}
        controller.script = lambda request: [said([0, 1] * 16)]
        assert values(await driver.read()) == [0.0, 1.0] * 16


async def test_a_lost_reply_costs_one_retry(controller: Controller) -> None:
    replies = iter([[], [said([1] * 32)]])
    controller.script = lambda request: next(replies)
    async with driver_of(controller) as driver:
        assert values(await driver.read()) == [1.0] * 32
    assert len(controller.requests) == 2


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(controller: Controller) -> None:
    profile = with_section(reply_timeout_s=0.12, retries=0)
    async with driver_of(controller, profile) as driver:
        controller.script = lambda request: []
        assert values(await driver.read()) == [None] * 32
        answers = iter(
            [said([1] * 32), said([0] * 32), said([0] * 32)]
        )  # the late one, and then those of now
        controller.script = lambda request: [next(answers)]
        assert values(await driver.read()) == [0.0] * 32


async def test_what_comes_while_nothing_was_asked_is_dropped(controller: Controller) -> None:
    async with driver_of(controller) as driver:
        assert values(await driver.read()) == [0.0] * 32
        controller.send(said([1] * 32))
        await asyncio.sleep(0.01)
        assert values(await driver.read()) == [0.0] * 32


async def test_a_line_that_is_gone_gives_unreachable_until_it_is_back(controller: Controller) -> None:
    time = VirtualClock()
    async with driver_of(controller, time=time) as driver:
        assert values(await driver.read()) == [0.0] * 32
        await controller.stop()
        readings = await driver.read()
        assert {reading.reason for reading in readings} == {Reason.UNREACHABLE}
        with pytest.raises(DeviceUnreachable):
            await driver.open()
        await controller.start()
        await time.advance(60)
        assert values(await driver.read()) == [0.0] * 32


async def test_a_cancelled_read_does_no_harm_and_close_is_safe_twice(controller: Controller) -> None:
    async with driver_of(controller) as driver:
        controller.script = lambda request: []
        for rounds in range(8):
            reading = asyncio.create_task(driver.read())
            for _ in range(rounds):
                await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        controller.script = lambda request: [said([1] * 32)]
        assert values(await driver.read()) == [1.0] * 32
        await driver.close()
        await driver.close()
        await driver.open()
        assert values(await driver.read()) == [1.0] * 32


LAYOUTS: list[dict[str, object]] = [
    {},
    {"length_bytes": 1},
    {"length_order": "little", "crc_order": "big"},
    {"crc": "ccitt-false", "crc_order": "big"},
    {"crc": "xmodem"},
    {"crc": "arc", "crc_skips_start": True},
    {"start": 0x7E, "function": 0x01, "request_data": "01 20"},
]


@pytest.mark.parametrize(
    ("layout", "bits", "lowest_first"),
    [(layout, 8, True) for layout in LAYOUTS]
    + [({}, bits, first) for bits in (1, 2, 4) for first in (True, False)],
)
async def test_the_protocol_of_another_maker_is_data(
    controller: Controller, layout: dict[str, object], bits: int, lowest_first: bool
) -> None:
    """Read by the driver, written by hand here: detectors 1, 2 and 6 of 8 are taken."""
    faulty = (2,) if bits > 1 else ()
    states = SHIPPED.controller.states.model_copy(
        update={"bits": bits, "lowest_first": lowest_first, "faulty": faulty, "offset": 1}
    )
    profile = with_section(states=states, **layout)
    profile = profile.model_copy(update={"points": SHIPPED.points[:8]})
    taken = [1, 1, 0, 0, 0, 1, 0, 0]
    groups = [taken[at : at + 8 // bits] for at in range(0, 8, 8 // bits)]
    data = bytes(
        int("".join(f"{s:0{bits}b}" for s in (group if not lowest_first else group[::-1])), 2)
        for group in groups
    )
    section = profile.controller
    control = section.reply_flag | section.function
    controller.script = lambda request: [frame(section, UNIT, control, b"\xee" + data)]
    async with driver_of(controller, profile) as driver:
        readings = await driver.read()
    assert [reading.value for reading in readings] == [float(state) for state in taken]


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(said([1] * 8)), st.just(said([0] * 4, unit=9)))))
def test_only_a_whole_frame_of_this_controller_is_ever_an_answer(pieces: list[bytes]) -> None:
    codec = Codec(SHIPPED.controller)
    look, received = codec.look_for(UNIT), b""
    for piece in pieces:
        received += piece
        found = look(received)
        for answer in filter(None, (found.answer, found.likely)):
            assert answer[1] == UNIT
            assert answer == frame(SHIPPED.controller, answer[1], answer[2], answer[5:-2])
