"""docs/mqtt.md does what it says, typed as it stands, at ports that are free here."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.needs import needs_mosquitto

TEXT = (Path(__file__).parent.parent / "docs" / "mqtt.md").read_text()
PORTS = ("8443", "8080", "8883")
HEALTH = "9464"


def free_ports(count: int) -> list[str]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def script() -> str:
    """As a person types it, who gives what is started its time, and asks again until the answer is good."""
    *ports, health = free_ports(len(PORTS) + 1)
    typed = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    broker = "collector broker broker --name localhost"
    assert broker in typed
    typed = typed.replace(broker, f"{broker} --port 8883")
    if os.geteuid() == 0:
        typed = typed.replace("mosquitto -c", "echo user root >> broker/gatehouse.conf\nmosquitto -c")
    for named, port in zip(PORTS, ports, strict=True):
        typed = typed.replace(named, port)
    typed = typed.replace(
        "init gateway\n", f"init gateway\nsed -i s/{HEALTH}/{health}/ gateway/gateway.yaml\n"
    )
    typed = re.sub(
        r"^(\w+).* &$", lambda line: f"{line[0][:-2]} > {line[1]}.log 2>&1 &", typed, flags=re.MULTILINE
    )
    typed += "\n"
    started = "collector serve > collector.log 2>&1 &\n"
    assert started in typed
    typed = typed.replace(
        started, started + "while ! grep -q 'listening to mqtts' collector.log; do sleep 0.1; done\n"
    )
    status = "edge-agent status --config gateway/gateway.yaml"
    return typed.replace(status, f"until {status} | grep 'last receipt'; do sleep 0.1; done")


@needs_mosquitto
def test_the_commands_of_the_page_bring_a_batch_by_mqtt(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
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
        said, _ = shell.communicate(timeout=90)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait()
    assert shell.returncode == 0, said
    assert re.search(r"Collector main: mqtts://localhost:\d+, as gw-", said), said
