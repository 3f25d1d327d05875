"""Keeps timetables in files: one line of JSON for each fault, readable and comparable line by line."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from models.document_hints import suggest
from models.errors import BadInput
from simulators.lab.plan import KINDS, Fault, Trace


class TraceMistake(BadInput):
    """A file that is no timetable."""


class _Head(msgspec.Struct, frozen=True):
    trace: int
    seed: int
    duration_ms: int
    mix: str


def lines_of(trace: Trace) -> Iterator[str]:
    """What `read_trace` reads; the same for the same timetable, letter by letter."""
    yield msgspec.json.encode(_Head(1, trace.seed, trace.duration_ms, trace.mix)).decode()
    for fault in trace.faults:
        yield msgspec.json.encode(fault, order="sorted").decode()


def read_trace(path: Path) -> Trace:
    """Raise TraceMistake, which names the line."""
    head: _Head | None = None
    faults: list[Fault] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            if head is None:
                head = msgspec.json.decode(line, type=_Head)
                continue
            fault = msgspec.json.decode(line, type=Fault)
        except msgspec.MsgspecError as err:
            raise TraceMistake(f"{path}:{number}: no line of a timetable: {err}") from err
        if fault.kind not in KINDS:
            raise TraceMistake(
                f"{path}:{number}: there is no fault '{fault.kind}' ({suggest(fault.kind, KINDS)})"
            )
        if fault.at_ms < 0 or fault.lasts_ms < 0:
            raise TraceMistake(f"{path}:{number}: a fault neither begins nor lasts before the beginning")
        faults.append(fault)
    if head is None or head.trace != 1:
        raise TraceMistake(f"{path}: no timetable; make one with `simulators faults plan --seed 7`")
    ordered = tuple(sorted(faults, key=lambda fault: (fault.at_ms, fault.kind)))
    return Trace(head.seed, head.duration_ms, head.mix, ordered)
