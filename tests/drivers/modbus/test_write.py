"""A point is set inside its range, once, and seen to be done; over Modbus TCP and RTU alike."""

import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import ActingDriver, CommandRefused
from drivers.line import ReplyTimeout
from drivers.modbus import encode
from drivers.modbus.decode import ReplyDecoder
from drivers.modbus.driver import ModbusDriver, make_driver
from drivers.modbus.plan import Request
from drivers.modbus.rtu_link import RtuLink
from drivers.modbus.write import WriteUnconfirmed
from models.profile.modbus import ByteOrder, ModbusPoint, ModbusProfile, RegisterType, WordOrder, Writable
from models.reading import Reading
from models.times import Clock
from tests.support.profiles import a_point, a_profile
from tests.support.rtu_bus import MemoryLine, RtuBus, Said, sealed
from tests.support.virtual_loop import in_virtual_time

RANGE = Writable(min=-1000, max=1000)
PROFILE = a_profile(
    a_point("wanted_c", 0, "int16", scale=0.1, decimals=1, writable=Writable(min=5, max=30)),
    a_point("limit_kw", 1, "float32", decimals=2, writable=Writable(min=0, max=500), word_order="low_first"),
    a_point("lamp_on", 3, "bool", bit=9, writable=Writable(min=0, max=1)),
    a_point("voltage_v", 4),
    a_point("relay_on", 7, table="coil", writable=Writable(min=0, max=1)),
    a_point("code", 8, "bcd32", writable=Writable(min=0, max=99_999_999)),
)


@dataclass
class Thermostat:
    """A device of raw bytes that does what it is told, unless a test wants it otherwise."""

    words: dict[int, int] = field(default_factory=dict)
    coils: dict[int, int] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    twist: Callable[[bytes, list[Said]], list[Said]] = lambda request, honest: honest
    obeys: bool = True

    def __call__(self, request: bytes) -> list[Said]:
        self.asked.append(request[1:-2])
        if request[1] not in (1, 3, 5, 6, 15, 16):
            return [Said(sealed(bytes((1, request[1] | 0x80, 1))))]
        function, first, word = request[1], *struct.unpack(">HH", request[2:6])
        table, reply = (self.coils if function in (1, 5, 15) else self.words), request[1:6]
        if function in (1, 3):
            shown = [table.get(first + n, 0) for n in range(word)]
            data = struct.pack(f">{word}H", *shown) if function == 3 else bytes((shown[0],))
            reply = bytes((function, len(data))) + data
        elif self.obeys and function in (5, 6):
            table[first] = word >> 15 if function == 5 else word
        elif self.obeys and function == 15:
            table[first] = request[7] & 1
        elif self.obeys:
            table |= dict(enumerate(struct.unpack(f">{word}H", request[7 : 7 + 2 * word]), first))
        return self.twist(request, [Said(sealed(request[:1] + reply))])

    def writes(self) -> list[str]:
        return [pdu.hex() for pdu in self.asked if pdu[0] in (5, 6, 15, 16)]


def told(
    scenario: Callable[[ModbusDriver, Thermostat], Awaitable[Any]], profile: ModbusProfile = PROFILE
) -> Any:
    async def main(clock: Clock) -> Any:
        device = Thermostat()
        link = RtuLink(MemoryLine(RtuBus({1: device}), clock=clock))
        driver = make_driver(device_id="d", profile=profile, unit=1, link=link, parameters={}, clock=clock)
        return await scenario(driver, device)

    return in_virtual_time(main)


def test_a_modbus_driver_can_be_told_to_do_something() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        assert isinstance(driver, ActingDriver)

    told(scenario)


@pytest.mark.parametrize(
    ("point", "value", "pdu"),
    [
        pytest.param("wanted_c", 21.5, "06 0000 00d7", id="one register"),
        pytest.param("limit_kw", 100, "10 0001 0002 04 0000 42c8", id="two registers, low word first"),
        pytest.param("relay_on", 1, "05 0007 ff00", id="a coil on"),
        pytest.param("relay_on", 0, "05 0007 0000", id="a coil off"),
        pytest.param("relay_on", True, "05 0007 ff00", id="a coil, said with true"),
        pytest.param("lamp_on", 1, "06 0003 0200", id="a bit of a register"),
        pytest.param("code", 12_345_678, "10 0008 0002 04 1234 5678", id="decimal digits"),
    ],
)  # fmt: skip
def test_a_point_is_set_by_the_function_that_fits_and_read_back(point: str, value: float, pdu: str) -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> dict[str, Any]:
        result = await driver.act("write", {"point": point, "value": value})
        assert device.writes() == [bytes.fromhex(pdu).hex()]
        assert device.asked[0] == device.asked[-1] != bytes.fromhex(pdu)
        [reading] = [reading for reading in await driver.read() if reading.point == point]
        assert reading.value == value
        return result

    request = sealed(bytes.fromhex("01" + pdu))
    assert told(scenario) == {
        "point": point,
        "before": 0.0,
        "after": float(value),
        "request": request.hex(" "),
        "reply": sealed(request[:6]).hex(" "),
    }


def test_a_device_that_lacks_the_short_functions_gets_the_long_ones() -> None:
    section = PROFILE.modbus.model_copy(update={"write_functions": (15, 16)})

    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        await driver.act("write", {"point": "wanted_c", "value": 21.5})
        await driver.act("write", {"point": "relay_on", "value": 1})
        assert device.writes() == ["10000000010200d7", "0f000700010101"]

    told(scenario, PROFILE.model_copy(update={"modbus": section}))


def test_the_other_bits_of_a_register_stay_as_they_are() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.words[3] = 0xFDF5
        await driver.act("write", {"point": "lamp_on", "value": 1})
        assert device.words[3] == 0xFFF5
        await driver.act("write", {"point": "lamp_on", "value": 0})
        assert device.words[3] == 0xFDF5

    told(scenario)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another action": ("open", {}, "can only be told to write"),
    "without a value": ("write", {"point": "wanted_c"}, "takes `point` and `value`"),
    "with something else": ("write", {"point": "wanted_c", "value": 20, "force": 1}, "and nothing else"),
    "no such point": ("write", {"point": "wanted", "value": 20}, "has no point 'wanted'"),
    "not writable": ("write", {"point": "voltage_v", "value": 20}, "does not allow to write it"),
    "too little": ("write", {"point": "wanted_c", "value": 4.9}, "4.9 is not within 5 to 30 V"),
    "too much": ("write", {"point": "wanted_c", "value": 1e300}, "is not within 5 to 30"),
    "not a number": ("write", {"point": "wanted_c", "value": float("nan")}, "no number"),
    "endless": ("write", {"point": "wanted_c", "value": float("inf")}, "no number"),
    "text": ("write", {"point": "wanted_c", "value": "21"}, "no number"),
    "nothing": ("write", {"point": "wanted_c", "value": None}, "no number"),
    "yes": ("write", {"point": "wanted_c", "value": True}, "no number"),
    "between two steps": ("write", {"point": "wanted_c", "value": 21.55}, "cannot hold 21.55; .* 21.[56]"),
    "half a digit": ("write", {"point": "code", "value": 0.5}, "a bcd32 cannot hold 0.5"),
    "half a bit": ("write", {"point": "lamp_on", "value": 0.5}, "a bit is 0 or 1"),
}


@pytest.mark.parametrize(("action", "arguments", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_before_anything_is_sent(
    action: str, arguments: dict[str, Any], why: str
) -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        with pytest.raises(CommandRefused, match=why):
            await driver.act(action, arguments)
        assert device.asked == []

    told(scenario)


SET = {"point": "wanted_c", "value": 21.5}


def is_write(request: bytes) -> bool:
    return request[1] in (5, 6, 15, 16)


def test_a_device_that_says_no_is_heard() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.obeys = False
        device.twist = lambda request, honest: (
            [Said(sealed(bytes((1, request[1] | 0x80, 3))))] if is_write(request) else honest
        )
        with pytest.raises(
            CommandRefused, match=r"write wanted_c refused: the device says no \(exception 3\)"
        ):
            await driver.act("write", SET)

    told(scenario)


def test_what_cannot_be_read_is_not_written() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.twist = lambda request, honest: [Said(sealed(bytes((1, request[1] | 0x80, 2))))]
        with pytest.raises(CommandRefused, match="nobody could see what was written"):
            await driver.act("write", SET)
        assert device.writes() == []

    told(scenario)


def test_a_silent_device_is_not_written_to() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.twist = lambda request, honest: []
        with pytest.raises(ReplyTimeout):
            await driver.act("write", SET)
        assert device.writes() == []

    told(scenario)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_write_whose_answer_is_lost_is_sent_once_and_looked_at(lost: int) -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> dict[str, Any]:
        left = [lost]

        def lose(request: bytes, honest: list[Said]) -> list[Said]:
            if is_write(request) or (device.writes() and left[0] > 1):
                left[0] -= 1
                return []
            return honest

        device.twist = lose
        result: dict[str, Any] = await driver.act("write", SET)
        assert device.writes() == ["060000" + "00d7"]
        return result

    result = told(scenario)
    assert (result["after"], result["reply"]) == (21.5, "")


def test_a_device_that_does_not_obey_is_found_out() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.obeys = False
        device.words[0] = 200
        with pytest.raises(WriteUnconfirmed, match=r"d: wanted_c: shows 20 after the write"):
            await driver.act("write", SET)
        assert len(device.writes()) == 1

    told(scenario)


def test_a_device_that_is_busy_may_be_told_again() -> None:
    async def scenario(driver: ModbusDriver, device: Thermostat) -> None:
        device.obeys = False
        device.twist = lambda request, honest: (
            [Said(sealed(bytes((1, request[1] | 0x80, 6))))] if is_write(request) else honest
        )
        with pytest.raises(WriteUnconfirmed, match="does not take it now"):
            await driver.act("write", SET)

    told(scenario)


def test_a_late_answer_to_a_read_is_not_what_was_read_back() -> None:
    """The device answers the first read too late; what it says then is from before the write."""

    async def scenario(driver: ModbusDriver, device: Thermostat) -> dict[str, Any]:
        device.words[0] = 200

        def slow(request: bytes, honest: list[Said]) -> list[Said]:
            return [Said(honest[0].data, 0.4)] if len(device.asked) == 1 else honest

        device.twist = slow
        result: dict[str, Any] = await driver.act("write", SET)
        return result

    result = told(scenario)
    assert (result["before"], result["after"]) == (20.0, 21.5)


# Values and registers, both ways.

TYPES: tuple[RegisterType, ...] = (
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bcd16", "bcd32", "bcd64",
)  # fmt: skip
ORDERS: list[tuple[WordOrder, ByteOrder]] = [
    ("high_first", "big"), ("high_first", "little"), ("low_first", "big"), ("low_first", "little")
]  # fmt: skip
SCALES = (1.0, 0.1, 0.01, 0.001, 10.0, -0.1, 0.25, 0.005, 3.0)


def decoded(point: ModbusPoint, data: bytes, parameters: dict[str, float]) -> float | None:
    request = Request("holding", point.address, point.width, (0,))
    readings: list[Reading | None] = [None]
    section = PROFILE.modbus
    ReplyDecoder(request, [point], section, parameters, "d").decode(data, 0, 0, readings)
    [reading] = filter(None, readings)
    return reading.value


def encoded(point: ModbusPoint, value: float, parameters: dict[str, float]) -> bytes | None:
    """What the writer would send; None when it would refuse."""
    for raw in encode.raws(point, value, parameters):
        data = encode.registers(point, PROFILE.modbus, raw)
        if decoded(point, data, parameters) == float(value):
            return data
    return None


@st.composite
def a_place(draw: st.DrawFn) -> tuple[ModbusPoint, bytes, dict[str, float]]:
    type_ = draw(st.sampled_from(TYPES))
    words, bytes_ = draw(st.sampled_from(ORDERS))
    point = a_point(
        "p", 5, type_, word_order=words, byte_order=bytes_, scale=draw(st.sampled_from(SCALES)),
        offset=draw(st.sampled_from([0.0, -40.0, 0.5])), decimals=draw(st.integers(0, 6)),
        multiply_by=draw(st.sampled_from([(), ("ct",), ("ct", "pt")])),
    )  # fmt: skip
    parameters = {"ct": draw(st.sampled_from([1.0, 20.0, 0.5])), "pt": draw(st.sampled_from([1.0, 100.0]))}
    return point, draw(st.binary(min_size=2 * point.width, max_size=2 * point.width)), parameters


@settings(max_examples=2500, deadline=None)
@given(a_place())
def test_every_value_that_registers_can_show_can_be_written_and_shows_again(
    place: tuple[ModbusPoint, bytes, dict[str, float]],
) -> None:
    point, data, parameters = place
    value = decoded(point, data, parameters)
    if value is None:
        return  # registers that are no number
    written = encoded(point, value, parameters)
    if written is None:  # refused; which only a value may be whose last digit no float can tell
        assert abs(value) * 10**point.decimals > 2**53
    else:
        assert decoded(point, written, parameters) == value


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(("words", "bytes_"), ORDERS)
def test_registers_come_back_bit_for_bit_where_a_value_has_but_one_form(
    type_: RegisterType, words: WordOrder, bytes_: ByteOrder
) -> None:
    point = a_point("p", 0, type_, word_order=words, byte_order=bytes_, decimals=9 if "float" in type_ else 0)
    roll = random.Random(type_ + words + bytes_)
    for _ in range(100):
        if type_.startswith("bcd"):
            digits = "".join(roll.choice("0123456789") for _ in range(min(15, 4 * point.width)))
            data = in_order(bytes.fromhex(digits.zfill(4 * point.width)), words, bytes_)
        elif type_.startswith("float"):
            number = roll.choice((-1, 1)) * roll.randrange(1 << 20) / 256  # exact in both, with 9 decimals
            data = encode.registers(point, PROFILE.modbus, number)
            assert struct.unpack(">f" if point.width == 2 else ">d", straight(data, words, bytes_)) == (
                number,
            )
        else:
            data = roll.randbytes(2) + bytes(2 * point.width - 2)  # small enough for a float to hold
            data = in_order(data[::-1], words, bytes_)
        value = decoded(point, data, {})
        assert value is not None
        assert encoded(point, value, {}) == data


def in_order(plain: bytes, words: WordOrder, bytes_: ByteOrder) -> bytes:
    registers = [plain[at : at + 2] for at in range(0, len(plain), 2)]
    if words == "low_first":
        registers.reverse()
    return b"".join(register[::-1] if bytes_ == "little" else register for register in registers)


straight = in_order  # doing it twice undoes it


@pytest.mark.parametrize(("type_", "value"), [
    ("uint16", -1), ("uint16", 65_536), ("int16", 32_768), ("int64", 2.0**63 + 4096), ("uint64", -1),
    ("bcd16", 10_000), ("bcd16", -1), ("float32", 1e39), ("uint32", 0.5), ("float32", 16_777_217),
])  # fmt: skip
def test_a_value_that_registers_cannot_hold_is_not_written(type_: RegisterType, value: float) -> None:
    assert encoded(a_point("p", 0, type_, decimals=1), value, {}) is None
