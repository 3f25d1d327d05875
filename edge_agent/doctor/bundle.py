"""A bundle for support: all that helps to understand a gateway from afar, and none of its secrets."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge_agent.at_rest_key import FILE as AT_REST
from edge_agent.config import sections
from edge_agent.doctor.buffer import set_aside
from edge_agent.doctor.files import secret_files
from edge_agent.doctor.machine import version_facts
from edge_agent.doctor.scene import Scene
from edge_agent.doctor.scrub import Scrubber
from edge_agent.doctor.service import UNIT
from edge_agent.identity.folder import CA, GATEWAY
from edge_agent.observed import buffer_of
from models.actions import HIDDEN
from models.document import DocumentMistakes, parse_document
from models.errors import GatehouseError, NeedsAHuman
from models.times import utc_text

LOG_LINES: Final = 2000
LOG_BYTES: Final = 1 << 20
LOG_LIMIT_S: Final = 5.0  # in real time, for the journal
SECRET_BYTES: Final = 65_536

_FREE_KEYS: Final = {"collectors", "doors", "readers", "parameters", "report"}  # with names of choice
_KNOWN_KEYS: Final = {
    name
    for section in vars(sections).values()
    if isinstance(section, type) and issubclass(section, sections.Section)
    for name in section.model_fields
}
_FILE_NAMED: Final = re.compile(r"""_file["']?\s*:\s*(?:["']([^"'\n]+)["']|([^\s"',}\]#]+))""")
_LIST_NAMED: Final = re.compile(r"""devices_csv["']?\s*:\s*["']?([^\s"',}\]#]+)""")
_ABOUT: Final = """\
What support needs to understand this gateway. Passwords, keys, tokens and what looks like one are replaced
by {hidden}. Look through it before you pass it on: names and addresses of your network are in it.

doctor.json        what `edge-agent doctor` found
status.json        buses, devices, buffer and collectors as the agent sees them
metrics.txt        its figures
config.json        gateway.yaml without comments, and without keys that nobody knows
certificates/      public parts
state.json         names, sizes and rights of the files in the state folder, and what is in the buffer
machine.json       versions, uptime, mounts
log.txt            the last lines of the log; every long number in it is hidden
"""


class BundleThere(NeedsAHuman):
    """The file cannot be written, or is there already."""


def write_bundle(
    target: Path, scene: Scene, report: Mapping[str, Any], *, log: Path | None = None
) -> list[str]:
    """Write a .tar.gz for its owner's eyes; the names of what is in it. Never over a file that is there."""
    parts = dict(_parts(scene, report, log))
    folder = target.name.partition(".")[0] or "gatehouse"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in parts.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as err:
        raise BundleThere(f"{target}: {err.strerror}; name another file") from err
    with os.fdopen(descriptor, "wb") as file:
        file.write(packed.getvalue())
    return list(parts)


def _parts(scene: Scene, report: Mapping[str, Any], log: Path | None) -> Iterator[tuple[str, bytes]]:
    scrubber = Scrubber(known_secrets(scene))

    def as_json(value: Any) -> bytes:
        return json.dumps(scrubber.data(value), ensure_ascii=False, indent=1).encode()

    yield "about.txt", _ABOUT.format(hidden=HIDDEN).encode()
    yield "doctor.json", as_json(report)
    status = scene.status()
    yield "status.json", as_json(None if status is None else msgspec.to_builtins(status))
    yield "metrics.txt", scrubber.text(scene.metrics() or "").encode()
    yield "config.json", as_json(_configuration(scene.file))
    for name, pem in _certificates(scene.state_dir):
        yield f"certificates/{name}.pem", pem
    yield "state.json", as_json(_state(scene))
    yield "machine.json", as_json(_machine(scene))
    yield "log.txt", scrubber.log(_log_text(scene, log)).encode()


def known_secrets(scene: Scene) -> Iterator[bytes]:
    """All that the files of this gateway hold and nobody else may see, as far as it can be read."""
    beside = named_files(scene.file) | (secret_files(scene.settings) if scene.settings else set())
    paths = [scene.file.parent / name for name in (*sorted(beside), AT_REST)]
    if credentials := scene.host.environment.get("CREDENTIALS_DIRECTORY"):
        paths += sorted(Path(credentials).glob("*"))
    paths += sorted(scene.state_dir.rglob("*.key"))
    for path in paths:
        yield from _read(path)
    for path in sorted(scene.state_dir.rglob(GATEWAY)):
        for pem in _read(path):
            yield from _private_parts(pem)


def named_files(file: Path) -> set[str]:
    """The files that a configuration names, also one that has mistakes."""
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return set()
    found = {quoted or plain for quoted, plain in _FILE_NAMED.findall(text)}
    for name in _LIST_NAMED.findall(text):
        with contextlib.suppress(OSError, csv.Error):
            lines = (file.parent / name).read_text("utf-8", "replace").splitlines()
            found |= {row["key_file"].strip() for row in csv.DictReader(lines) if row.get("key_file")}
    return found


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES)
    except OSError:
        return
    yield secret
    try:
        yield bytes.fromhex(secret.decode("ascii").strip())  # written in hex, it may be told in base64
    except ValueError:
        return


def _private_parts(pem: bytes) -> Iterator[bytes]:
    text, _, _ = pem.partition(b"-----END PRIVATE KEY-----")
    yield from (line for line in text.splitlines() if line and not line.startswith(b"-"))
    try:
        key = load_pem_private_key(pem, None)
        yield key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    except (ValueError, TypeError):
        return


def _configuration(file: Path) -> dict[str, Any]:
    try:
        document = parse_document(file.read_bytes(), file=str(file))
    except (OSError, DocumentMistakes) as err:
        return {"cannot be read": str(err)}
    return {"file": str(file), "data": _known_only(document.data)}


def _known_only(value: Any, *, is_free: bool = False) -> Any:
    """A key that the configuration does not know may be a password that somebody put there by mistake."""
    if isinstance(value, dict):
        return {
            key: _known_only(inner, is_free=key in _FREE_KEYS) if is_free or key in _KNOWN_KEYS else HIDDEN
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_known_only(inner) for inner in value]
    return value


def _certificates(state_dir: Path) -> Iterator[tuple[str, bytes]]:
    """By collector: that of the gateway, and that of the collector's authority."""
    for folder in sorted((state_dir / "identity").glob("*")):
        for name, load in ((GATEWAY, x509.load_pem_x509_certificate), (CA, x509.load_der_x509_certificate)):
            try:
                found = load((folder / name).read_bytes())
            except (OSError, ValueError):
                continue
            part = name.partition(".")[0]
            yield f"{folder.name}-{part}", found.public_bytes(Encoding.PEM)


def _state(scene: Scene) -> dict[str, Any]:
    try:
        buffer = buffer_of(scene.buffer_file)
        found: Any = None if buffer is None else msgspec.to_builtins(buffer)
    except (GatehouseError, OSError) as err:
        found = str(err)
    files = []
    for path in sorted(scene.state_dir.rglob("*")) if scene.state_dir.is_dir() else []:
        at = path.lstat()
        files.append(
            {
                "name": str(path.relative_to(scene.state_dir)),
                "bytes": at.st_size,
                "mode": stat.filemode(at.st_mode),
                "uid": at.st_uid,
                "changed": datetime.fromtimestamp(at.st_mtime, UTC).isoformat(timespec="seconds"),
            }
        )
    aside = [{"name": name, "bytes": size} for name, size in set_aside(scene)]
    return {"folder": str(scene.state_dir), "buffer": found, "set_aside": aside, "files": files}


def _machine(scene: Scene) -> dict[str, Any]:
    host = scene.host
    return {
        "made": utc_text(host.now_ms()),
        "versions": version_facts(),
        "system": host.text(Path("/etc/os-release")),
        "uptime": host.text(host.proc / "uptime"),
        "load": host.text(host.proc / "loadavg"),
        "memory": host.text(host.proc / "meminfo"),
        "mounts": host.text(host.proc / "self" / "mountinfo"),
    }


def _log_text(scene: Scene, log: Path | None) -> str:
    """Of the file that was named, else of the journal."""
    if log is not None:
        try:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - LOG_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines(keepends=True)
        except OSError as err:
            return f"{log}: {err.strerror}\n"
        return "".join(lines[-LOG_LINES:])
    tool = shutil.which("journalctl", path=scene.host.environment.get("PATH"))
    if tool is None:
        return "there is no journal; name the file with the agent's log: --log FILE\n"
    words = [tool, "--unit", UNIT, "--lines", str(LOG_LINES), "--no-pager", "--output", "short-iso"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=LOG_LIMIT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as err:
        return f"the journal cannot be read: {type(err).__name__}\n"
    return done.stdout[-LOG_BYTES:].decode("utf-8", "replace")
