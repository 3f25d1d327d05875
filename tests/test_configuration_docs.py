"""docs/configuration.md does what it says, typed as it stands, at ports that are free here."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
PORTS = ("8443", "5020", "9464")


def script() -> str:
    """As a person types it, who gives what is started its time."""
    typed = "\n".join(f"echo BLOCK\n{block}" for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    typed = typed.replace(
        "init gateway\n", "init gateway\nsed -i 's/port: 9464/port: 0/' gateway/gateway.yaml\n"
    )
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    for probe, port in zip(probes, PORTS, strict=True):
        typed = typed.replace(port, str(probe.getsockname()[1]))
        probe.close()
    typed = typed.replace(
        "init gateway\n", f"init gateway\nsed -i s/5020/{_port(typed)}/ gateway/gateway.yaml\n"
    )
    until_it_speaks = "while ! [ -s started ]; do kill -0 $! || exit 1; sleep 0.1; done"
    typed = re.sub(
        r"^(.*) &$", rf"rm -f started\n\1 > started 2>&1 &\n{until_it_speaks}", typed, flags=re.MULTILINE
    )
    told = "until collector config show $GATEWAY > /dev/null; do sleep 0.1; done\n"
    return typed.replace("collector config show", told + "collector config show", 1)


def _port(typed: str) -> str:
    found = re.search(r"--port (\d+)", typed)
    assert found
    return found[1]


def test_the_commands_of_the_page_change_a_gateway_and_take_it_back(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", "set -eu\n" + script()],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
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
    assert shell.returncode == 0, said
    _, _, on_site, history, allowed, collector = said.split("BLOCK\n")
    assert "+    period_s: 5 " in on_site
    assert "Version 2 is active.\n  changed: meter-01" in on_site
    assert "the meter is to be watched" in history
    assert "Version 3 is active." in history
    assert "Version 4 is active.\n  no device is touched" in allowed
    assert "+    period_s: 30 " in collector
    assert "is applied" in collector
    assert re.search(r"^5 .*pushed by .*twice a minute will do$", collector, re.MULTILINE), collector
    assert "period_s: 30" in (tmp_path / "gateway" / "gateway.yaml").read_text()
