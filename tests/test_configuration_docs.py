"""docs/configuration.md does what it says, typed as it stands, at ports that are free here."""

import re
from pathlib import Path

from tests.support.pages import at_free_ports, blocks, by_block, marked, page, patient, replaced, typed


def script() -> str:
    """As a person types it, who gives what is started its time."""
    commands = at_free_ports(marked(blocks(page("docs/configuration.md"))), "8443", "5020")
    [meter] = re.findall(r"--port (\d+)", commands)
    made = "init gateway\n"
    commands = replaced(commands, made, f"{made}sed -i s/5020/{meter}/ gateway/gateway.yaml\n")
    shown = "collector config show"
    assert shown in commands
    told = f"until {shown} $GATEWAY > /dev/null; do sleep 0.1; done\n"
    return patient(commands).replace(shown, told + shown, 1)


def test_the_commands_of_the_page_change_a_gateway_and_take_it_back(tmp_path: Path) -> None:
    _, on_site, history, allowed, collector = by_block(typed(script(), tmp_path))
    assert "+    period_s: 5 " in on_site
    assert "Version 2 is active.\n  changed: meter-01" in on_site
    assert "the meter is to be watched" in history
    assert "Version 3 is active." in history
    assert "Version 4 is active.\n  no device is touched" in allowed
    assert "+    period_s: 30 " in collector
    assert "is applied" in collector
    assert re.search(r"^5 .*pushed by .*twice a minute will do$", collector, re.MULTILINE), collector
    assert "period_s: 30" in (tmp_path / "gateway" / "gateway.yaml").read_text()
