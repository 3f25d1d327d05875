"""The agent itself: whether it runs, by whom it is started, whether its pages answer."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from typing import Final

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import PAGE_LIMIT_S, Host, Scene
from models.times import utc_text

UNIT: Final = "gatehouse-edge-agent.service"
_ASKED: Final = ("LoadState", "ActiveState", "SubState", "UnitFileState", "NRestarts", "Result")


def running(scene: Scene) -> Iterator[Finding]:
    """Whether an agent reads the meters now."""
    status = scene.status()
    if status is not None:
        since = utc_text(status.started_ms) if status.started_ms is not None else "an unknown time"
        yield ok("agent.running", f"edge-agent {status.version} runs since {since}")
        return
    runs = scene.is_running()
    if runs is None:
        yield skipped("agent.running", f"{scene.state_dir}: only root and the agent's user can see it")
    elif runs:
        yield ok("agent.running", "an agent has the buffer open")
    elif scene.buffer_file.exists():
        hint = f"systemctl start {UNIT}, or: edge-agent run; its log says why it ended"
        yield problem("agent.running", "no agent runs: nothing is read", hint)
    else:
        hint = f"systemctl enable --now {UNIT}, or: edge-agent run"
        yield warning("agent.running", "no agent has run yet", hint)


def page(scene: Scene) -> Iterator[Finding]:
    """Whether the pages answer, and whether it is the agent that does."""
    if scene.settings is None:
        yield skipped("agent.page", "the configuration does not say where it is")
        return
    health = scene.settings.health
    where = f"http://{health.host}:{health.port}/status"
    if health.port == 0:
        yield skipped("agent.page", "it has any free port (health.port is 0)")
        return
    if scene.status() is not None:
        yield ok("agent.page", where)
        return
    if _is_open(health.host, health.port):
        hint = "end what listens there, or choose another health.port"
        yield problem("agent.page", f"{where}: something else answers there", hint)
    elif scene.is_running():
        hint = "if health.port was changed, restart the agent"
        yield problem("agent.page", f"{where}: the agent runs, and does not answer there", hint)
    else:
        yield skipped("agent.page", "the agent does not run")


def _is_open(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=PAGE_LIMIT_S):
            return True
    except OSError:
        return False


def service(scene: Scene) -> Iterator[Finding]:
    """Whether systemd starts the agent with the machine, and how often it had to start it again."""
    if not (scene.host.run / "systemd" / "system").exists():
        yield skipped("agent.service", "systemd does not run this machine")
        return
    told = unit_state(scene.host)
    if told is None:
        yield skipped("agent.service", "systemctl does not answer")
    elif told.get("LoadState") != "loaded":
        hint = "see docs/install.md: it is what starts the agent with the machine"
        yield warning("agent.service", f"{UNIT} is not installed", hint)
    else:
        yield judged_unit(told)


def judged_unit(told: Mapping[str, str]) -> Finding:
    """What `systemctl show` says of it."""
    active, enabled = told.get("ActiveState", ""), told.get("UnitFileState", "")
    restarts = int(told.get("NRestarts") or 0)
    seen = f"{active} ({told.get('SubState', '')}), {enabled or 'not enabled'}, {restarts} restarts"
    facts = {"active": active, "enabled": enabled, "restarts": restarts, "result": told.get("Result", "")}
    if active == "failed" or (active == "activating" and restarts):
        hint = f"journalctl -u {UNIT} -n 50 says why"
        return problem("agent.service", f"{seen}; {told.get('Result', '')}", hint, facts=facts)
    if active != "active":
        return problem("agent.service", seen, f"systemctl start {UNIT}", facts=facts)
    if not enabled.startswith("enabled"):
        hint = f"systemctl enable {UNIT}, or it is gone with the next power cut"
        return warning("agent.service", seen, hint, facts=facts)
    if restarts:
        hint = f"journalctl -u {UNIT} --grep 'Main process exited' says why"
        return warning("agent.service", seen, hint, facts=facts)
    return ok("agent.service", seen, facts=facts)


def unit_state(host: Host) -> dict[str, str] | None:
    """By name of the property; None when systemd does not say."""
    tool = shutil.which("systemctl", path=host.environment.get("PATH"))
    if tool is None:
        return None
    words = [tool, "show", UNIT, f"--property={','.join(_ASKED)}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PAGE_LIMIT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}
