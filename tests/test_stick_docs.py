"""The commands of docs/stick.md do what it says, one after the other, on two machines that share a folder."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

DOCS = (Path(__file__).parent.parent / "docs" / "stick.md").read_text()


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", DOCS, re.DOTALL)


def as_typed(block: str) -> str:
    """The agent in the background is given the time until it answers, as a person gives it."""
    until_it_answers = r"while ! [ -S state/control.sock ]; do kill -0 $! || exit 1; sleep 0.1; done"
    return re.sub(r"^(.*) &$", rf"\1 > agent.log 2>\&1 &\n{until_it_answers}", block, flags=re.MULTILINE)


def test_a_closed_site_is_served_as_written(tmp_path: Path) -> None:
    yaml = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)[0]
    (tmp_path / "gateway.yaml").write_text(f"health: {{port: 0}}\n{yaml}")
    (tmp_path / "stick").mkdir()
    script = "set -eu\n" + "\n".join(f"echo BLOCK\n{as_typed(block)}" for block in blocks()[:-1])
    script += "\necho BLOCK\n" + blocks()[-1].replace("edge-agent status", "kill %1; wait")
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=120)
    finally:
        os.killpg(shell.pid, signal.SIGKILL) if shell.poll() is None else None
        shell.wait()
    assert shell.returncode == 0, said
    _, _, asked, admitted, enrolled, confirmed, exported, taken, settled = said.split("BLOCK\n")
    assert "collector enroll-file vault.request" in asked
    assert "is enrolled" in admitted
    assert "Enrolled as gw-" in enrolled
    assert "counts as right" in confirmed
    assert "1 batches for the collector main" in exported
    assert "1 stored now, 0 here before" in taken
    assert "1 batches are delivered" in settled
