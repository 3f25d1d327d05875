"""`collector keys`: what gateways seal their content keys to."""

from datetime import UTC, datetime
from pathlib import Path

from collector.commands.answer import Answer
from collector.commands.sites import suite_by_name
from collector.identity.home import Home
from models.protocol import collector_key_name


def rotate(folder: Path, suite_name: str) -> Answer:
    """A collector that runs uses the new key at once."""
    suite, home = suite_by_name(suite_name), Home(folder)
    home.authority()  # or this is no collector's folder
    key = home.rotate_envelope_key(suite, datetime.now(UTC))
    name = collector_key_name(key.public_bytes())
    text = (
        f"Gateways of the suite {suite.name} seal to the key {name} from their next receipts on.\n"
        f"Older keys stay in {folder}, for what was sealed to them: back that folder up as before."
    )
    return Answer({"suite": suite.name, "key": name, "file": str(home.envelope_key(suite))}, text)
