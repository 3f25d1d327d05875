"""A driver reads what the meter says, and takes nothing for its answer that is not."""

import pytest

from drivers.contract import ProfileMismatch
from models.profile.cjt188 import Read
from models.reading import Quality, Reading, Reason
from tests.drivers.cjt188.conftest import ByteMeter, Drivers, a_point, a_profile, frame
from tests.support.scripted_line import ScriptedLine

ONE = a_profile(a_point("volume_m3", 0))


def seen(readings: list[Reading]) -> list[float | Reason | None]:
    """Values, and the reasons where there are none."""
    assert all((reading.value is None) == (reading.quality is Quality.BAD) for reading in readings)
    return [Reason(r.reason) if r.value is None else r.value for r in readings]


async def test_a_request_wakes_the_line_and_is_that_of_the_standard(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("1F90", "00 77 66 55 2C")
    driver = drivers(ONE)
    await driver.open()
    assert seen(await driver.read()) == [556677.0]
    await driver.close()
    assert port.asked == [bytes.fromhex("68 10 44332211003378 01 03 1F9000 80 16")]
    assert port.woken == [4]


async def test_requests_are_counted_and_begin_again_after_255(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("1F90", "00 77 66 55 2C")
    driver = drivers(ONE)
    for _ in range(257):
        assert seen(await driver.read()) == [556677.0]
    assert [request[13] for request in port.asked] == [*range(256), 0]


async def test_a_meter_that_takes_one_serial_number_gets_it_every_time(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("901F", "00 77 66 55 2C")
    driver = drivers(a_profile(a_point("volume_m3", 0), serial_number=1, di_order="high_first"))
    for _ in range(2):
        assert seen(await driver.read()) == [556677.0]
    assert {request[11:14] for request in port.asked} == {bytes.fromhex("901F01")}


async def test_the_late_reply_to_a_former_question_is_never_the_answer(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    held: list[bytes] = []

    def script(request: bytes) -> list[bytes]:
        """Every reply comes one request too late, just before the right one."""
        number = len(port.asked)
        meter.set("1F90", f"{number:02d} 00 00 00 2C")
        honest = b"".join(meter.answer(request))
        before, held[:] = list(held), [honest]
        return [*before, honest] if number % 3 else before

    port.script = script
    driver = drivers(ONE)
    for _ in range(6):
        [reading] = await driver.read()
        assert reading.value == len(port.asked) / 100


async def test_a_late_reply_is_told_from_another_also_where_all_have_one_number(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    """Nothing in it tells; so the question is asked again until the late reply is out of the way."""
    meter.set("1F90", "01 00 00 00 2C")
    late = b"".join(meter.answer(frame(0x01, bytes.fromhex("1F9001"))))
    driver = drivers(a_profile(a_point("volume_m3", 0), serial_number=1, retries=0))
    port.script = lambda request: []
    assert seen(await driver.read()) == [Reason.NO_REPLY]
    meter.set("1F90", "02 00 00 00 2C")
    port.script = lambda request: [late] if len(port.asked) == 2 else meter.answer(request)
    assert seen(await driver.read()) == [0.02]


async def test_a_refusal_is_no_value(port: ScriptedLine, meter: ByteMeter, drivers: Drivers) -> None:
    assert seen(await drivers(ONE).read()) == [Reason.REFUSED]
    assert len(port.asked) == 1


async def test_each_identifier_is_asked_for_and_fails_alone(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("1F90", "00 01 00 00 2C")
    profile = a_profile(
        a_point("settled_m3", 0, di=0xD120),
        a_point("volume_m3", 0),
        reads=(Read(di=0x901F, length=5), Read(di=0xD120, length=5)),
    )
    assert seen(await drivers(profile).read()) == [Reason.REFUSED, 1.0]
    meter.set("20D1", "00 02 00 00 2C")
    assert seen(await drivers(profile).read()) == [2.0, 1.0]


async def test_whoever_is_alone_answers_the_wildcard(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("1F90", "00 01 00 00 2C")
    assert seen(await drivers(ONE, "A" * 14).read()) == [1.0]


async def test_a_lost_reply_costs_one_retry_and_a_silent_meter_two_attempts(
    port: ScriptedLine, meter: ByteMeter, drivers: Drivers
) -> None:
    meter.set("1F90", "00 01 00 00 2C")
    port.script = lambda request: [] if len(port.asked) == 1 else meter.answer(request)
    assert seen(await drivers(ONE).read()) == [1.0]
    assert len(port.asked) == 2
    port.script = lambda request: []
    assert seen(await drivers(ONE).read()) == [Reason.NO_REPLY]
    assert len(port.asked) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        frame(0x81, bytes.fromhex("1F9000 00010000 2C"), "78330011223345"),
        frame(0x81, bytes.fromhex("1F9000 00010000 2C"), meter_type=0x11),
        frame(0x81, bytes.fromhex("1F9063 00010000 2C")),
        frame(0x81, bytes.fromhex("20D100 00010000 2C")),
        frame(0x81, bytes.fromhex("1F9000 00010000 2C"))[:-1],
        frame(0x01, bytes.fromhex("1F9000")) * 3,
        b"\xff" * 30,
    ],
    ids=["another meter", "another type", "another number", "another identifier", "cut", "echoes", "noise"],
)
async def test_what_is_no_answer_is_never_a_value(port: ScriptedLine, drivers: Drivers, wrong: bytes) -> None:
    port.script = lambda request: [wrong]
    [reading] = await drivers(ONE).read()
    assert (reading.value, reading.quality) == (None, Quality.BAD)


def test_what_cannot_be_asked_is_told_before(drivers: Drivers) -> None:
    with pytest.raises(ProfileMismatch, match="14 digits"):
        drivers(ONE, "1234")
    with pytest.raises(ProfileMismatch, match="no parameter 'ct'"):
        drivers(ONE, parameters={"ct": 20})
