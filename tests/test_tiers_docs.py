"""docs/tiers.md does what it says, typed as it stands, at ports that are free here."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from collector.settings import Settings
from tests.test_mqtt_docs import HEALTH, free_ports

TEXT = (Path(__file__).parent.parent / "docs" / "tiers.md").read_text()
PORTS = ("8443", "8444")


def script() -> str:
    """As a person types it, who gives what is started its time, and looks again until something is there."""
    *ports, health = free_ports(len(PORTS) + 1)
    typed = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    for named, port in zip(PORTS, ports, strict=True):
        typed = typed.replace(named, port)
    typed = typed.replace(
        "init gateway\n", f"init gateway\nsed -i s/{HEALTH}/{health}/ gateway/gateway.yaml\n"
    )
    for folder in ("area", "county"):
        started = f"collector serve --dir {folder} &\n"
        assert started in typed
        typed = typed.replace(
            started,
            f"collector serve --dir {folder} > {folder}.log 2>&1 &\n"
            f"while ! grep -q 'serving at port' {folder}.log; do sleep 0.1; done\n",
        )
    typed = re.sub(r"^(edge-agent run.*) &$", r"\1 > agent.log 2>&1 &", typed, flags=re.MULTILINE)
    listed = "collector gateways --dir area\n"
    assert listed in typed
    return typed.replace(listed, f"until {listed.strip()} | grep cx:hall; do sleep 0.1; done\n")


def test_the_settings_of_the_page_are_those_that_a_collector_takes() -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = Settings.model_validate({"url": "https://c:1", **yaml.safe_load(shown)})
    assert settings.upstream is not None
    assert settings.upstream.share.rules == ["site:hall", "site:annex", "gateway:gw-0123456789ab"]
    assert settings.upstream.share.leave_out == ["gw-ba9876543210"]


def test_the_commands_of_the_page_bring_a_gateway_of_the_county_to_the_area(tmp_path: Path) -> None:
    shell = subprocess.Popen(
        ["bash", "-c", "set -eu\n" + script()],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
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
    assert re.search(r"gw-[0-9a-f]{12} +cx:hall +active", said), said
    assert "shared gateways: 1;" in said
