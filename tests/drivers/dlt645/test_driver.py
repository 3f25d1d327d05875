"""A driver reads what the meter says, in blocks and frames as the meter has them, and nothing else."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from drivers.contract import CommandRefused, DeviceUnreachable, ProfileMismatch
from drivers.dlt645.driver import SPLIT_LASTS_S
from drivers.dlt645.find import find_address
from drivers.line import ReplyTimeout, SerialLine
from models.profile.dlt645 import Block, ClockSection, Dlt645Profile
from models.reading import Quality, Reading, Reason
from tests.drivers.dlt645.conftest import ByteMeter, Drivers, a_point, a_profile, frame, plain
from tests.support.clocks import VirtualClock
from tests.support.scripted_line import ScriptedLine

VOLTS = {0x02010100: "01 23", 0x02010200: "02 23", 0x02010300: "03 23"}
VOLT_BLOCK = 0x0201FF00


def volts(**section: Any) -> Dlt645Profile:
    """Three voltages in a block."""
    points = [a_point(f"l{number}_v", di) for number, di in enumerate(VOLTS, 1)]
    block = Block(di=VOLT_BLOCK, points=tuple(point.name for point in points))
    return a_profile(*points, blocks=(block,), **section)


def fill(meter: ByteMeter, *, block: bool = True) -> None:
    for di, data in VOLTS.items():
        meter.set(di, data)
    if block:
        meter.set(VOLT_BLOCK, " ".join(VOLTS.values()))


def identifiers(port: ScriptedLine) -> list[int]:
    asked = [int.from_bytes(plain(request)[:4], "little") for request in port.asked]
    port.asked.clear()
    return asked


def seen(readings: list[Reading]) -> list[float | Reason | None]:
    """Values, and the reasons where there are none."""
    assert all((reading.value is None) == (reading.quality is Quality.BAD) for reading in readings)
    return [Reason(r.reason) if r.value is None else r.value for r in readings]


async def test_a_request_wakes_the_line_and_carries_the_address_and_the_identifier(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set(0x00010000, "78 56 34 12")
    driver = drivers(a_profile(a_point("energy", 0x00010000, 4, scale=0.01, decimals=2)))
    await driver.open()
    [reading] = await driver.read()
    await driver.close()
    assert (reading.device_id, reading.point, reading.value) == ("meter", "energy", 123456.78)
    assert port.asked == [bytes.fromhex("68 129078563412 68 11 04 33333433 68 16")]
    assert port.woken == [4]


async def test_a_block_is_read_with_one_question(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    fill(meter)
    assert seen(await drivers(volts()).read()) == [2301.0, 2302.0, 2303.0]
    assert identifiers(port) == [VOLT_BLOCK]


async def test_a_refused_block_is_read_point_by_point_in_the_same_cycle_and_for_an_hour(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers, time: VirtualClock
) -> None:
    fill(meter, block=False)
    driver = drivers(volts())
    assert seen(await driver.read()) == [2301.0, 2302.0, 2303.0]
    assert identifiers(port) == [VOLT_BLOCK, *VOLTS]
    await time.advance(SPLIT_LASTS_S - 1)
    assert seen(await driver.read()) == [2301.0, 2302.0, 2303.0]
    assert identifiers(port) == [*VOLTS]
    fill(meter)
    await time.advance(1)
    assert seen(await driver.read()) == [2301.0, 2302.0, 2303.0]
    assert identifiers(port) == [VOLT_BLOCK]


async def test_a_point_that_is_refused_costs_no_other(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    fill(meter, block=False)
    del meter.data[0x02010200]
    driver = drivers(volts())
    for _ in range(2):
        assert seen(await driver.read()) == [2301.0, Reason.REFUSED, 2303.0]


async def test_a_meter_that_refuses_a_block_and_all_its_points_is_asked_once_from_then_on(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    driver = drivers(volts())
    assert seen(await driver.read()) == [Reason.REFUSED] * 3
    assert identifiers(port) == [VOLT_BLOCK, *VOLTS]
    assert seen(await driver.read()) == [Reason.REFUSED] * 3
    assert identifiers(port) == [VOLT_BLOCK]
    fill(meter)
    assert seen(await driver.read()) == [2301.0, 2302.0, 2303.0]


async def test_silence_while_points_are_read_apart_is_not_remembered(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    fill(meter, block=False)
    honest = meter.answer
    port.script = lambda request: [] if plain(request)[1] == 2 else honest(request)
    driver = drivers(volts())
    assert seen(await driver.read()) == [2301.0, Reason.NO_REPLY, 2303.0]
    port.script = honest
    identifiers(port)
    assert seen(await driver.read()) == [2301.0, 2302.0, 2303.0]
    assert list(dict.fromkeys(identifiers(port))) == [VOLT_BLOCK, *VOLTS]


async def test_a_block_that_is_too_short_is_read_point_by_point(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    fill(meter)
    meter.set(VOLT_BLOCK, "01 23")
    assert seen(await drivers(volts()).read()) == [2301.0, 2302.0, 2303.0]
    assert identifiers(port) == [VOLT_BLOCK, *VOLTS]


class InPieces:
    """A meter that answers in frames of two bytes."""

    def __init__(self, data: str) -> None:
        self.pieces = [bytes.fromhex(data)[at : at + 2] for at in range(0, len(bytes.fromhex(data)), 2)]
        self.lose_at: set[int] = set()  # these are lost once
        self.numbered: dict[int, int] = {}  # under another number than was asked for

    def answer(self, request: bytes) -> Iterable[bytes]:
        control, data = request[8], plain(request)
        number = 0 if control == 0x11 else data[4]
        if number in self.lose_at:
            self.lose_at.discard(number)
            return []
        more = 0x20 if number + 1 < len(self.pieces) else 0
        told = data[:4] + self.pieces[number]
        if control == 0x12:
            told += bytes((self.numbered.get(number, number),))
        return [frame(control | 0x80 | more, told)]


BLOCK_DATA = "01 23 02 23 03 23"


async def test_frames_that_follow_are_joined(port: ScriptedLine, drivers: Drivers) -> None:
    port.script = InPieces(BLOCK_DATA).answer
    assert seen(await drivers(volts()).read()) == [2301.0, 2302.0, 2303.0]
    assert [(request[8], plain(request).hex()) for request in port.asked] == [
        (0x11, "00ff0102"),
        (0x12, "00ff010201"),
        (0x12, "00ff010202"),
    ]


async def test_a_frame_that_is_lost_on_the_way_is_asked_for_again(
    port: ScriptedLine, drivers: Drivers
) -> None:
    meter = InPieces(BLOCK_DATA)
    meter.lose_at = {1}
    port.script = meter.answer
    assert seen(await drivers(volts()).read()) == [2301.0, 2302.0, 2303.0]
    assert [request[8] for request in port.asked] == [0x11, 0x12, 0x12, 0x12]


@pytest.mark.parametrize("number", [0, 1, 3, 255])
async def test_a_frame_out_of_order_is_refused(port: ScriptedLine, drivers: Drivers, number: int) -> None:
    meter = InPieces(BLOCK_DATA)
    meter.numbered = {2: number}
    port.script = meter.answer
    assert seen(await drivers(volts()).read()) == [Reason.BAD_REPLY] * 3


async def test_a_frame_that_follows_from_another_meter_is_refused(
    port: ScriptedLine, drivers: Drivers
) -> None:
    meter = InPieces(BLOCK_DATA)

    def script(request: bytes) -> Iterable[bytes]:
        for reply in meter.answer(request):
            yield reply if request[8] == 0x11 else frame(reply[8], plain(reply), "123456789013")

    port.script = script
    assert seen(await drivers(volts()).read()) == [Reason.BAD_REPLY] * 3


async def test_an_answer_without_end_is_given_up(port: ScriptedLine, drivers: Drivers) -> None:
    port.script = InPieces("01 23" * 200).answer
    assert seen(await drivers(volts()).read()) == [Reason.BAD_REPLY] * 3
    assert len(port.asked) <= 20


async def test_a_meter_of_1997_is_asked_in_its_own_words(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set(0x9010, "01 00 00 00")
    profile = a_profile(a_point("energy", 0x9010, 4, scale=0.01, decimals=2), edition="1997")
    assert seen(await drivers(profile).read()) == [0.01]
    assert port.asked == [frame(0x01, bytes.fromhex("1090"))]


async def test_a_meter_of_1997_that_has_more_to_say_is_not_half_believed(
    port: ScriptedLine, drivers: Drivers
) -> None:
    port.script = lambda request: [frame(0xA1, plain(request) + bytes.fromhex("0123"))]
    profile = a_profile(a_point("volts", 0xB611), edition="1997")
    assert seen(await drivers(profile).read()) == [Reason.BAD_REPLY]


TWO = a_profile(a_point("a_v", 0x02010100), a_point("b_v", 0x02010200))


async def test_whoever_answers_a_wildcard_first_is_meant_for_the_rest_of_the_cycle(
    port: ScriptedLine, drivers: Drivers
) -> None:
    meters = [ByteMeter("000000000001"), ByteMeter("000000000002")]
    for number, one in enumerate(meters, 1):
        one.set(0x02010100, f"0{number} 00")
        one.set(0x02010200, f"1{number} 00")
    order = meters
    port.script = lambda request: [reply for meter in order for reply in meter.answer(request)]
    driver = drivers(TWO, "AAAAAAAAAAAA")
    assert seen(await driver.read()) == [1.0, 11.0]
    assert [request[1:7].hex() for request in port.asked] == ["aa" * 6, "010000000000"]
    order = meters[::-1]
    assert seen(await driver.read()) == [2.0, 12.0]


async def test_a_part_of_an_address_is_enough(port: ScriptedLine, meter: ByteMeter, drivers: Drivers) -> None:
    meter.set(0x02010100, "01 00")
    meter.set(0x02010200, "02 00")
    assert seen(await drivers(TWO, "AAAAAAAA9012").read()) == [1.0, 2.0]
    assert seen(await drivers(TWO, "AAAAAAAA9013").read()) == [Reason.NO_REPLY] * 2


async def test_a_lost_reply_costs_one_retry(port: ScriptedLine, meter: ByteMeter, drivers: Drivers) -> None:
    meter.set(0x02010100, "01 00")
    meter.set(0x02010200, "02 00")
    port.script = lambda request: [] if len(port.asked) == 1 else meter.answer(request)
    assert seen(await drivers(TWO).read()) == [1.0, 2.0]
    assert len(port.asked) == 3


async def test_a_silent_meter_is_given_up_after_two_questions(port: ScriptedLine, drivers: Drivers) -> None:
    points = [a_point(f"p{number}_v", 0x02010100 + number) for number in range(20)]
    assert seen(await drivers(a_profile(*points)).read()) == [Reason.NO_REPLY] * 20
    assert len(port.asked) == 3  # the first of them twice


async def test_the_measured_time_is_the_middle_of_the_points_own_question(
    port: ScriptedLine, meter: ByteMeter, time: VirtualClock, drivers: Drivers
) -> None:
    meter.set(0x02010100, "01 00")
    meter.set(0x02010200, "02 00")
    began_ms = time.now_ms()
    answers: list[asyncio.Task[None]] = []

    async def later(request: bytes) -> None:
        await time.advance(0.4 if plain(request)[1] == 1 else 0.1)
        for reply in meter.answer(request):
            port.send(reply)

    def script(request: bytes) -> Iterable[bytes]:
        answers.append(asyncio.get_running_loop().create_task(later(request)))
        return []

    port.script = script
    first, second = await drivers(a_profile(*TWO.points, reply_timeout_s=20)).read()
    await asyncio.gather(*answers)
    assert (first.measured_ms - began_ms, first.received_ms - began_ms) == (200, 400)
    assert (second.measured_ms - began_ms, second.received_ms - began_ms) == (450, 500)


async def test_several_meters_share_a_line(port: ScriptedLine, drivers: Drivers) -> None:
    meters = [ByteMeter(f"00000000000{number}") for number in range(1, 4)]
    for number, one in enumerate(meters, 1):
        one.set(0x02010100, f"0{number} 00")
        one.set(0x02010200, f"1{number} 00")
    port.script = lambda request: [reply for meter in meters for reply in meter.answer(request)]
    made = [drivers(TWO, one.address, device_id=one.address) for one in meters]
    for driver in made:
        await driver.open()
    cycles = await asyncio.gather(*(driver.read() for driver in made))
    assert [seen(readings) for readings in cycles] == [[1.0, 11.0], [2.0, 12.0], [3.0, 13.0]]
    for driver in made:
        await driver.close()


def test_what_cannot_be_asked_is_told_before(drivers: Drivers) -> None:
    with pytest.raises(ProfileMismatch, match="12 digits"):
        drivers(TWO, "1234")
    with pytest.raises(ProfileMismatch, match="no parameter 'ct'"):
        drivers(TWO, parameters={"ct": 20})


CLOCK = ClockSection(
    date=0x04000101,
    time=0x04000102,
    max_off_s=300,
    midnight_s=300,
    once_in_h=24,
    source="this test",
    verified=True,
)


class ClockMeter(ByteMeter):
    """A meter whose clock is ahead of the gateway's, and which takes the time by broadcast."""

    def __init__(self, time: VirtualClock, ahead_s: float) -> None:
        super().__init__()
        self.time, self.ahead_s, self.takes = time, ahead_s, True
        self.told: list[str] = []

    def answer(self, request: bytes) -> list[bytes]:
        if request[8] == 0x08:
            self.told.append(plain(request).hex())
            if self.takes:
                self.ahead_s = 0
            return []
        local_s = int(self.time.now_ms() / 1000 + self.ahead_s) + 8 * 3600
        seconds = local_s % 86_400
        self.set(0x04000102, f"{seconds % 60:02d} {seconds // 60 % 60:02d} {seconds // 3600:02d}")
        days = local_s // 86_400 - 20717  # the clocks of the tests begin on 2026-09-21
        self.set(0x04000101, f"01 {21 + days:02d} 09 26")
        return super().answer(request)


WITH_CLOCK = a_profile(a_point("a_v", 0x02010100), clock=CLOCK)


async def test_the_time_is_set_by_a_broadcast_and_read_again(
    port: ScriptedLine, time: VirtualClock, drivers: Drivers
) -> None:
    meter = ClockMeter(time, -120)
    port.script = meter.answer
    facts = await drivers(WITH_CLOCK).act("set_time", {})
    assert facts == {"was_off_s": -120.0, "is_off_s": 0.0, "was_set": True}
    assert meter.told == ["201322210926"]  # 2026-09-21 22:13:20 in China
    [broadcast] = [request for request in port.asked if request[8] == 0x08]
    assert broadcast == frame(0x08, bytes.fromhex("201322210926"), "999999999999")


async def test_a_clock_that_is_right_is_left_alone(
    port: ScriptedLine, time: VirtualClock, drivers: Drivers
) -> None:
    meter = ClockMeter(time, 1)
    port.script = meter.answer
    facts = await drivers(WITH_CLOCK).act("set_time", {})
    assert (facts["was_set"], meter.told) == (False, [])


@pytest.mark.parametrize("ahead_s", [301, -301, 86_400])
async def test_a_clock_that_is_too_far_off_is_for_a_person(
    port: ScriptedLine, time: VirtualClock, drivers: Drivers, ahead_s: float
) -> None:
    meter = ClockMeter(time, ahead_s)
    port.script = meter.answer
    with pytest.raises(CommandRefused, match="set it at the meter"):
        await drivers(WITH_CLOCK).act("set_time", {})
    assert meter.told == []


@pytest.mark.parametrize("until_midnight_s", [299, 1, -1, -299])
async def test_no_clock_is_set_around_midnight(
    port: ScriptedLine, time: VirtualClock, drivers: Drivers, until_midnight_s: float
) -> None:
    meter = ClockMeter(time, -60)
    port.script = meter.answer
    await time.advance(86_400 - 80_000 - until_midnight_s)
    with pytest.raises(CommandRefused, match="midnight"):
        await drivers(WITH_CLOCK).act("set_time", {})
    assert meter.told == []


async def test_a_clock_is_set_once_a_day(port: ScriptedLine, time: VirtualClock, drivers: Drivers) -> None:
    meter = ClockMeter(time, 30)
    port.script = meter.answer
    driver = drivers(WITH_CLOCK)
    await driver.act("set_time", {})
    meter.ahead_s = 30
    with pytest.raises(CommandRefused, match=r"try again in 24\.0 h"):
        await driver.act("set_time", {})
    await time.advance(86_400)
    assert (await driver.act("set_time", {}))["was_set"]
    assert len(meter.told) == 2


async def test_a_meter_that_keeps_its_time_is_found_out(
    port: ScriptedLine, time: VirtualClock, drivers: Drivers
) -> None:
    meter = ClockMeter(time, 30)
    meter.takes = False
    port.script = meter.answer
    with pytest.raises(CommandRefused, match=r"kept its own time, which is \+30 s off"):
        await drivers(WITH_CLOCK).act("set_time", {})


async def test_a_silent_meter_may_be_told_later(port: ScriptedLine, drivers: Drivers) -> None:
    with pytest.raises(DeviceUnreachable):
        await drivers(WITH_CLOCK).act("set_time", {})


async def test_a_person_is_shown_what_the_meter_refused(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set(0x02010100, "01 00")
    _, (good, refused) = await drivers(TWO).read_traced()
    assert good.problem == ""
    assert refused.problem == "refused: no such data"
    assert refused.replies == (frame(0xD1, b"\x02"),)


async def test_the_address_of_a_meter_that_is_alone_is_found(port: ScriptedLine, line: SerialLine) -> None:
    own = bytes.fromhex("123456789012")[::-1]
    port.script = lambda request: [frame(0x93, own)] if request[8] == 0x13 else []
    assert await find_address(line, timeout_s=5) == "123456789012"
    assert port.asked == [bytes.fromhex("68 AAAAAAAAAAAA 68 13 00 DF 16")]
    port.script = lambda request: []
    with pytest.raises(ReplyTimeout, match=r"any DL/T 645 meter: no reply within 0\.1 s"):
        await find_address(line, timeout_s=0.1)


async def test_a_refusal_is_told_in_words(port: ScriptedLine, meter: ByteMeter, drivers: Drivers) -> None:
    with pytest.raises(CommandRefused, match="no such data"):
        await drivers(WITH_CLOCK).act("set_time", {})


async def test_what_a_meter_cannot_be_told_is_refused(meter: ByteMeter, drivers: Drivers) -> None:
    with pytest.raises(CommandRefused, match="can only be told to set_time"):
        await drivers(WITH_CLOCK).act("open", {})
    with pytest.raises(CommandRefused, match="takes no arguments"):
        await drivers(WITH_CLOCK).act("set_time", {"to": "tomorrow"})
    with pytest.raises(CommandRefused, match="does not say where its clock is"):
        await drivers(TWO).act("set_time", {})
