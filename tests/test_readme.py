"""The README's commands do what it says, one after the other, as a newcomer types them."""

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT, blocks, by_block, marked, page, patient, typed

README = page("README.md")


def test_the_first_ten_minutes_of_all_four_work_as_written(tmp_path: Path) -> None:
    said = typed(patient(marked(blocks(README))), tmp_path)
    tester, manager, technician, searching, developer = by_block(said)
    assert "office" in tester
    assert "ght_" in manager
    assert "voltage_l1_v" in technician
    assert "Enrolled as gw-" in technician
    assert "eastron-sdm630" in searching
    assert "一号楼网关" in developer
    assert "event: latest" in developer


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))))
def test_the_readme_names_only_targets_that_there_are(target: str) -> None:
    assert re.search(rf"^{target}:", page("Makefile"), re.MULTILINE)


def test_every_file_that_the_readme_links_is_there() -> None:
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not (ROOT / link).exists()] == []
