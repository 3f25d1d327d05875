"""The README's commands do what it says, one after the other, as a newcomer types them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks() -> list[str]:
    """The shell blocks of the first ten minutes."""
    return re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def as_typed(block: str) -> str:
    """What is started with `&` is given the time to say its first line, as a person gives it."""
    until_it_speaks = r"while ! [ -s started ]; do kill -0 $! || exit 1; sleep 0.1; done"
    return re.sub(
        r"^(.*) &$", rf"rm -f started\n\1 > started 2>&1 &\n{until_it_speaks}", block, flags=re.MULTILINE
    )


def test_the_first_ten_minutes_of_all_four_work_as_written(tmp_path: Path) -> None:
    script = "set -eu\n" + "\n".join(f"echo BLOCK\n{as_typed(block)}" for block in blocks())
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=120)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()
    _, tester, manager, technician, searching, developer = said.split("BLOCK\n")
    assert shell.returncode == 0, said
    assert "office" in tester
    assert "ght_" in manager
    assert "voltage_l1_v" in technician
    assert "Enrolled as gw-" in technician
    assert "eastron-sdm630" in searching
    assert "一号楼网关" in developer
    assert "event: latest" in developer


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))))
def test_the_readme_names_only_targets_that_there_are(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_file_that_the_readme_links_is_there() -> None:
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not (ROOT / link).exists()] == []
