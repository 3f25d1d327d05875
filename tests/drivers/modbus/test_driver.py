"""A driver reads what the device says, and of what it refuses, loses only that."""

import asyncio
from typing import Any

import pytest

from drivers.contract import DeviceUnreachable, ProfileMismatch
from drivers.modbus.driver import SPLIT_LASTS_S, make_driver
from drivers.modbus.tcp import ModbusTcpLink
from models.profile.modbus import ModbusProfile
from models.reading import Quality, Reading, Reason
from models.times import Clock
from tests.drivers.modbus.conftest import Drivers
from tests.support.byte_server import Asked, ByteServer, HangUp, framed
from tests.support.clocks import VirtualClock
from tests.support.profiles import a_point, a_profile

READ = 3


def forty_points(**section: Any) -> ModbusProfile:
    return a_profile(*(a_point(f"p_{address:02}", address) for address in range(40)), **section)


def fill(server: ByteServer, count: int = 40) -> None:
    for address in range(count):
        server.words[READ, address] = 1000 + address


def not_good(readings: list[Reading]) -> dict[str, Reason]:
    assert all((reading.value is None) == (reading.quality is Quality.BAD) for reading in readings)
    return {reading.point: reading.reason for reading in readings if reading.quality is not Quality.GOOD}


async def test_a_reading_is_what_the_register_holds(server: ByteServer, drivers: Drivers) -> None:
    server.set(READ, 6, "43663333")
    driver = drivers(a_profile(a_point("voltage_v", 6, "float32", decimals=1)), unit=7)
    await driver.open()
    [reading] = await driver.read()
    await driver.close()
    assert (reading.device_id, reading.point, reading.value) == ("meter-07", "voltage_v", 230.2)
    assert server.asked[0].frame.hex(" ") == "00 01 00 00 00 06 07 03 00 06 00 02"


async def test_readings_come_in_the_order_of_the_profile(server: ByteServer, drivers: Drivers) -> None:
    fill(server)
    driver = drivers(a_profile(a_point("late", 30), a_point("early", 2), a_point("middle", 9)))
    assert [(r.point, r.value) for r in await driver.read()] == [
        ("late", 1030.0), ("early", 1002.0), ("middle", 1009.0)
    ]  # fmt: skip


async def test_the_measured_time_is_the_middle_of_its_own_request(server: ByteServer) -> None:
    now = [1_000_000]
    clock = Clock(now_ms=lambda: now[0], monotonic_s=lambda: now[0] / 1000, sleep=asyncio.sleep)

    def slow(asked: Asked, honest: bytes) -> list[bytes]:
        now[0] += 400 if asked.first == 0 else 100
        return [honest]

    server.twist = slow
    link = ModbusTcpLink("127.0.0.1", server.port, clock=clock)
    profile = a_profile(a_point("a", 0), a_point("b", 100))
    driver = make_driver(device_id="m", profile=profile, unit=1, link=link, parameters={}, clock=clock)
    await driver.open()
    first, second = await driver.read()
    await driver.close()
    assert (first.measured_ms, first.received_ms) == (1_000_200, 1_000_400)
    assert (second.measured_ms, second.received_ms) == (1_000_450, 1_000_500)


@pytest.mark.parametrize("code", [1, 2, 3, 4])
async def test_one_refused_register_costs_one_point_in_the_same_cycle(
    server: ByteServer, drivers: Drivers, code: int
) -> None:
    fill(server)
    server.refused[READ, 17] = code
    readings = await drivers(forty_points()).read()
    assert not_good(readings) == {"p_17": Reason.REFUSED}
    assert [r.value for r in readings if r.point != "p_17"] == [1000.0 + i for i in range(40) if i != 17]


async def test_the_search_is_not_repeated_before_an_hour_has_passed(
    server: ByteServer, drivers: Drivers, time: VirtualClock
) -> None:
    fill(server)
    server.refused[READ, 17] = 2
    driver = drivers(forty_points())
    await driver.read()
    server.asked.clear()
    await time.advance(SPLIT_LASTS_S - 1)
    assert not_good(await driver.read()) == {"p_17": Reason.REFUSED}
    assert server.requests() == [(READ, 0, 17), (READ, 17, 1), (READ, 18, 22)]
    server.asked.clear()
    server.refused.clear()
    await time.advance(1)
    assert not_good(await driver.read()) == {}
    assert server.requests() == [(READ, 0, 40)]


async def test_a_refused_point_that_comes_back_is_read_at_once(server: ByteServer, drivers: Drivers) -> None:
    fill(server)
    server.refused[READ, 17] = 2
    driver = drivers(forty_points())
    await driver.read()
    server.refused.clear()
    assert not_good(await driver.read()) == {}


async def test_a_device_that_refuses_everything_is_searched_once_and_then_asked_once(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.refused = {(READ, address): 4 for address in range(40)}
    driver = drivers(forty_points())
    assert set(not_good(await driver.read()).values()) == {Reason.REFUSED}
    server.asked.clear()
    assert len(not_good(await driver.read())) == 40
    assert server.requests() == [(READ, 0, 40)]
    server.refused.clear()
    assert not_good(await driver.read()) == {}


async def test_a_device_that_recovered_from_refusing_everything_is_searched_again(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.refused = {(READ, address): 4 for address in range(40)}
    driver = drivers(forty_points())
    await driver.read()
    server.refused.clear()
    await driver.read()
    server.refused[READ, 17] = 2
    assert not_good(await driver.read()) == {"p_17": Reason.REFUSED}


async def test_refused_registers_in_several_places_cost_just_their_points(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.refused = {(READ, address): 2 for address in (0, 8, 9, 39)}
    driver = drivers(forty_points())
    for _ in range(2):
        assert not_good(await driver.read()) == dict.fromkeys(
            ["p_00", "p_08", "p_09", "p_39"], Reason.REFUSED
        )
    server.asked.clear()
    await driver.read()
    assert server.requests() == [(READ, 0, 1), (READ, 1, 7), (READ, 8, 2), (READ, 10, 29), (READ, 39, 1)]


async def test_a_refused_register_in_a_gap_costs_no_point(server: ByteServer, drivers: Drivers) -> None:
    server.set(READ, 0, "0001 0002 0003 0004 0005 0006")
    server.refused[READ, 3] = 2
    points = [a_point(f"p_{address}", address) for address in (0, 1, 2, 4, 5)]
    driver = drivers(a_profile(*points, max_gap=5))
    for _ in range(3):
        assert [reading.value for reading in await driver.read()] == [1, 2, 3, 5, 6]
    server.asked.clear()
    await driver.read()
    assert len(server.asked) <= 3


async def test_parts_are_not_joined_again_over_a_gap_that_may_be_refused(
    server: ByteServer, drivers: Drivers
) -> None:
    server.refused = {(READ, 3): 2, (READ, 5): 2}
    points = [a_point(f"p_{address}", address) for address in (0, 1, 2, 4, 5)]
    driver = drivers(a_profile(*points, max_gap=5))
    await driver.read()
    server.asked.clear()
    assert not_good(await driver.read()) == {"p_5": Reason.REFUSED}
    assert server.requests() == [(READ, 0, 3), (READ, 4, 1), (READ, 5, 1)]


async def test_a_device_that_takes_fewer_registers_than_its_profile_says_is_read_in_parts(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.longest = 12
    driver = drivers(forty_points())
    assert not_good(await driver.read()) == {}
    server.asked.clear()
    assert not_good(await driver.read()) == {}
    assert server.requests() == [(READ, 0, 10), (READ, 10, 10), (READ, 20, 10), (READ, 30, 10)]


async def test_a_short_device_with_a_refused_register_settles_too(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.longest, server.refused = 12, {(READ, 17): 2}
    driver = drivers(forty_points())
    for _ in range(4):
        assert not_good(await driver.read()) == {"p_17": Reason.REFUSED}
    server.asked.clear()
    await driver.read()
    settled = server.requests()
    server.asked.clear()
    await driver.read()
    assert server.requests() == settled
    assert sum(count for *_, count in settled) == 40  # nothing is asked twice


async def test_bits_of_one_refused_register_are_not_asked_for_one_by_one(
    server: ByteServer, drivers: Drivers
) -> None:
    server.refused[READ, 4] = 2
    points = [a_point(f"bit_{bit:02}", 4, "bool", bit=bit) for bit in range(16)]
    readings = await drivers(a_profile(*points, a_point("other", 5))).read()
    assert set(not_good(readings)) == {point.name for point in points}
    assert server.requests() == [(READ, 4, 2), (READ, 4, 1), (READ, 5, 1)]


async def test_states_that_make_a_reply_equal_its_request_are_read_in_parts(
    server: ByteServer, drivers: Drivers
) -> None:
    """21 coils from 0x0301 on, whose three bytes 01 00 15 say address and count of the request again."""
    points = [a_point(f"c_{n:02}", 0x0301 + n, table="coil") for n in range(21)]
    for n in (0, 16, 18, 20):
        server.words[1, 0x0301 + n] = 1
    driver = drivers(a_profile(*points, reply_timeout_s=0.1))
    for _ in range(2):
        readings = await driver.read()
        assert [n for n, reading in enumerate(readings) if reading.value == 1.0] == [0, 16, 18, 20]
        assert {reading.quality for reading in readings} == {Quality.GOOD}
    assert server.requests()[0] == (1, 0x0301, 21)


@pytest.mark.parametrize("bad", [(3, 4), (0, 39), (11, 12, 30), (5, 17, 18, 19, 36)])
async def test_several_bad_registers_cost_just_their_points_in_the_same_cycle(
    server: ByteServer, drivers: Drivers, time: VirtualClock, bad: tuple[int, ...]
) -> None:
    fill(server)
    server.refused = {(READ, address): 2 for address in bad}
    driver = drivers(forty_points())
    for _ in range(3):
        readings = await driver.read()
        assert not_good(readings) == {f"p_{address:02}": Reason.REFUSED for address in bad}
        assert all(r.value == 1000.0 + n for n, r in enumerate(readings) if n not in bad)
    server.asked.clear()
    await driver.read()
    settled = len(server.asked)
    assert settled <= 2 * len(bad) + 1  # each bad one alone, and what lies between them
    await time.advance(SPLIT_LASTS_S)
    server.asked.clear()
    assert len(not_good(await driver.read())) == len(bad)
    assert server.requests()[0] == (READ, 0, 40)


async def test_a_bad_register_in_a_gap_and_a_short_device_cost_no_point(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server, 60)
    server.refused[READ, 31] = 2
    server.longest = 9
    points = [
        a_point(f"p_{address:02}", address) for address in range(60) if address % 10 < 8 and address != 31
    ]
    driver = drivers(a_profile(*points, max_gap=4))
    for _ in range(3):
        readings = await driver.read()
        assert not_good(readings) == {}
        assert [r.value for r in readings] == [1000.0 + point.address for point in points]
    server.asked.clear()
    await driver.read()
    settled = server.requests()
    server.asked.clear()
    await driver.read()
    assert server.requests() == settled


async def test_a_device_that_was_silent_is_asked_one_question_until_it_answers(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.units = set()
    profile = a_profile(*(a_point(f"p_{i}", 200 * i) for i in range(4)), reply_timeout_s=0.05, retries=3)
    driver = drivers(profile)
    await driver.read()
    for _ in range(3):
        server.asked.clear()
        assert set(not_good(await driver.read()).values()) == {Reason.NO_REPLY}
        assert server.requests() == [(READ, 0, 1)]
    server.units = None
    server.asked.clear()
    assert not_good(await driver.read()) == {}
    assert len(server.asked) == 4


async def test_a_search_that_the_device_left_unanswered_is_not_remembered(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)
    server.refused[READ, 17] = 2
    server.twist = lambda asked, honest: [] if asked.count < 40 else [honest]
    driver = drivers(forty_points(retries=0))
    assert set(not_good(await driver.read()).values()) == {Reason.NO_REPLY}
    server.twist = None
    server.asked.clear()
    assert not_good(await driver.read()) == {"p_17": Reason.REFUSED}
    assert server.requests()[0] == (READ, 0, 40)


async def test_a_lost_reply_costs_one_retry(server: ByteServer, drivers: Drivers) -> None:
    fill(server)
    server.twist = lambda asked, honest: [honest] if len(server.asked) > 1 else []
    assert not_good(await drivers(forty_points()).read()) == {}
    assert server.requests() == [(READ, 0, 40)] * 2
    assert server.asked[0].transaction != server.asked[1].transaction


async def test_a_busy_device_is_asked_once_more(server: ByteServer, drivers: Drivers) -> None:
    fill(server)

    def busy_at_first(asked: Asked, honest: bytes) -> list[bytes]:
        if len(server.asked) == 1:
            return [framed(asked.transaction, asked.unit, b"\x83\x06")]
        return [honest]

    server.twist = busy_at_first
    assert not_good(await drivers(forty_points()).read()) == {}
    assert len(server.asked) == 2


async def test_a_device_that_stays_busy_is_not_searched(server: ByteServer, drivers: Drivers) -> None:
    server.twist = lambda asked, honest: [framed(asked.transaction, asked.unit, b"\x83\x06")]
    assert set(not_good(await drivers(forty_points()).read()).values()) == {Reason.REFUSED}
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("code", "reason", "requests"),
    [
        pytest.param(0x0A, Reason.UNREACHABLE, 1, id="no path"),
        pytest.param(0x0B, Reason.NO_REPLY, 2, id="no answer from the device"),
    ],
)
async def test_what_a_gateway_says_of_a_device_behind_it_is_no_refusal(
    server: ByteServer, drivers: Drivers, code: int, reason: Reason, requests: int
) -> None:
    server.twist = lambda asked, honest: [framed(asked.transaction, asked.unit, bytes([0x83, code]))]
    assert set(not_good(await drivers(forty_points()).read()).values()) == {reason}
    assert len(server.asked) == requests


async def test_a_silent_device_is_given_up_after_three_requests(server: ByteServer, drivers: Drivers) -> None:
    server.units = {2}
    profile = a_profile(*(a_point(f"p_{i}", 200 * i) for i in range(10)), reply_timeout_s=0.05)
    readings = await drivers(profile).read()
    assert set(not_good(readings).values()) == {Reason.NO_REPLY}
    assert len(readings) == 10
    assert server.requests() == [(READ, 0, 1), (READ, 0, 1), (READ, 200, 1)]


async def test_a_block_that_a_device_ignores_costs_just_its_points(
    server: ByteServer, drivers: Drivers
) -> None:
    server.twist = lambda asked, honest: [] if asked.first == 200 else [honest]
    profile = a_profile(*(a_point(f"p_{i}", 100 * i) for i in range(5)), reply_timeout_s=0.3)
    assert not_good(await drivers(profile).read()) == {"p_2": Reason.NO_REPLY}


async def test_a_silent_unit_does_not_disturb_the_others_of_its_link(
    server: ByteServer, drivers: Drivers
) -> None:
    server.units = {1, 3}
    fill(server)
    profile = forty_points(retries=0)
    assert not_good(await drivers(profile, unit=1).read()) == {}
    assert len(not_good(await drivers(profile, unit=2).read())) == 40
    assert not_good(await drivers(profile, unit=3).read()) == {}
    assert server.connections == 1


async def test_without_a_connection_all_points_are_unreachable_at_once(
    server: ByteServer, drivers: Drivers
) -> None:
    await server.stop()
    profile = a_profile(*(a_point(f"p_{i}", 200 * i) for i in range(10)), reply_timeout_s=60)
    driver = drivers(profile)
    with pytest.raises(DeviceUnreachable) as caught:
        await driver.open()
    assert caught.value.endpoint == f"127.0.0.1:{server.port}"
    readings = await driver.read()
    assert set(not_good(readings).values()) == {Reason.UNREACHABLE}
    assert len(readings) == 10


async def test_a_connection_that_breaks_while_a_reply_is_awaited_is_made_again_at_once(
    server: ByteServer, drivers: Drivers
) -> None:
    fill(server)

    def hang_up_once(asked: Asked, honest: bytes) -> list[bytes]:
        if len(server.asked) == 1:
            raise HangUp
        return [honest]

    server.twist = hang_up_once
    driver = drivers(forty_points(reply_timeout_s=60, retries=0))
    assert not_good(await driver.read()) == {}
    assert server.connections == 2


async def test_a_device_that_always_hangs_up_is_unreachable(server: ByteServer, drivers: Drivers) -> None:
    def hang_up(asked: Asked, honest: bytes) -> list[bytes]:
        raise HangUp

    server.twist = hang_up
    profile = a_profile(*(a_point(f"p_{i}", 200 * i) for i in range(10)), reply_timeout_s=60)
    readings = await drivers(profile).read()
    assert set(not_good(readings).values()) == {Reason.UNREACHABLE}
    assert len(server.asked) == 3


async def test_a_device_that_comes_back_is_read_again(
    server: ByteServer, drivers: Drivers, time: VirtualClock
) -> None:
    fill(server)
    driver = drivers(forty_points())
    await driver.open()
    assert not_good(await driver.read()) == {}
    port = server.port
    await server.stop()
    for _ in range(6):
        assert set(not_good(await driver.read()).values()) == {Reason.UNREACHABLE}
        await time.advance(10)
    await server.start(port)
    assert not_good(await driver.read()) == {}


async def test_the_trace_shows_every_byte_of_the_cycle(server: ByteServer, drivers: Drivers) -> None:
    server.set(READ, 0, "1234")
    stray = framed(99, 1, b"\x03\x02\x00\x00")

    def twist(asked: Asked, honest: bytes) -> list[bytes]:
        return [stray + honest] if len(server.asked) > 1 else []

    server.twist = twist
    readings, trace = await drivers(a_profile(a_point("x", 0))).read_traced()
    assert [reading.value for reading in readings] == [float(0x1234)]
    lost, answered = trace
    assert (lost.request.hex(" "), lost.replies) == ("00 01 00 00 00 06 01 03 00 00 00 01", ())
    assert "no reply" in lost.problem
    assert [frame.hex(" ") for frame in answered.replies] == [
        stray.hex(" "),
        "01 01 00 00 00 05 01 03 02 12 34",
    ]
    assert answered.problem == ""


async def test_a_parameter_that_the_profile_does_not_have_is_a_mismatch(drivers: Drivers) -> None:
    with pytest.raises(ProfileMismatch, match=r"meter-01: ctt: profile test-meter has no parameter 'ctt'"):
        drivers(a_profile(a_point("x", 0), parameters={"ct": 1}), parameters={"ctt": 20})
    with pytest.raises(ProfileMismatch, match=r"meter-01: ct: must be a number .* decimals; correct"):
        drivers(a_profile(a_point("x", 0), parameters={"ct": 1}), parameters={"ct": 0})


async def test_the_links_of_two_drivers_end_with_the_second(
    server: ByteServer, drivers: Drivers, link: ModbusTcpLink
) -> None:
    one, two = drivers(forty_points(), unit=1), drivers(forty_points(), unit=2)
    await one.open()
    await two.open()
    await one.close()
    assert not_good(await two.read()) == {}
    await two.close()
    await two.close()
    assert server.connections == 1
    await one.open()
    assert not_good(await one.read()) == {}
    assert server.connections == 2
