"""The commands of docs/stick.md do what it says, one after the other, on two machines that share a folder."""

import re
from pathlib import Path

from tests.support.pages import blocks, by_block, marked, page, replaced, typed

TEXT = page("docs/stick.md")


def script() -> str:
    """The agent in the background is given the time until it answers, as a person gives it, and its end."""
    *first, last = blocks(TEXT)
    until_it_answers = "while ! [ -S state/control.sock ]; do kill -0 $! || exit 1; sleep 0.1; done"
    commands = marked([*first, replaced(last, "edge-agent status", "kill %1; wait")])
    return re.sub(r"^(.*) &$", rf"\1 > agent.log 2>\&1 &\n{until_it_answers}", commands, flags=re.MULTILINE)


def test_a_closed_site_is_served_as_written(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"health: {{port: 0}}\n{blocks(TEXT, 'yaml')[0]}")
    (tmp_path / "stick").mkdir()
    said = typed(script(), tmp_path)
    _, asked, admitted, enrolled, confirmed, exported, taken, settled = by_block(said)
    assert "collector enroll-file vault.request" in asked
    assert "is enrolled" in admitted
    assert "Enrolled as gw-" in enrolled
    assert "counts as right" in confirmed
    assert "1 batches for the collector main" in exported
    assert "1 stored now, 0 here before" in taken
    assert "1 batches are delivered" in settled
