"""docs/tiers.md does what it says, typed as it stands, at ports that are free here."""

import re
from pathlib import Path

import yaml

from collector.settings import Settings
from tests.support.pages import at_free_ports, blocks, page, replaced, typed

TEXT = page("docs/tiers.md")


def script() -> str:
    """As a person types it, who gives what is started its time, and looks again until something is there."""
    commands = at_free_ports("\n".join(blocks(TEXT)), "8443", "8444")
    for folder in ("area", "county"):
        commands = replaced(
            commands,
            f"collector serve --dir {folder} &\n",
            f"collector serve --dir {folder} > {folder}.log 2>&1 &\n"
            f"while ! grep -q 'serving at port' {folder}.log; do sleep 0.1; done\n",
        )
    commands = re.sub(r"^(edge-agent run.*) &$", r"\1 > agent.log 2>&1 &", commands, flags=re.MULTILINE)
    listed = "collector gateways --dir area"
    return replaced(commands, f"{listed}\n", f"until {listed} | grep cx:hall; do sleep 0.1; done\n")


def test_the_settings_of_the_page_are_those_that_a_collector_takes() -> None:
    [shown] = blocks(TEXT, "yaml")
    settings = Settings.model_validate({"url": "https://c:1", **yaml.safe_load(shown)})
    assert settings.upstream is not None
    assert settings.upstream.share.rules == ["site:hall", "site:annex", "gateway:gw-0123456789ab"]
    assert settings.upstream.share.leave_out == ["gw-ba9876543210"]


def test_the_commands_of_the_page_bring_a_gateway_of_the_county_to_the_area(tmp_path: Path) -> None:
    said = typed(script(), tmp_path)
    assert re.search(r"gw-[0-9a-f]{12} +cx:hall +active", said), said
    assert "shared gateways: 1;" in said
