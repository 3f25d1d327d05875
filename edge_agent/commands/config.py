"""Looking at the versions of a configuration, going back to one, and letting a running agent take it over."""

from pathlib import Path
from typing import Any

from edge_agent.boots import is_provisional
from edge_agent.commands.answer import Answer, table
from edge_agent.config import load_config
from edge_agent.config.bundle import places_in, read_bundle
from edge_agent.config.journal import put_files
from edge_agent.config.load import check_bundle
from edge_agent.config.versions import NoSuchVersion, Version, Versions
from edge_agent.control.client import AgentSaysNo, ask_agent
from edge_agent.control.on_site import Question
from edge_agent.reconfigure import Reloaded
from models.configuration import MAIN, difference, digest_of
from models.errors import NeedsAHuman
from models.times import utc_text

_SHORT = 12  # characters of a digest that people compare
_NO_TIME = "before the time was known"


class NotLoaded(NeedsAHuman):
    """What the files say would be lost."""


def reload(path: Path, *, why: str) -> Answer:
    """Exit code 1: the file has mistakes, or no agent runs."""
    config = load_config(path)
    return _reload(config.state_dir, why, before=f"{path}: ")


def check(path: Path, file: Path | None) -> Answer:
    """A file that is to become `path`: it is checked with what stands beside that."""
    from edge_agent.commands.setup import summed_up

    if file is None:
        return summed_up(path, load_config(path))
    try:
        main = file.read_bytes()
    except OSError as err:
        raise NeedsAHuman(f"{file}: {err.strerror}; name a file that can be read") from None
    return summed_up(file, check_bundle(path, {MAIN: main}, called=str(file)))


def history(path: Path) -> Answer:
    """The newest first."""
    versions = _versions(path).all()[::-1]
    rows = [[str(v.number), _since(v) or _NO_TIME, _who(v), v.digest[:_SHORT], v.why] for v in versions]
    text = table(["VERSION", "ACTIVE SINCE", "BY", "DIGEST", "WHY"], rows)
    return Answer(
        [_facts(v) for v in versions], text if versions else "No version yet: the agent keeps them."
    )


def show(path: Path, number: int | None, only: str | None) -> Answer:
    """All files of one version, or one of them; of the newest if none is named."""
    version = _one(_versions(path), number)
    files = {name: text.decode(errors="replace") for name, text in version.files.items()}
    if only is not None:
        if only not in files:
            raise NoSuchVersion(f"version {version.number} has no file {only!r}; it has {', '.join(files)}")
        return Answer(_facts(version) | {"files": {only: files[only]}}, files[only].rstrip("\n"))
    told = [f"# version {version.number}, {_since(version) or _NO_TIME}, {_who(version)}"]
    for name, text in files.items():
        told += [f"# --- {name}", text.rstrip("\n")]
    return Answer(_facts(version) | {"files": files}, "\n".join(told))


def diff(path: Path, first: int | None, second: int | None) -> Answer:
    """Between two versions, or between one (else the newest) and what the files say now."""
    versions = _versions(path)
    old = _one(versions, first)
    if second is None:
        new, name, number = read_bundle(path), "files", None
    else:
        version = versions.get(second)
        new, name, number = version.files, f"version {second}", version.number
    text = difference(old.files, new, (f"version {old.number}", name))
    facts = {"from": old.number, "to": number, "diff": text}
    return Answer(facts, text or f"No difference between version {old.number} and the {name}.")


def rollback(path: Path, number: int | None, *, why: str, discard: bool) -> Answer:
    """Write the files of a version, and let the running agent take them over as a new version."""
    versions = _versions(path)
    now = read_bundle(path)
    known = versions.all()
    if not discard and not any(version.digest == digest_of(now) for version in known):
        raise NotLoaded(
            f"{path}: has changes that were never active and are in no version; load them first with "
            "edge-agent reload, or give them up with --discard"
        )
    target = versions.get(number) if number is not None else _before(known, now)
    state_dir = _state_dir(path, now)
    config = check_bundle(path, target.files)  # what was right may not be so with the software of today
    if config.state_dir != state_dir:
        raise NeedsAHuman(f"{path}: version {target.number} has another state_dir; change it by hand")
    try:
        put_files(path, now, target.files)
    except OSError as err:
        raise NeedsAHuman(f"{err.filename}: {err.strerror}; some files may be written: do it again") from err
    said = why or f"rollback to version {target.number}"
    answer = ask_agent(state_dir, Question(do="reload", why=said))
    if answer is None:
        text = (
            f"{path}: is as in version {target.number}; no agent runs here, and the next one begins with it."
        )
        return Answer({"restored": target.number, "running": False}, text)
    if answer.error or answer.reloaded is None:
        raise AgentSaysNo(answer.code, answer.error)
    return _said(answer.reloaded, {"restored": target.number}, f"{path}: is as in version {target.number}. ")


def _reload(state_dir: Path, why: str, *, before: str) -> Answer:
    answer = ask_agent(state_dir, Question(do="reload", why=why))
    if answer is None:
        raise AgentSaysNo(
            "not-running", f"{before}has no mistakes, but no agent runs here; it is read at the next start"
        )
    if answer.error or answer.reloaded is None:
        raise AgentSaysNo(answer.code, answer.error)
    return _said(answer.reloaded, {}, "")


def _said(reloaded: Reloaded, more: dict[str, Any], before: str) -> Answer:
    if reloaded.problems:
        text = "Nothing was changed:\n" + "\n".join(reloaded.problems)
        return Answer({"error": text, "problems": reloaded.problems, **more}, before + text, is_good=False)
    facts = {
        "version": reloaded.version,
        "digest": reloaded.digest,
        "added": reloaded.added,
        "removed": reloaded.removed,
        "changed": reloaded.changed,
        "buses_begun": reloaded.buses_begun,
        "waits_for_a_start": reloaded.waits_for_a_start,
        **more,
    }
    lines = [f"{before}Version {reloaded.version} is active."]
    for what, names in (
        ("added", reloaded.added),
        ("removed", reloaded.removed),
        ("changed", reloaded.changed),
        ("buses that began anew", reloaded.buses_begun),
        ("followed at the next start only", reloaded.waits_for_a_start),
    ):
        if names:
            lines.append(f"  {what}: {', '.join(names)}")
    if len(lines) == 1:
        lines.append("  no device is touched")
    return Answer(facts, "\n".join(lines))


def _versions(path: Path) -> Versions:
    return Versions(_state_dir(path, read_bundle(path)))


def _state_dir(path: Path, files: dict[str, bytes]) -> Path:
    """Also of a file that has mistakes: somebody may want to go back from just that."""
    return path.parent / (places_in(files[MAIN], path.name).state_dir or "state")


def _one(versions: Versions, number: int | None) -> Version:
    if number is not None:
        return versions.get(number)
    if (latest := versions.latest()) is None:
        raise NoSuchVersion("there is no version yet; an agent that runs keeps them")
    return latest


def _before(known: list[Version], now: dict[str, bytes]) -> Version:
    """The newest that says something else than the files do."""
    digest = digest_of(now)
    for version in reversed(known):
        if version.digest != digest:
            return version
    raise NoSuchVersion("there is no earlier version to go back to; see: edge-agent config history")


def _since(version: Version) -> str | None:
    """None for one that became active before the gateway knew the time."""
    return None if is_provisional(version.at_ms) else utc_text(version.at_ms)


def _who(version: Version) -> str:
    return f"collector {version.collector}, {version.by}" if version.origin == "collector" else version.by


def _facts(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "digest": version.digest,
        "at": _since(version),
        "origin": version.origin,
        "by": version.by,
        "why": version.why,
        "collector": version.collector,
    }
