"""What the meters showed, written apart from whoever reads them: one line per request.

The file is JSON lines. The first tells the scenario; a line with `shape` names what a request asks for,
once; every request is then one short array:

    {"ledger": 1, "scenario": "office", "seed": 7, "start_ms": 1772380800000}
    {"shape": 0, "meter": "m-01", "unit": 1, "table": "input", "first": 0, "size": 60, "points": [NAME, …]}
    [1772380860000, 3, 0, [230.2, …]]        time, connection, shape, values: an intact reply on time
    [1772380920000, 3, 0, "lost"]            a reply that was spoiled, and how: it shows nothing
    {"closed": 3, "at_ms": 1772380930000}    the connection is gone
    {"said": {"power_kw": 1.2}, "device": "b-1", "at_ms": 1772380931000, "kept": false}
                                             values that a device sent by itself; kept: until they are taken
    {"event": "door.granted", "device": "d-1", "at_ms": 1772380932000, "data": {…}}
    {"end": 1772390000000}                   the scenario ended as it should

A value is what an ideal reader decodes from the registers that were sent; null: not available.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from models.errors import BadInput, NeedsAHuman

_BUFFER_BYTES = 262_144  # half a second at full load; a crash of the simulators may lose so much


class LedgerMistake(BadInput):
    """A file that is no ledger, or one that broke off in the middle of a line."""


class LedgerExists(NeedsAHuman):
    """The file is there already; a ledger is never written over or mixed with another."""


class LedgerWriter:
    """Appends to one file. Lines reach it in blocks; `flush` and `close` write what is waiting.

    It writes from the loop's own thread: a block takes some 50 microseconds, less than handing it over.
    """

    def __init__(self, path: Path, *, scenario: str, seed: int, start_ms: int) -> None:
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError as err:
            raise LedgerExists(f"{path} is there already; name a new file or remove it") from err
        self._encode = msgspec.json.Encoder().encode
        self._waiting = bytearray()
        self._shapes = self._connections = 0
        self._line({"ledger": 1, "scenario": scenario, "seed": seed, "start_ms": start_ms})

    def connection(self) -> int:
        """The number of a new connection."""
        self._connections += 1
        return self._connections

    def shape(
        self, *, meter: str, unit: int, table: str, first: int, size: int, points: Sequence[str]
    ) -> int:
        """The number of a way to ask. Give each to the ledger once."""
        number = self._shapes
        self._shapes += 1
        line = {"shape": number, "meter": meter, "unit": unit, "table": table, "first": first, "size": size}
        self._line({**line, "points": points})
        return number

    def shown(self, at_ms: int, connection: int, shape: int, values: Sequence[float | None]) -> None:
        """A reply was sent, intact and on time."""
        self._line((at_ms, connection, shape, values))

    def spoiled(self, at_ms: int, connection: int, shape: int, how: str) -> None:
        """A request got no reply, or none that a reader may take."""
        self._line((at_ms, connection, shape, how))

    def closed(self, at_ms: int, connection: int) -> None:
        self._line({"closed": connection, "at_ms": at_ms})

    def said(self, at_ms: int, device: str, values: Mapping[str, float | None], *, kept: bool) -> None:
        """A device sent values by itself. `kept`: it, or what is between, keeps them until they are taken."""
        self._line({"said": values, "device": device, "at_ms": at_ms, "kept": kept})

    def happened(
        self, at_ms: int, device: str, kind: str, data: Mapping[str, Any], *, kept: bool = True
    ) -> None:
        """Something happened at a device, which is to arrive as an event of that kind with this data.

        `kept` as in `said`: what is not kept is lost with a reader that is killed at that moment.
        """
        line = {"event": kind, "device": device, "at_ms": at_ms, "data": data}
        self._line(line if kept else {**line, "kept": False})

    def end(self, at_ms: int) -> None:
        """The scenario ended as it should: readers have stored what they got over open connections."""
        self._line({"end": at_ms})

    def flush(self) -> None:
        if self._waiting:
            self._file.write(self._waiting)
            self._waiting.clear()

    def close(self) -> None:
        """Safe to call twice."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _line(self, line: Any) -> None:
        self._waiting += self._encode(line)
        self._waiting += b"\n"
        if len(self._waiting) >= _BUFFER_BYTES:
            self.flush()


class Produced(NamedTuple):
    """One value that a meter showed. Not confirmed: its reader may or may not have stored it."""

    meter_id: str
    point: str
    value: float
    served_ms: int
    confirmed: bool


def produced(ledger: Path) -> Iterator[Produced]:
    """What the meters showed, read again from the file.

    A reply is confirmed once the same connection asks for the same registers of the same unit again,
    which a reader does only when it has stored the reply, or when the scenario ended while the
    connection was open. The last reply before a connection broke is not confirmed.

    The values of one point come in the order of `served_ms` as long as it has one reader at a time.
    Raises LedgerMistake for a file that is no ledger. A last line that broke off is left out.
    """
    shapes: dict[int, tuple[str, list[str]]] = {}
    waiting: dict[int, dict[int, tuple[int, list[float | None]]]] = {}
    for line in _lines(ledger):
        if isinstance(line, list):
            at_ms, connection, shape, values = line
            pending = waiting.setdefault(connection, {})
            if (before := pending.pop(shape, None)) is not None:
                yield from _values(shapes[shape], before, confirmed=True)
            if isinstance(values, list):
                pending[shape] = (at_ms, values)
        elif "said" in line:
            for point, value in line["said"].items():
                if value is not None:
                    yield Produced(line["device"], point, value, line["at_ms"], line["kept"])
        elif "shape" in line:
            shapes[line["shape"]] = (line["meter"], line["points"])
        elif "closed" in line:
            for shape, last in waiting.pop(line["closed"], {}).items():
                yield from _values(shapes[shape], last, confirmed=False)
        elif "end" in line:
            for pending in waiting.values():
                for shape, last in pending.items():
                    yield from _values(shapes[shape], last, confirmed=True)
            waiting.clear()
    for pending in waiting.values():
        for shape, last in pending.items():
            yield from _values(shapes[shape], last, confirmed=False)


class Happened(NamedTuple):
    """Something that happened at a device."""

    device: str
    kind: str
    at_ms: int
    data: dict[str, Any]
    kept: bool = True


def happenings(ledger: Path) -> Iterator[Happened]:
    """What happened, in the order in which it was written. Raises LedgerMistake."""
    for line in _lines(ledger):
        if isinstance(line, dict) and "event" in line:
            yield Happened(line["device"], line["event"], line["at_ms"], line["data"], line.get("kept", True))


def _values(
    shape: tuple[str, list[str]], reply: tuple[int, list[float | None]], *, confirmed: bool
) -> Iterator[Produced]:
    meter_id, points = shape
    served_ms, values = reply
    for point, value in zip(points, values, strict=True):
        if value is not None:
            yield Produced(meter_id, point, value, served_ms, confirmed)


def _lines(ledger: Path) -> Iterator[Any]:
    decode = msgspec.json.Decoder().decode
    with ledger.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return  # broke off: the simulators were killed
            try:
                line = decode(text)
            except msgspec.DecodeError as err:
                raise LedgerMistake(f"{ledger}:{number}: not a line of a ledger ({err})") from err
            if number == 1 and not (isinstance(line, dict) and line.get("ledger") == 1):
                raise LedgerMistake(f"{ledger} is no ledger of the simulators")
            yield line
