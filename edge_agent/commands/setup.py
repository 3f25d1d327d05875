"""Setting a gateway up: a first configuration, a check of it, enrolment."""

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.commands.answer import Answer
from models.errors import NeedsAHuman

if TYPE_CHECKING:
    from edge_agent.config import Config

SAMPLE = "gateway.yaml"
STATE_DIR = b"\n  state_dir: state "  # as it stands in the sample


class FileThere(NeedsAHuman):
    """What would be written is there already."""


def init(folder: Path, state_dir: str | None = None) -> Answer:
    """Write the commented sample; its state goes to `state_dir`."""
    target = folder / SAMPLE
    sample = files("firmware_configs").joinpath(SAMPLE).read_bytes()
    if state_dir is not None:
        sample = sample.replace(STATE_DIR, b"\n  state_dir: " + json.dumps(state_dir).encode() + b" ", 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:  # never over a file that somebody has written
            file.write(sample)
    except FileExistsError:
        raise FileThere(
            f"{target}: is there already and was left as it is; to begin anew, move it away"
        ) from None
    except OSError as err:
        raise NeedsAHuman(f"{target}: {err.strerror}; choose a folder that can be written") from err
    text = f"{target} is written. Describe your buses and devices in it, then: edge-agent check -c {target}"
    return Answer({"written": str(target)}, text)


def check(path: Path) -> Answer:
    """All mistakes of a configuration are raised; what is right is summed up."""
    from edge_agent.config import load_config

    return summed_up(path, load_config(path))


def summed_up(path: Path, config: "Config") -> Answer:
    """What a configuration without mistakes has."""
    devices = config.settings.devices
    a_minute = sum(len(config.profile_of(device).points) * 60 / device.period_s for device in devices)
    unverified = sorted(name for name, profile in config.profiles.items() if not profile.verified)
    facts = {
        "file": str(path),
        "buses": len(config.settings.buses),
        "devices": len(devices),
        "readings_per_minute": round(a_minute, 2),
        "unverified_profiles": unverified,
    }
    text = (
        f"{path}: no mistakes. Buses: {facts['buses']}, devices: {facts['devices']}, "
        f"readings a minute: {a_minute:g}"
    )
    if unverified:
        text += f"\nNot checked against a source by anybody, so compare values: {', '.join(unverified)}"
    return Answer(facts, text)


def enroll(
    path: Path,
    text: str,
    *,
    name: str,
    again: bool,
    request: Path | None = None,
    answer: Path | None = None,
) -> Answer:
    """Enrol with the token; "-" reads it from the standard input.

    Without a network in two steps: `request` is a file to write, `answer` one that has come back.
    """
    from edge_agent.config import load_config
    from edge_agent.files import write_durably
    from edge_agent.identity.enroll import enroll as run
    from edge_agent.identity.enroll import offline_answer, offline_request
    from edge_agent.uplink.carriers import proxy_of
    from models.protocol import EnrollmentToken, TokenMalformed

    config = load_config(path)
    try:
        token = EnrollmentToken.decode(sys.stdin.read() if text == "-" else text)
    except TokenMalformed as err:
        raise NeedsAHuman(str(err)) from None
    try:
        if request is not None:
            data = offline_request(
                token, state_dir=config.state_dir, name=name, again=again, key_token=config.key_token
            )
            write_durably(request, data)
            told = (
                f"{request} is written. At the collector, while the token is good:\n"
                f"  collector enroll-file {request.name}\n"
                f"and with what it writes: edge-agent enroll TOKEN --answer {request.name}.answer"
            )
            return Answer({"collector": name, "request": str(request)}, told)
        came = None if answer is None else answer.read_bytes()
    except OSError as err:
        raise NeedsAHuman(
            f"{err.filename or request or answer}: {err.strerror}; is it the right stick?"
        ) from err
    if came is not None:
        identity = offline_answer(token, came, state_dir=config.state_dir, name=name)
    else:
        proxy = proxy_of(config.collector(name))
        identity = run(
            token,
            state_dir=config.state_dir,
            name=name,
            again=again,
            proxy=proxy,
            key_token=config.key_token,
        )
    collector = identity.collector
    facts = {
        "collector": name,
        "gateway_id": identity.gateway_id,
        "site_code": collector.site_code,
        "url": collector.url,
        "certificate_expires": identity.expires.isoformat(),
    }
    told = (
        f"Enrolled as {identity.gateway_id}, site {collector.site_code}, at {collector.url}; "
        f"certificate until {identity.expires:%Y-%m-%d}.\n"
        "An agent that runs begins to send within seconds; to start one: edge-agent run"
    )
    return Answer(facts, told)


def token_from(token: str | None, file: Path | None) -> str:
    """The token as it was given, in one way or the other."""
    if file is None:
        return token or "-"
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise NeedsAHuman(
            f"{file}: cannot be read ({type(err).__name__}); name the file with the token"
        ) from None
