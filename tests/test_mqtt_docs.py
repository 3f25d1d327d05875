"""docs/mqtt.md does what it says, typed as it stands, at ports that are free here."""

import os
import re
from pathlib import Path

from tests.support.needs import needs_mosquitto
from tests.support.pages import at_free_ports, blocks, page, replaced, typed


def script() -> str:
    """As a person types it, who gives what is started its time, and asks again until the answer is good."""
    commands = "\n".join(blocks(page("docs/mqtt.md")))
    broker = "collector broker broker --name localhost"
    commands = replaced(commands, broker, f"{broker} --port 8883")
    if os.geteuid() == 0:
        started = "mosquitto -c"
        commands = replaced(commands, started, f"echo user root >> broker/gatehouse.conf\n{started}")
    commands = at_free_ports(commands, "8443", "8080", "8883")
    commands = re.sub(
        r"^(\w+).* &$", lambda line: f"{line[0][:-2]} > {line[1]}.log 2>&1 &", commands, flags=re.MULTILINE
    )
    serving = "collector serve > collector.log 2>&1 &\n"
    until_it_listens = "while ! grep -q 'listening to mqtts' collector.log; do sleep 0.1; done\n"
    commands = replaced(commands, serving, serving + until_it_listens)
    status = "edge-agent status --config gateway/gateway.yaml"
    return replaced(commands, status, f"until {status} | grep 'last receipt'; do sleep 0.1; done")


@needs_mosquitto
def test_the_commands_of_the_page_bring_a_batch_by_mqtt(tmp_path: Path) -> None:
    said = typed(script(), tmp_path)
    assert re.search(r"Collector main: mqtts://localhost:\d+, as gw-", said), said
