"""Updating the agent: staging, trying, going back; and packing a release."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.commands.answer import Answer, table
from edge_agent.commands.progress import waiting
from edge_agent.config import load_config
from edge_agent.observed import ask_status
from edge_agent.secret_files import make_secret_file, read_secret_bytes
from edge_agent.update.archive import write_release
from edge_agent.update.health import answered, reaches_collector
from edge_agent.update.launcher import HEALTHY_WITHIN_S, launch
from edge_agent.update.releases import KEY_FILE, Releases
from models.errors import NeedsAHuman
from models.release import Formats
from models.times import utc_text

OUTCOME_WITHIN_S: Final = 3 * HEALTHY_WITHIN_S  # a trial may be begun twice
_ASK_FORMATS: Final = (
    "import json, msgspec; from edge_agent.update.formats import buffer_formats; "
    "print(json.dumps(msgspec.to_builtins(buffer_formats())))"
)


def _of(config: Path) -> Releases:
    return Releases(config, load_config(config).state_dir)


def stage(config: Path, file: Path) -> Answer:
    """Bring a release to the gateway; nothing that runs is touched."""
    with waiting(f"checking and unpacking {file.name} …"):
        manifest = _of(config).stage(file)
    text = f"{manifest.version} is staged, and signed by who may. To try it: edge-agent update apply"
    return Answer({"version": manifest.version, "files": len(manifest.files)}, text)


def apply(config: Path, version: str | None, *, wait: bool) -> Answer:
    """Try a staged release. Bad news when it was not well and the version before it runs again."""
    loaded = load_config(config)
    releases, health = Releases(config, loaded.state_dir), loaded.settings.health
    if health.port == 0:
        raise NeedsAHuman(f"{config}: health.port is 0, so nobody could tell whether it is well; set it")
    if not releases.is_launched():
        raise NeedsAHuman(
            "the agent was not started by edge-agent launch, which tries releases and goes back; start that, "
            "as the systemd unit does"
        )
    before = ask_status(health.host, health.port, loaded.state_dir)
    wanted = releases.begin_trial(
        version, devices_answered=answered(before), collector_reached=reaches_collector(before)
    )
    if not wait:
        return Answer({"version": wanted, "state": "trial"}, f"{wanted} is tried: edge-agent update status")
    with waiting(f"trying {wanted}: it must start, store, and read and reach what the one before it did …"):
        until_s = time.monotonic() + OUTCOME_WITHIN_S
        while releases.state().trial is not None and time.monotonic() < until_s:
            time.sleep(0.5)
    state = releases.state()
    if state.current == wanted:
        return Answer({"version": wanted, "state": "taken"}, f"{wanted} is well and is used from now on.")
    why = state.failed.get(wanted, "it is still being tried; see: edge-agent update status")
    told = f"{wanted} is not used: {why}. {releases.version_of(state.current)} runs."
    return Answer({"version": wanted, "state": "failed", "detail": why}, told, is_good=False)


def roll_back(config: Path) -> Answer:
    """Use the version that was used before."""
    releases = _of(config)
    version = releases.version_of(releases.roll_back())
    return Answer({"version": version}, f"{version} is used from now on.")


def status(config: Path) -> Answer:
    """What is in use, and what has happened."""
    releases = _of(config)
    state = releases.state()
    staged = [name for name in releases.staged() if name not in (state.current, state.previous)]
    facts = {
        "current": releases.version_of(state.current),
        "is_installed_one": not state.current,
        "previous": None if state.previous is None else releases.version_of(state.previous),
        "trial": None if state.trial is None else state.trial.version,
        "staged": staged,
        "failed": state.failed,
        "launched": releases.is_launched(),
        "history": [msgspec.to_builtins(one) for one in state.history],
    }
    lines = [
        f"In use: {facts['current']}" + (" (as installed)" if facts["is_installed_one"] else ""),
        f"Before it: {facts['previous'] or 'none'}",
    ]
    if facts["trial"]:
        lines.append(f"Being tried: {facts['trial']}")
    lines += [f"Staged: {name}" + (" (failed here)" if name in state.failed else "") for name in staged]
    if not facts["launched"]:
        lines.append("No launcher runs: releases are tried by edge-agent launch, as the unit starts it.")
    if state.history:
        rows = [
            [utc_text(one.at_ms), one.what, one.version or "installed", one.detail] for one in state.history
        ]
        lines += ["", table(["when", "what", "version", "why"], rows)]
    return Answer(facts, "\n".join(lines))


def make_key(file: Path) -> Answer:
    """A new release key: the secret half into `file`, the public half told."""
    if file.exists():
        raise NeedsAHuman(f"{file}: is there already, and was left as it is")
    key = Ed25519PrivateKey.generate()
    make_secret_file(file, key.private_bytes_raw())
    public = key.public_key().public_bytes_raw().hex()
    text = (
        f"{file} signs releases: keep it off any machine that is in a network.\n"
        f"Every gateway that shall take them has this line in {KEY_FILE} beside gateway.yaml:\n{public}"
    )
    return Answer({"file": str(file), "public_key": public}, text)


def make_release(
    tree: Path, target: Path, key_file: Path, *, version: str, from_version: str, machine: str
) -> Answer:
    """Pack and sign what lies in `tree`, such as `pip install --target tree` puts there."""
    key = Ed25519PrivateKey.from_private_bytes(read_secret_bytes(key_file, 32))
    if target.exists():
        raise NeedsAHuman(f"{target}: is there already, and was left as it is")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    manifest = write_release(
        target, tree, key, version=version, from_version=from_version, python=python, machine=machine,
        buffer=_formats_of(tree),
    )  # fmt: skip
    facts: dict[str, Any] = {"file": str(target), "version": version, "files": len(manifest.files)}
    return Answer(
        facts, f"{target}: {version} with {len(manifest.files)} files, {target.stat().st_size} bytes"
    )


def _formats_of(tree: Path) -> Formats:
    """As the code that is packed says it itself."""
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-P", "-c", _ASK_FORMATS]
    try:
        done = subprocess.run(words, env=environment, capture_output=True, check=True)  # noqa: S603
        return msgspec.convert(json.loads(done.stdout), Formats, strict=False)
    except (subprocess.CalledProcessError, ValueError) as err:
        raise NeedsAHuman(f"{tree}: holds no edge_agent that says which formats it reads ({err})") from err


def run_launcher(config: Path, *, level: str, as_json: bool, healthy_within_s: float) -> Answer:
    """Until a signal. Bad news with the exit code of an agent that ended by itself."""
    words = ["run", "--config", str(config), "--log-level", level, *(["--json"] if as_json else [])]

    def tell(line: str) -> None:
        print(f"{utc_text(time.time_ns() // 1_000_000)} info: {line}", file=sys.stderr, flush=True)  # noqa: T201

    code = launch(config, words, healthy_within_s=healthy_within_s, tell=tell)
    return Answer({"stopped": code == 0}, "Stopped.", is_good=code == 0, exit_code=code if code > 0 else 1)
