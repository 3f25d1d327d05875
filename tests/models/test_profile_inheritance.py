"""A profile takes from another one what it does not say itself, and each mistake is told where it is made."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.catalogue import Catalogue, ProfilesUnreadable
from edge_agent.cli import app
from models.document import DocumentMistakes, Problem
from models.profile import as_family, load_profile
from models.profile.modbus import ModbusProfile

PARENT = """\
profile: parent
version: "3"
title: Parent
family: modbus
verified: true
source: the parent's manual
modbus: {max_registers: 20, max_gap: 4, reply_timeout_s: 0.5}
parameters: {ct: 1, pt: 1}
points:
  - {name: voltage_v, unit: V, kind: gauge, table: holding, address: 0, type: uint16, scale: 0.1, max: 300}
  - {name: current_a, unit: A, kind: gauge, table: holding, address: 1, type: uint16, multiply_by: [ct, pt]}
  - name: target_c
    unit: "°C"
    kind: gauge
    table: holding
    address: 2
    type: int16
    writable: {min: 16, max: 26}
fingerprints:
  - {table: holding, address: 9, count: 1, equals: "0001"}
identifications:
  - {vendor: Acme}
golden:
  - {request: 03 0000 0001, reply: 03 02 08FD, values: {voltage_v: 230.1}}
"""

HEAD = "profile: child\nextends: parent\n"


class Shelf(dict[str, str]):
    """Profiles by name, as a catalogue finds them."""

    def find(self, name: str) -> tuple[str, str] | None:
        return (self[name], f"{name}.yaml") if name in self else None

    def load(self, name: str) -> ModbusProfile:
        return as_family(load_profile(self[name], f"{name}.yaml", self.find), ModbusProfile)

    def mistakes(self, name: str) -> list[str]:
        with pytest.raises(DocumentMistakes) as caught:
            self.load(name)
        return list(map(str, caught.value.problems))


def child(text: str = "") -> ModbusProfile:
    return Shelf(parent=PARENT, child=HEAD + text).load("child")


def mistakes(text: str, parent: str = PARENT) -> list[str]:
    return Shelf(parent=parent, child=HEAD + text).mistakes("child")


def test_a_child_that_says_nothing_is_its_parent_by_another_name() -> None:
    parent = Shelf(parent=PARENT).load("parent")
    same = {"profile": "child", "extends": "parent", "golden": (), "fingerprints": (), "identifications": ()}
    assert child() == parent.model_copy(update=same)


def test_mappings_are_joined_key_by_key() -> None:
    profile = child("modbus: {max_gap: 9}\nparameters: {pt: 2.5}\n")
    assert (profile.modbus.max_registers, profile.modbus.max_gap) == (20, 9)
    assert profile.parameters == {"ct": 1, "pt": 2.5}


def test_a_point_of_the_same_name_changes_the_keys_that_it_names_and_keeps_its_place() -> None:
    profile = child("points: [{name: current_a, address: 30}]")
    assert [point.name for point in profile.points] == ["voltage_v", "current_a", "target_c"]
    changed, parent = profile.point("current_a"), child().point("current_a")
    assert changed == parent.model_copy(update={"address": 30})


def test_a_mapping_inside_of_a_point_is_joined_too_and_a_list_is_replaced() -> None:
    profile = child("points: [{name: target_c, writable: {max: 22}}, {name: current_a, multiply_by: [ct]}]")
    assert profile.points[2].writable is not None
    assert (profile.points[2].writable.min, profile.points[2].writable.max) == (16, 22)
    assert profile.points[1].multiply_by == ("ct",)


def test_a_point_of_a_new_name_comes_behind_those_of_the_parent() -> None:
    new = "points: [{name: power_kw, unit: kW, kind: gauge, table: holding, address: 5, type: int16}]"
    assert [point.name for point in child(new).points][-2:] == ["target_c", "power_kw"]


@pytest.mark.parametrize("points", ["", "points: [{name: target_c, address: 7}]\n"])
def test_a_child_does_without_the_points_that_it_names(points: str) -> None:
    profile = child("without: [current_a, voltage_v]\n" + points)
    assert [point.name for point in profile.points] == ["target_c"]


def test_a_point_is_replaced_as_a_whole_when_it_is_also_named_under_without() -> None:
    whole = "{name: voltage_v, unit: V, kind: gauge, table: input, address: 4, type: float32}"
    profile = child(f"without: [voltage_v]\npoints: [{whole}]")
    assert [point.name for point in profile.points] == ["current_a", "target_c", "voltage_v"]
    assert (profile.points[2].scale, profile.points[2].max) == (1.0, None)


def test_frames_and_marks_of_the_parent_are_not_those_of_the_child() -> None:
    assert child().golden == ()
    assert (child().fingerprints, child().identifications) == ((), ())
    own = child("golden: [{request: 03 0001 0001, reply: 03 02 0001, values: {current_a: 1}}]")
    assert [golden.request for golden in own.golden] == ["03 0001 0001"]


def test_a_grandchild_has_what_all_of_them_say() -> None:
    shelf = Shelf(parent=PARENT, child=HEAD + "modbus: {max_gap: 9}\nwithout: [voltage_v]\n")
    shelf["grandchild"] = 'profile: grandchild\nextends: child\nversion: "7"\nmodbus: {max_registers: 8}\n'
    profile = shelf.load("grandchild")
    assert (profile.version, profile.title) == ("7", "Parent")
    assert (profile.modbus.max_registers, profile.modbus.max_gap, profile.modbus.reply_timeout_s) == (
        8,
        9,
        0.5,
    )
    assert [point.name for point in profile.points] == ["current_a", "target_c"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "points:\n  - {name: current_a, address: 30}\n  - {name: voltage_v, type: uint17}\n",
            "child.yaml:5: points[voltage_v].type: 'uint17' is not known here (did you mean 'uint16'?)",
            id="a value of a changed point",
        ),
        pytest.param(
            "points:\n  - name: voltage_v\n    min: 400\n",
            "child.yaml:5: points[voltage_v].min: is above max, 300",
            id="a value that does not fit one of the parent",
        ),
        pytest.param(
            "points:\n  - {name: power_kw, unit: kW, table: holding, address: 5, type: int16}\n",
            "child.yaml:4: points[power_kw].kind: is missing (gauge, counter or state)",
            id="a new point that is not whole",
        ),
        pytest.param(
            "points:\n  - {name: voltage_v}\n  - 7\n",
            "child.yaml:5: points[3]: must be a mapping (write `key: value` lines below it, indented)",
            id="a point that is none",
        ),
        pytest.param(
            "points:\n  - {name: voltage_v}\n  - {name: voltage_v, min: 1}\n",
            "child.yaml:5: points[voltage_v].name: a point 'voltage_v' stands above already",
            id="one point twice",
        ),
        pytest.param("points: 5\n", "child.yaml:3: points: must be a list", id="points that are no list"),
        pytest.param(
            "modbus:\n  max_gap: 200\n",
            "child.yaml:4: modbus.max_gap: must be less than or equal to 124 (allowed: from 0 up to 124)",
            id="a value of a mapping",
        ),
        pytest.param(
            "title: X\nwithout:\n  - voltage_x\n",
            "child.yaml:5: without[0]: 'parent' has no point 'voltage_x' (did you mean 'voltage_v'?)",
            id="without a point that there is not",
        ),
        pytest.param(
            "without: voltage_v\n",
            "child.yaml:3: without: must be a list (write it as [a, b]",
            id="without text",
        ),
        pytest.param(
            "modbus: {max_gap: 1, max_gap: 2}\n",
            "child.yaml:3: modbus.max_gap: key 'max_gap' stands here twice",
            id="a key twice",
        ),
        pytest.param(
            "without: [voltage_v, current_a, target_c]\n",
            "child.yaml:3: points: must have at least 1 of them",
            id="without all",
        ),
    ],
)
def test_a_mistake_of_the_child_is_told_at_its_own_line(text: str, told: str) -> None:
    [found] = mistakes(text)
    assert found.startswith(told)


def test_what_a_child_breaks_in_a_point_that_it_does_not_name_is_told_where_it_takes_it_over() -> None:
    """The line of `extends`: the value stands in the other file, but it is right there."""
    wide = PARENT.replace("type: int16", "type: float64")
    [found] = mistakes("title: X\nmodbus:\n  max_registers: 2\n", wide)
    assert found == "child.yaml:2: points[target_c].type: needs 4 registers, but one request may carry 2"


def test_a_mistake_of_the_parent_is_told_in_its_own_file_and_the_child_is_not_blamed() -> None:
    found = mistakes(
        "points: [{name: voltage_v, address: 3}]", PARENT.replace("kind: gauge", "kind: gouge", 1)
    )
    assert found == [
        "parent.yaml:10: points[voltage_v].kind: 'gouge' is not known here (did you mean 'gauge'?)"
    ]


@pytest.mark.parametrize("parent", ["- 1\n", "points: [1]\n", "profile: parent\npoints: {a: 1}\n", "[[]]\n"])
def test_a_parent_that_is_no_profile_is_told_and_not_tripped_over(parent: str) -> None:
    assert all(found.startswith("parent.yaml:1:") for found in mistakes("without: [x]\n", parent))


def test_a_parent_that_there_is_not_is_told_at_its_line() -> None:
    [found] = Shelf(child=HEAD).mistakes("child")
    assert found == (
        "child.yaml:2: extends: there is no profile 'parent' (`edge-agent profiles list` has all)"
    )


@pytest.mark.parametrize(
    ("profiles", "told"),
    [
        ({"a": "a"}, "extends: comes back to itself: a → a"),
        ({"a": "b", "b": "a"}, "extends: comes back to itself: b → a → b"),
        ({"a": "b", "b": "c", "c": "b"}, "extends: comes back to itself: b → c → b"),
    ],
)
def test_profiles_that_extend_each_other_in_a_ring_are_told(profiles: dict[str, str], told: str) -> None:
    shelf = Shelf({name: f"profile: {name}\nextends: {parent}\n" for name, parent in profiles.items()})
    [found] = shelf.mistakes("a")
    assert told in found


def test_a_long_row_of_profiles_has_an_end() -> None:
    shelf = Shelf({f"p{n}": f"profile: p{n}\nextends: p{n + 1}\n" for n in range(100)})
    [found] = shelf.mistakes("p0")
    assert "extends: is the 9th in a row: p1 → p2" in found


def test_without_needs_a_parent() -> None:
    [found] = Shelf(parent=PARENT + "without: [voltage_v]\n").mistakes("parent")
    assert "unknown key 'without'" in found


PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["voltage_v", "current_a", "x", ""])
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "address", "writable"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["points", "without", "modbus", "parameters", "golden", "fingerprints", "title", "family"]
)


@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
def test_whatever_a_child_says_is_taken_or_told_with_a_line_of_it(said: dict[str, object]) -> None:
    text = HEAD + "".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items())
    problems: list[Problem] = []
    try:
        Shelf(parent=PARENT, child=text).load("child")
    except DocumentMistakes as err:
        problems = err.problems
    assert all(problem.file == "child.yaml" for problem in problems)
    assert all(1 <= problem.line <= 2 + len(said) for problem in problems)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A gateway's own folder, with a profile that extends a shipped one."""
    (tmp_path / "plant-meter.yaml").write_text(
        'profile: plant-meter\nextends: eastron-sdm630\nversion: "1"\ntitle: Meter of the plant\n'
        "verified: false\nsource: measured\nmodbus: {max_registers: 40}\nwithout: [current_neutral_a]\n",
        "utf-8",
    )
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["profiles", *arguments])
    return result.exit_code, result.output


def test_a_profile_of_ones_own_may_extend_a_shipped_one(own: Path) -> None:
    catalogue = Catalogue(own)
    mine = as_family(catalogue.load("plant-meter"), ModbusProfile)
    shipped = as_family(catalogue.load("eastron-sdm630"), ModbusProfile)
    assert set(shipped.points) - set(mine.points) == {shipped.point("current_neutral_a")}
    assert (mine.modbus.max_registers, shipped.modbus.max_registers) == (40, 80)
    assert mine.modbus.max_gap == shipped.modbus.max_gap
    code, said = run("check", str(own / "plant-meter.yaml"))
    assert (code, "no mistakes. Points: 32, golden frames: 0" in said) == (0, True)


def test_a_profile_may_extend_another_one_of_the_same_folder(own: Path) -> None:
    second = own / "second-meter.yaml"
    second.write_text("profile: second-meter\nextends: plant-meter\nmodbus: {max_gap: 1}\n", "utf-8")
    code, said = run("check", str(second), "--json")
    assert (code, json.loads(said)["points"]) == (0, 32)


def test_a_mistake_in_another_file_of_the_folder_is_told_with_its_path(own: Path) -> None:
    (own / "plant-meter.yaml").write_text("profile: plant-meter\nextends: eastron-sdm63\n", "utf-8")
    second = own / "second-meter.yaml"
    second.write_text("profile: second-meter\nextends: plant-meter\n", "utf-8")
    code, said = run("check", str(second))
    assert code == 1
    assert f"{own / 'plant-meter.yaml'}:2: extends: there is no profile 'eastron-sdm63'" in said


def test_checking_a_profile_decodes_its_golden_frames(own: Path) -> None:
    golden = (
        "golden:\n  - request: 04 0000 0002\n    reply: 04 04 43660000\n    values:\n"
        "      voltage_l1_v: 230.5\n"
        "  - request: 04 0046 0002\n    reply: 04 04 43660000\n    values: {frequency_hz: 230}\n"
    )
    file = own / "plant-meter.yaml"
    file.write_text(file.read_text("utf-8") + golden, "utf-8")
    code, said = run("check", str(file))
    assert code == 1
    assert f"{file}:13: golden[0].values.voltage_l1_v: the reply says 230 (correct the point, or" in said
    assert f"{file}:16: golden[1].values.frequency_hz: lies outside of the point's min and max" in said


def test_a_parent_that_cannot_be_read_is_told(own: Path) -> None:
    (own / "gone.yaml").symlink_to(own / "nowhere")
    (own / "plant-meter.yaml").write_text("profile: plant-meter\nextends: gone\n", "utf-8")
    with pytest.raises(ProfilesUnreadable, match=r"gone\.yaml: No such file"):
        Catalogue(own).load("plant-meter")
