"""The commands of docs/faults.md do what it says, one after the other."""

import json
import re
from pathlib import Path

from tests.support.pages import ROOT, blocks, by_block, marked, page, replaced, typed

MANUAL = page("docs/faults.md")


def test_the_commands_of_the_manual_work_as_written(tmp_path: Path) -> None:
    script = replaced(
        marked(blocks(MANUAL)), "--duration 12h", "--duration 2h"
    )  # tests/soak plays longer ones
    said = typed(script, tmp_path, PYTHONPATH=str(ROOT))
    planned, replayed, checked, week = by_block(said)
    assert '{"trace":1,"seed":7,"duration_ms":300000,"mix":"soak"}' in planned
    assert re.search(r"begin  network\.\w+", replayed)
    assert re.search(r"end    disk\.\w+", replayed)
    assert "gateway/gateway.yaml" in checked
    assert json.loads(week.splitlines()[-1])["good"]
    assert (tmp_path / "journal.txt").read_text()


def test_what_the_manual_names_is_there() -> None:
    makefile = page("Makefile")
    assert all(
        re.search(rf"^{target}:", makefile, re.MULTILINE) for target in re.findall(r"^make (\w+)", MANUAL)
    )
    [number] = re.findall(r"decision (\d+)", MANUAL)
    assert list((ROOT / "docs" / "decisions").glob(f"{int(number):04}-*.md"))
