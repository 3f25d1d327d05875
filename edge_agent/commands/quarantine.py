"""`edge-agent quarantine`: what collectors refused, and why."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.quarantine import RefusedItem, refused_items
from edge_agent.commands.answer import Answer, table
from edge_agent.config import load_config
from models.errors import NeedsAHuman
from models.reading import Event
from models.times import utc_text


def list_refused(path: Path) -> Answer:
    """All that is here. No bad news by itself: each was told of when it happened."""
    found = list(_refused(path))
    if not found:
        return Answer([], "No item was refused.")
    rows = [[one.collector, str(one.seq), utc_text(one.refused_ms), *_what(one), one.reason] for one in found]
    return Answer(
        [_facts(one) for one in found],
        table(["collector", "number", "refused", "device", "what", "why"], rows),
    )


def export_refused(path: Path, file: Path) -> Answer:
    """One line of JSON for each, in a file that only its owner can read. One that is there stays."""
    count = 0
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            for one in _refused(path):
                out.write(msgspec.json.encode(_facts(one)) + b"\n")
                count += 1
    except FileExistsError:
        raise NeedsAHuman(f"{file}: is there already; name another file") from None
    except OSError as err:
        raise NeedsAHuman(f"{file}: {err.strerror}; check the folder and its rights") from err
    return Answer({"file": str(file), "items": count}, f"{count} items written to {file}.")


def _refused(path: Path) -> Iterator[RefusedItem]:
    config = load_config(path)
    if not config.buffer_file.exists():
        return iter(())
    return refused_items(config.buffer_file, at_rest_of(config))


def _facts(one: RefusedItem) -> dict[str, Any]:
    return {
        "collector": one.collector,
        "seq": one.seq,
        "refused_ms": one.refused_ms,
        "reason": one.reason,
        "item": None if one.item is None else msgspec.to_builtins(msgspec.structs.asdict(one.item)),
    }


def _what(one: RefusedItem) -> tuple[str, str]:
    if one.item is None:
        return "?", "its row is damaged"
    if isinstance(one.item, Event):
        return one.item.device_id, one.item.kind
    return one.item.device_id, f"{one.item.point} = {one.item.value}"
