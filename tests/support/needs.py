"""What a test needs of the machine beside Python. Without it the test is skipped; with CI=true it fails."""

import os
import shutil
from pathlib import Path

import pytest

from simulators.ble.private_bus import has_daemon
from simulators.parking.broker import mosquitto_path
from tests.support.soft_token import MODULE


def needs(it_is_here: bool, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not it_is_here and os.environ.get("CI") != "true", reason=f"needs {what}")


def _installed(program: str, it_is_here: bool) -> pytest.MarkDecorator:
    return needs(it_is_here, f"{program}, which scripts/setup test installs")


needs_chromium = _installed("chromium", shutil.which("chromium") is not None)
needs_dbus = _installed("dbus-daemon", has_daemon())
needs_mosquitto = _installed("mosquitto", mosquitto_path() is not None)
needs_softhsm = _installed("SoftHSM", shutil.which("softhsm2-util") is not None and Path(MODULE).exists())
needs_systemd = _installed(
    "systemd", None not in (shutil.which("systemd-analyze"), shutil.which("systemd-sysusers"))
)
needs_root = needs(os.geteuid() == 0, "root, who may give files away and become somebody else")
