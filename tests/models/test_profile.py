from typing import Any

import pytest
import yaml

from models.document import DocumentMistakes
from models.inventory import PointDescription
from models.profile import (
    as_family,
    describe,
    load_profile,
    multiplier,
    parameter_mistakes,
    profile_json_schema,
)
from models.profile.modbus import ModbusProfile

POINT = {
    "name": "voltage_v", "unit": "V", "kind": "gauge", "table": "holding", "address": 0, "type": "uint16"
}  # fmt: skip
COUNTER = {
    "name": "energy_kwh", "unit": "kWh", "kind": "counter", "table": "holding", "address": 10,
    "type": "uint32", "scale": 0.01, "decimals": 2, "multiply_by": ["ct"], "modulus": 1000000,
    "max_rate_per_h": 50, "item_code": "01000",
}  # fmt: skip
BIT = {
    "name": "door", "unit": "", "kind": "state", "table": "holding", "address": 20, "type": "bool", "bit": 0
}  # fmt: skip
COIL = {"name": "fan", "unit": "", "kind": "state", "table": "coil", "address": 0, "type": "bool"}
GOLDEN = {"request": "03 0000 0001", "reply": "03 02 00E6", "values": {"voltage_v": 230}}


def document(**changed: Any) -> dict[str, Any]:
    """A profile without a mistake, but for what is `changed`."""
    return {
        "profile": "meter-x", "version": "1", "title": "X", "family": "modbus", "verified": True,
        "source": "this test", "modbus": {}, "points": [POINT, COUNTER, BIT, COIL],
        "parameters": {"ct": 1, "pt": 1}, "golden": [GOLDEN],
    } | changed  # fmt: skip


def load(**changed: Any) -> ModbusProfile:
    text = yaml.safe_dump(document(**changed), sort_keys=False)
    return as_family(load_profile(text, "x.yaml"), ModbusProfile)


def mistakes(**changed: Any) -> list[str]:
    """What is wrong, without file and line."""
    with pytest.raises(DocumentMistakes) as caught:
        load(**changed)
    return [str(problem).partition(": ")[2] for problem in caught.value.problems]


def mistakes_of(point: dict[str, Any], **changed: Any) -> list[str]:
    return mistakes(points=[POINT | point], golden=[], modbus=changed)


def test_a_profile_without_a_mistake_is_loaded() -> None:
    profile = load()
    assert [point.name for point in profile.points] == ["voltage_v", "energy_kwh", "door", "fan"]
    assert profile.points[2].bit == 0
    with pytest.raises(KeyError):
        profile.point("window")


@pytest.mark.parametrize(
    ("point", "told"),
    [
        pytest.param({"type": "uint17"}, "'uint17' is not known here (did you mean 'uint16'?)", id="type"),
        pytest.param({"address": 65536}, "allowed: from 0 up to 65535", id="address"),
        pytest.param({"address": 65535, "type": "uint32"}, "ends behind register 0xffff", id="end"),
        pytest.param({"name": "Voltage"}, "name: ", id="name"),
        pytest.param({"multiply_by": ["cd"]}, "'cd' is no parameter of this profile", id="parameter"),
        pytest.param({"scale": 0}, "scale: must not be 0", id="scale 0"),
        pytest.param({"scale": 1e-30}, "at most 12 digits behind the point", id="scale too fine"),
        pytest.param({"scale": 1e20}, "scale: must be less than or equal to", id="scale too large"),
        pytest.param({"min": 5, "max": 4}, "min: is above max, 4", id="bounds"),
        pytest.param({"unit": ""}, "unit: does not fit a gauge", id="gauge without a unit"),
        pytest.param({"kind": "state"}, "unit: does not fit a state", id="state with a unit"),
        pytest.param({"kind": "counter"}, "'V' does not add up as a counter does", id="counter of volts"),
        pytest.param({"kind": "counter", "unit": "kW"}, "(did you mean 'kWh'?)", id="counter of kilowatts"),
        pytest.param({"modulus": 100}, "modulus: only a counter has it", id="modulus of a gauge"),
        pytest.param({"max_rate_per_h": 1}, "max_rate_per_h: only a counter has it", id="rate of a gauge"),
        pytest.param({"sentinels": [65536]}, "65536 can never be the raw value of a uint16", id="sentinel"),
        pytest.param({"sentinels": ["nan"]}, "nan can never be the raw value of a uint16", id="nan"),
        pytest.param({"sentinels": [-1]}, "-1 can never be the raw value of a uint16", id="negative"),
        pytest.param({"sentinels": ["null"]}, "sentinels", id="text"),
        pytest.param({"type": "float32", "sentinels": [1e39]}, "1e+39 can never be", id="beyond float32"),
        pytest.param({"type": "bool"}, "a bool in a register needs its bit", id="bool without bit"),
        pytest.param({"bit": 3}, "a bool in a register needs its bit", id="bit without bool"),
        pytest.param({"bit": 16, "type": "bool"}, "bit: must be less than or equal to 15", id="bit 16"),
        pytest.param({"table": "coil"}, "a coil is one bit (type: bool, and no `bit`)", id="coil of 16 bits"),
        pytest.param({"item_code": "1000"}, "item_code: ", id="item code"),
        pytest.param({"decimals": 10}, "allowed: from 0 up to 9", id="decimals"),
        pytest.param({"register": 5}, "unknown key 'register'", id="unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_point_is_told(point: dict[str, Any], told: str) -> None:
    assert told in "\n".join(mistakes_of(point))


@pytest.mark.parametrize(
    ("bit", "told"),
    [
        ({"kind": "gauge", "unit": "1"}, "points[door].kind: one bit is a state (kind: state)"),
        ({"scale": 2}, "points[door].scale: one bit is 0 or 1 and nothing else (leave it out)"),
        ({"offset": 2}, "points[door].offset: one bit is 0 or 1 and nothing else (leave it out)"),
        ({"max": 0}, "points[door].max: one bit is 0 or 1 and nothing else (leave it out)"),
        (
            {"multiply_by": ["ct"]},
            "points[door].multiply_by: one bit is 0 or 1 and nothing else (leave it out)",
        ),
        ({"sentinels": [0]}, "points[door].sentinels: 0 can never be the raw value of a bool"),
    ],
)
def test_a_bit_is_nothing_but_a_state(bit: dict[str, Any], told: str) -> None:
    [found] = mistakes(points=[BIT | bit], golden=[])
    assert found.startswith(told)


def test_a_counter_cannot_be_allowed_more_than_its_modulus() -> None:
    assert mistakes(points=[COUNTER | {"max": 1000001}], golden=[]) == [
        "points[energy_kwh].max: is above the modulus, 1e+06, where the counter is 0 again"
    ]
    assert "modulus: must be greater than 0" in mistakes(points=[COUNTER | {"modulus": 0}], golden=[])[0]


def test_two_points_cannot_have_one_name() -> None:
    assert mistakes(points=[POINT, POINT | {"address": 1}], golden=[]) == [
        "points[voltage_v].name: a point 'voltage_v' stands above already"
    ]


FIRST_BIT = BIT | {"address": 0, "name": "voltage_v"}
OVER = "lies over 'voltage_v' (if that is meant: shares_registers: true)"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        pytest.param({}, {}, [OVER], id="the same register"),
        pytest.param({"type": "uint64"}, {"address": 3}, [OVER], id="the last of four"),
        pytest.param({"address": 3}, {"type": "uint64"}, [OVER], id="the last of four, the other way round"),
        pytest.param({"type": "uint64"}, {"address": 4}, [], id="the next one"),
        pytest.param({}, {"table": "input"}, [], id="another table"),
        pytest.param({}, {"shares_registers": True}, [], id="on purpose"),
        pytest.param(FIRST_BIT, BIT | {"address": 0, "bit": 1}, [], id="two bits"),
        pytest.param(FIRST_BIT, BIT | {"address": 0}, [OVER], id="one bit twice"),
        pytest.param({}, BIT | {"address": 0}, [OVER], id="a register and its bit"),
    ],
)
def test_points_over_the_same_registers_must_say_so(
    first: dict[str, Any], second: dict[str, Any], told: list[str]
) -> None:
    points = [POINT | first, POINT | second | {"name": "other"}]
    if told:
        assert mistakes(points=points, golden=[]) == [f"points[other].address: {text}" for text in told]
    else:
        load(points=points, golden=[])


@pytest.mark.parametrize(("address", "is_wrong"), [(98, False), (99, True), (105, True), (106, False)])
def test_a_point_in_a_forbidden_range_is_a_mistake(address: int, is_wrong: bool) -> None:
    changed = {
        "points": [POINT | {"address": address, "type": "uint32"}],
        "golden": [],
        "modbus": {"forbidden": [{"table": "holding", "first": 100, "last": 105}]},
    }
    if is_wrong:
        assert mistakes(**changed) == [
            "points[voltage_v].address: lies in the forbidden range 0x0064 to 0x0069"
        ]
    else:
        load(**changed)


def test_a_point_must_fit_into_one_request() -> None:
    assert mistakes_of({"type": "uint64"}, max_registers=3) == [
        "points[voltage_v].type: needs 4 registers, but one request may carry 3"
    ]


@pytest.mark.parametrize(
    "section",
    [{"max_registers": 126}, {"max_bits": 2001}, {"max_gap": -1}, {"reply_timeout_s": 0}, {"retries": 6}],
)
def test_a_device_cannot_be_asked_for_more_than_the_protocol_allows(section: dict[str, Any]) -> None:
    [told] = mistakes(modbus=section)
    assert told.startswith(f"modbus.{next(iter(section))}: must be ")
    assert "(allowed: from " in told


@pytest.mark.parametrize(
    ("golden", "told"),
    [
        pytest.param({"request": "zz"}, "golden[0].request: is no request to read", id="no hex"),
        pytest.param({"request": "06 0000 0001"}, "golden[0].request: is no request to read", id="a write"),
        pytest.param({"request": "03 0000"}, "golden[0].request: is no request to read", id="too short"),
        pytest.param({"reply": "03 04 0000 0000"}, "reply: is no reply to this request", id="length"),
        pytest.param({"reply": "04 02 0000"}, "reply: is no reply to this request", id="function"),
        pytest.param({"reply": "xx"}, "reply: is no reply to this request", id="reply no hex"),
        pytest.param({"values": {"voltage": 1}}, "there is no point 'voltage' (did you mean", id="point"),
        pytest.param({"values": {"energy_kwh": 1}}, "does not ask for this point", id="not asked"),
        pytest.param({"values": {}}, "golden[0].values: ", id="no values"),
        pytest.param({"parameters": {"cd": 5}}, "'cd' is no parameter of this profile", id="parameter"),
        pytest.param({"parameters": {"ct": 0}}, "parameters.ct: must be greater than 0", id="ratio"),
    ],
)
def test_a_golden_frame_must_be_one(golden: dict[str, Any], told: str) -> None:
    assert told in "\n".join(mistakes(golden=[GOLDEN | golden]))


def test_a_golden_frame_may_be_a_whole_frame_of_modbus_tcp() -> None:
    load(
        golden=[
            GOLDEN | {"request": "0001 0000 0006 01 03 0000 0001", "reply": "0001 0000 0005 01 03 02 00E6"},
            {"request": "01 0000 0009", "reply": "01 02 0001", "values": {"fan": 1}},
        ]
    )


def test_all_mistakes_of_a_profile_are_told_with_their_lines() -> None:
    text = (
        "profile: meter-x\nversion: 1\ntitle: X\nfamily: modbuss\nverified: true\nsource: s\nmodbus: {}\n"
        "points:\n  - {name: a_v, unit: V, kind: guage, table: holding, address: 0, type: uint16}\n"
    )
    with pytest.raises(DocumentMistakes) as caught:
        load_profile(text, "x.yaml")
    assert [(p.line, p.where) for p in caught.value.problems] == [
        (2, "version"), (4, "family"), (9, "points[a_v].kind")
    ]  # fmt: skip


def test_the_description_of_a_device_grows_with_its_transformers() -> None:
    described = describe(load(), device_id="m-1", name="1号楼总表", period_s=60, parameters={"ct": 20})
    assert (described.device_id, described.name, described.profile, described.profile_version) == (
        "m-1", "1号楼总表", "meter-x", "1"
    )  # fmt: skip
    assert described.points[0] == PointDescription(name="voltage_v", unit="V", kind="gauge")
    assert described.points[1] == PointDescription(
        name="energy_kwh", unit="kWh", kind="counter", item_code="01000", decimals=2,
        modulus=20_000_000, max_rate_per_h=1000,
    )  # fmt: skip


def test_parameters_multiply() -> None:
    point = load(points=[COUNTER | {"multiply_by": ["ct", "pt"]}], golden=[]).points[0]
    assert multiplier(point, {"ct": 20.0, "pt": 10.0}) == 200.0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ct": 20}, []),
        ({"ct": 0.5, "pt": 100}, []),
        ({"cd": 20}, ["profile meter-x has no parameter 'cd'"]),
        ({"ct": 0}, ["must be a number above 0, up to 1000000, with at most 12 decimals"]),
        ({"ct": -1, "x": 1}, ["must be a number above 0", "profile meter-x has no parameter 'x'"]),
        ({"ct": float("nan")}, ["must be a number above 0"]),
        ({"ct": 1e-300}, ["must be a number above 0"]),
    ],
)
def test_the_parameters_of_a_device_are_checked(given: dict[str, float], told: list[str]) -> None:
    found = parameter_mistakes(load(), given)
    assert len(found) == len(told)
    for mistake, start in zip(found, told, strict=True):
        assert mistake.what.startswith(start)
        assert mistake.path[0] == "parameters"


def test_the_schema_tells_editors_what_may_stand_in_a_profile() -> None:
    schema = profile_json_schema()
    assert schema["$defs"]["ModbusProfile"]["additionalProperties"] is False
    assert schema["$defs"]["ModbusPoint"]["properties"]["table"]["enum"] == [
        "coil",
        "discrete",
        "holding",
        "input",
    ]
