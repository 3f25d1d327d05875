"""A PKCS#11 token in software (SoftHSM), for one run of the tests."""

import os
import subprocess
from pathlib import Path
from typing import Final

from edge_agent.identity.lock import TokenPlace

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
PIN: Final = "4711"


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
