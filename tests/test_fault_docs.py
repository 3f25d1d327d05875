"""The commands of docs/faults.md do what it says, one after the other."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MANUAL = (ROOT / "docs" / "faults.md").read_text("utf-8")


def test_the_commands_of_the_manual_work_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", MANUAL, re.DOTALL)
    script = "set -eu\n" + "\n".join(f"echo BLOCK\n{block}" for block in blocks)
    script = script.replace("--duration 12h", "--duration 2h")  # tests/soak plays longer ones
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert shell.stdout is not None
        said = ""
        for line in shell.stdout:  # until the last command has answered: the meters go on
            said += line
            if '"good":' in line:
                break
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.communicate()
    _, planned, replayed, checked, week = said.split("BLOCK\n")
    assert '{"trace":1,"seed":7,"duration_ms":300000,"mix":"soak"}' in planned
    assert re.search(r"begin  network\.\w+", replayed)
    assert re.search(r"end    disk\.\w+", replayed)
    assert "gateway/gateway.yaml" in checked
    assert json.loads(week.splitlines()[-1])["good"]
    assert (tmp_path / "journal.txt").read_text()


def test_what_the_manual_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert all(
        re.search(rf"^{target}:", makefile, re.MULTILINE) for target in re.findall(r"^make (\w+)", MANUAL)
    )
    [number] = re.findall(r"decision (\d+)", MANUAL)
    assert list((ROOT / "docs" / "decisions").glob(f"{int(number):04}-*.md"))
