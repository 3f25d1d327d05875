"""Releases of the agent for tests: its real code, changed where a test wants it bad, packed and signed."""

import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.update.archive import write_release
from edge_agent.update.releases import KEY_FILE
from models.release import Formats, Manifest

ROOT = Path(__file__).parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FORMATS = Formats(writes=1, reads=(1,))


def trust(folder: Path, key: Ed25519PrivateKey = KEY) -> None:
    """Pin the release key beside gateway.yaml."""
    (folder / KEY_FILE).write_text(key.public_key().public_bytes_raw().hex() + "\n")


def small_tree(folder: Path, main: str = "raise SystemExit(3)\n") -> Path:
    """A program in place of the agent."""
    (folder / "edge_agent").mkdir(parents=True)
    (folder / "edge_agent" / "__init__.py").write_text("")
    (folder / "edge_agent" / "__main__.py").write_text(main)
    return folder


def agent_tree(folder: Path, version: str) -> Path:
    """All of the agent's own code, under another version."""
    for package in ("models", "drivers", "edge_agent", "firmware_configs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    facts = folder / f"gatehouse-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gatehouse\nVersion: {version}\n")
    return folder


def packed(
    target: Path,
    tree: Path,
    version: str,
    *,
    key: Ed25519PrivateKey = KEY,
    from_version: str = "0.0",
    python: str = "3.11",
    machine: str = "any",
    buffer: Formats = FORMATS,
) -> tuple[Path, Manifest]:
    manifest = write_release(
        target,
        tree,
        key,
        version=version,
        from_version=from_version,
        python=python,
        machine=machine,
        buffer=buffer,
    )
    return target, manifest
