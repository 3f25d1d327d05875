"""The files of the gateway: its configuration, who may read its secrets, who may write its state."""

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from edge_agent.at_rest_key import FILE as AT_REST
from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene
from edge_agent.identity.folder import GATEWAY

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_PUBLIC: Final = "ca_file"  # of the files that a configuration names, the only one without a secret


def configuration(scene: Scene) -> Iterator[Finding]:
    """Whether gateway.yaml can be used."""
    if scene.mistakes:
        first, more = scene.mistakes[0], len(scene.mistakes) - 1
        seen = f"{first}" + (f"; and {more} more mistakes" if more else "")
        hint = f"correct it, then: edge-agent check -c {scene.file}"
        yield problem(
            "config.file", seen, hint, facts={"mistakes": [str(mistake) for mistake in scene.mistakes]}
        )
        return
    settings = scene.settings
    assert settings is not None  # noqa: S101  # for there are no mistakes
    seen = f"{scene.file}: {len(settings.buses)} buses, {len(settings.devices)} devices"
    if not settings.devices:
        hint = "describe buses and devices; edge-agent scan finds some"
        yield warning("config.file", f"{seen}: nothing is read", hint)
        return
    yield ok("config.file", seen)


def permissions(scene: Scene) -> Iterator[Finding]:
    """Whether only the agent can read its secrets and change what it goes by."""
    faults = [*_config_faults(scene), *_state_faults(scene), *_secret_faults(scene)]
    for seen, hint in faults:
        yield problem("files.rights", seen, hint)
    if not faults:
        if not scene.state_dir.exists():
            yield skipped("files.rights", f"{scene.state_dir}: there is none yet; the agent makes it")
        else:
            yield ok("files.rights", f"{scene.state_dir} and what is secret are the agent's alone")


def _config_faults(scene: Scene) -> Iterator[tuple[str, str]]:
    try:
        mode = scene.file.stat().st_mode
    except OSError:
        return  # another check says so
    if mode & _WRITABLE:
        yield f"{scene.file}: can be changed by anybody of its group, or by all", f"chmod go-w {scene.file}"


def _state_faults(scene: Scene) -> Iterator[tuple[str, str]]:
    folder = scene.state_dir
    if not folder.is_dir():
        return
    uid = scene.agent_uid
    own, many = 0, [path for path in (folder, *sorted(folder.rglob("*"))) if not path.is_symlink()]
    for path in many:
        found = path.stat()
        own += found.st_uid == uid
        if _is_secret(path) and found.st_mode & _OTHERS:
            yield f"{path}: others than its owner may read it", f"chmod go= {path}"
    if own < len(many):
        seen = f"{folder}: {len(many) - own} of its files are not {user_name(uid)}'s, whose the folder is"
        yield seen, f"chown -R {user_name(uid)}: {folder}; run edge-agent as that user, not as root"
    if uid == os.geteuid() and not os.access(folder, os.W_OK | os.X_OK):
        yield f"{folder}: the agent cannot write it", f"chmod u+rwx {folder}"


def _is_secret(path: Path) -> bool:
    """Of the state folder: what holds keys, and folders whose files do."""
    return path.suffix == ".key" or path.name in (GATEWAY, "identity")


def _secret_faults(scene: Scene) -> Iterator[tuple[str, str]]:
    if scene.settings is None:
        return
    named = secret_files(scene.settings)
    if (scene.file.parent / AT_REST).exists():
        named.add(AT_REST)  # which need not be named
    for name in sorted(named):
        path = scene.file.parent / name
        try:
            found = path.stat()
        except FileNotFoundError:
            yield f"{path}: is not there, and the configuration names it", "write it, or correct the name"
            continue
        except PermissionError:
            continue  # the folder is not ours to look into
        if found.st_mode & _OTHERS:
            yield f"{path}: others than its owner may read it", f"chmod go= {path}"
        if found.st_uid != scene.agent_uid and scene.agent_uid != 0:
            user = user_name(scene.agent_uid)
            yield f"{path}: is not {user}'s, who must read it", f"chown {user} {path}"


def secret_files(section: BaseModel) -> set[str]:
    """The files with passwords and keys that a configuration names, as it names them."""
    found: set[str] = set()
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name.endswith("_file") and name != _PUBLIC and isinstance(value, str):
            found.add(value)
        values = (
            value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        )
        for inner in values:
            if isinstance(inner, BaseModel):
                found |= secret_files(inner)
    return found


def user_name(uid: int) -> str:
    """As people know the user; the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
