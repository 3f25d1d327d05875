"""What docs/profiles.md says of profiles is so: its examples are good files, its table is the catalogue."""

import re
from pathlib import Path

import pytest

from drivers.modbus.plan import plan
from edge_agent.catalogue import Catalogue
from edge_agent.commands.answer import Answer
from edge_agent.commands.profiles import check_profile
from models.profile import Profile
from models.profile.modbus import ModbusProfile

MANUAL = (Path(__file__).parent.parent / "docs" / "profiles.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"```yaml\n# ([\w-]+)\.yaml(.*?)```", MANUAL, re.DOTALL))


def checked(folder: Path, name: str) -> Answer:
    file = folder / f"{name}.yaml"
    file.write_text(f"# {EXAMPLES[name]}", "utf-8")
    return check_profile(file)


def test_there_are_examples() -> None:
    assert set(EXAMPLES) == {"acme-pm1", "dtsu666-old", "machine-room"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_profile_without_a_mistake(tmp_path: Path, name: str) -> None:
    assert checked(tmp_path, name).data["profile"] == name


def row(profile: Profile) -> str:
    requests = len(plan(profile.points, profile.modbus)) if isinstance(profile, ModbusProfile) else ""
    cells = (
        f"`{profile.profile}`",
        profile.title,
        profile.family,
        len(profile.points),
        requests,
        "yes" if profile.verified else "no",
    )
    return f"| {' | '.join(map(str, cells))} |"


def test_the_table_is_the_catalogue() -> None:
    catalogue = Catalogue()
    profiles = sorted(map(catalogue.load, catalogue.names()), key=lambda one: (one.family, one.profile))
    table = "\n".join(
        [
            "| Profile | Device | Family | Points | Requests | Checked |",
            "|---|---|---|---|---|---|",
            *map(row, profiles),
        ]
    )
    [shown] = re.findall(r"<!-- profiles -->\n(.*)<!-- /profiles -->", MANUAL, re.DOTALL)
    assert shown.strip() == table, f"write this into docs/profiles.md:\n{table}"
