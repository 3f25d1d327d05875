"""docs/events.md names every kind of event that a gateway tells, and people read each in their language."""

import re
from pathlib import Path

import pytest

from collector.web.event_names import event_title
from models.profile.access import AccessProfile
from simulators.profiles import profile_names, profile_of

ROOT = Path(__file__).parent.parent
FAMILIES = (
    "agent",
    "bay",
    "ble",
    "buffer",
    "certificate",
    "clock",
    "command",
    "config",
    "device",
    "door",
    "osdp",
    "radio",
    "sensor",
)
KIND = re.compile(rf"[\"']((?:{'|'.join(FAMILIES)})\.[a-z][a-z_-]+)[\"']")
NO_KINDS = {"buffer.db"}


def told() -> set[str]:
    """Every kind that stands in the code of drivers, agent and models, or in a profile that ships."""
    found: set[str] = set()
    for package in ("drivers", "edge_agent", "models"):
        for path in (ROOT / package).rglob("*.py"):
            if path.parent.name == "doctor":
                continue  # its checks have names of the same form
            found |= set(KIND.findall(path.read_text("utf-8")))
    for name in profile_names():
        text = next((ROOT / "firmware_configs" / "profiles").rglob(f"{name}.yaml")).read_text("utf-8")
        if "family: access" in text:
            found |= {code.kind for code in profile_of(name, AccessProfile).codes}
        found |= set(re.findall(r"event: ((?:sensor)\.[a-z]+)", text))
    return found - NO_KINDS


def described() -> set[str]:
    cells = [line.split("|")[1] for line in (ROOT / "docs" / "events.md").read_text("utf-8").splitlines()
             if line.startswith("| `")]  # fmt: skip
    return {kind for cell in cells for kind in re.findall(r"`([a-z._-]+)`", cell)}


def test_every_kind_of_event_is_described_and_no_other() -> None:
    assert described() == told()


@pytest.mark.parametrize("kind", sorted(described()))
def test_every_kind_of_event_has_a_name_in_both_languages(kind: str) -> None:
    chinese, english = event_title(kind, "zh"), event_title(kind, "en")
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert english != kind
