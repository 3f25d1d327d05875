"""Runs all checks at the same time, each with a deadline: what hangs is said and holds nothing up."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge_agent.doctor.finding import Finding, problem, skipped
from edge_agent.doctor.scene import Scene
from models.errors import GatehouseError

DEADLINE_S: Final = 8.0
"""In real time, for all together: whoever stands at the gateway has his answer in ten seconds."""

Look = Callable[[Scene], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at something. `names` are those of its findings, in order; not all need come."""

    names: tuple[str, ...]
    look: Look
    subject: str = ""


def examine(scene: Scene, checks: Sequence[Check], *, deadline_s: float = DEADLINE_S) -> list[Finding]:
    """All findings, in the order of `checks`.

    Each check has a thread that dies with the process: a name server or a disk that does not answer can be
    waited for in no other way, and nothing ends a call to it.
    """
    news: queue.SimpleQueue[tuple[int, Finding | None]] = queue.SimpleQueue()

    def work(at: int, check: Check) -> None:
        for finding in _found(scene, check):
            news.put((at, finding))
        news.put((at, None))

    for at, check in enumerate(checks):
        name = f"check {check.names[0]}"
        threading.Thread(target=work, args=(at, check), name=name, daemon=True).start()
    found: list[list[Finding]] = [[] for _ in checks]
    open_ones = set(range(len(checks)))
    until_s = time.monotonic() + deadline_s
    while open_ones:
        try:
            at, finding = news.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            break
        if finding is None:
            open_ones.discard(at)
        else:
            found[at].append(finding)
    for at in open_ones:
        found[at] += _without_answer(checks[at], found[at], deadline_s)
    return [finding for of_one in found for finding in of_one]


def _found(scene: Scene, check: Check) -> Iterator[Finding]:
    name = check.names[0]
    try:
        for finding in check.look(scene):
            name = finding.check
            yield finding
    except PermissionError as err:
        told = f"{err.filename}: {err.strerror}; ask as root or as the agent's user"
        yield skipped(name, told, subject=check.subject)
    except GatehouseError as err:
        yield problem(name, str(err), "do as it says, then look again", subject=check.subject)
    except Exception as err:  # one check with a bug must not hide what the others found
        seen = f"could not be checked: {type(err).__name__}: {err}"
        yield problem(name, seen, "report this as a fault of edge-agent", subject=check.subject)


def _without_answer(check: Check, found: Sequence[Finding], deadline_s: float) -> Iterator[Finding]:
    seen = {finding.check for finding in found}
    for name in check.names:
        if name not in seen:
            told = f"no answer within {deadline_s:g} s"
            yield problem(name, told, "whatever it asks hangs: look there first", subject=check.subject)
            return
