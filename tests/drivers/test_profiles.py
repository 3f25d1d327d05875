from pathlib import Path

import pytest

from drivers.profiles import all_profiles, profiles_in, shipped_profiles
from models.document import DocumentMistakes

OWN = """\
profile: my-meter
version: "1"
title: Mine
family: modbus
verified: false
source: the label on its back
modbus: {}
points:
  - {name: voltage_v, unit: V, kind: gauge, table: holding, address: 0, type: uint16}
"""


def test_four_meters_come_with_gatehouse() -> None:
    assert set(shipped_profiles()) == {
        "acrel-adl3000", "chint-dtsu666", "eastron-sdm630", "schneider-iem3000",
    }  # fmt: skip


def test_shipped_profiles_cannot_be_spoilt_by_who_asks_for_them() -> None:
    shipped_profiles().clear()
    assert shipped_profiles()


def test_a_folder_of_ones_own_adds_profiles(tmp_path: Path) -> None:
    (tmp_path / "modbus").mkdir()
    (tmp_path / "modbus" / "mine.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a profile", encoding="utf-8")
    assert set(all_profiles(tmp_path)) == {*shipped_profiles(), "my-meter"}
    assert set(all_profiles()) == set(shipped_profiles())


def test_ones_own_profile_replaces_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN.replace("my-meter", "eastron-sdm630"), encoding="utf-8")
    assert all_profiles(tmp_path)["eastron-sdm630"].title == "Mine"


def test_all_mistakes_of_all_files_are_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OWN.replace("uint16", "uint17"), encoding="utf-8")
    (tmp_path / "b.yaml").write_text(OWN.replace("unit: V", "unitt: V"), encoding="utf-8")
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentMistakes) as caught:
        profiles_in(tmp_path)
    told = {(Path(problem.file).name, problem.line) for problem in caught.value.problems}
    assert told == {("a.yaml", 9), ("b.yaml", 9), ("c.yaml", 1)}


def test_two_files_cannot_have_one_name(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(OWN, encoding="utf-8")
    with pytest.raises(
        DocumentMistakes, match=r"b\.yaml:1: profile: 'my-meter' is also the name of .*a\.yaml"
    ):
        profiles_in(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentMistakes, match="is no folder"):
        all_profiles(tmp_path / "missing")
