"""Files are replaced whole, and those of somebody else stay as open as he has left them."""

import os
from pathlib import Path

from edge_agent.files import rewrite_durably


def test_a_file_that_is_rewritten_keeps_its_rights_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("before")
    file.chmod(0o640)
    before = os.umask(0o077)
    try:
        rewrite_durably(file, b"after")
    finally:
        os.umask(before)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("after", 0o640)
