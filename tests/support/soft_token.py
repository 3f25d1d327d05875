"""A PKCS#11 token in software (SoftHSM), for one run of the tests."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from edge_agent.identity.lock import TokenPlace

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
PIN: Final = "4711"

needs_softhsm = pytest.mark.skipif(
    shutil.which("softhsm2-util") is None or not Path(MODULE).exists(),
    reason="SoftHSM is not installed; scripts/setup test does it",
)


def make_token(folder: Path) -> TokenPlace:
    """The library reads its configuration once in a process: call this once, before anything uses it."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    subprocess.run(  # a fixed command
        ["softhsm2-util", "--init-token", "--free", "--label", "gatehouse", "--pin", PIN, "--so-pin", PIN],
        check=True,
        capture_output=True,
    )
    pin_file = folder / "pin"
    pin_file.write_text(PIN + "\n")
    return TokenPlace(module=MODULE, token="gatehouse", pin_file=str(pin_file))
