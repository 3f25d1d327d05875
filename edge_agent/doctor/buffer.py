"""The buffer: how full it is, what waits in it, whether it adds up, what was set aside."""

from collections.abc import Iterator
from typing import Final

import msgspec

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene
from edge_agent.observed import buffer_of
from edge_agent.status import BufferStatus
from models.times import HOUR_MS

MB: Final = 1 << 20
NEARLY_FULL_PCT: Final = 90
WAITS_LONG_MS: Final = HOUR_MS

NAMES: Final = ("buffer.room", "buffer.pending", "buffer.sound", "buffer.aside")


def buffer(scene: Scene) -> Iterator[Finding]:
    """Of the running agent; without one, of the file."""
    status = scene.status()
    found = status.buffer if status is not None else buffer_of(scene.buffer_file)
    if found is None:
        why = "the agent cannot say" if status is not None else "there is none yet; the agent makes it"
        yield from (skipped(name, why) for name in NAMES[:-1])
    else:
        most = scene.settings.buffer.max_mb * MB if scene.settings is not None else 0
        yield judged_room(found, most)
        yield judged_pending(found, scene.host.now_ms())
        yield judged_sound(found)
    yield _aside(scene)


def judged_room(buffer: BufferStatus, most: int) -> Finding:
    """`most` in bytes; 0 when nobody knows."""
    used = buffer.bytes_used
    seen = f"{used / MB:.1f} MB" + (f" of {most / MB:.0f} MB" if most else "")
    facts = {"bytes_used": used, "bytes_most": most}
    pending = max((outbox.pending for outbox in buffer.outboxes.values()), default=0)
    if most and used * 100 >= NEARLY_FULL_PCT * most and pending:
        hint = "reach the collector, or raise buffer.max_mb: soon the oldest readings are thinned out"
        return warning("buffer.room", f"{seen}; {pending} items wait", hint, facts=facts)
    return ok("buffer.room", seen, facts=facts)


def judged_pending(buffer: BufferStatus, now_ms: int) -> Finding:
    """What waits, and since when, for the collector that has waited longest."""
    facts = {
        name: {"pending": outbox.pending, "oldest_pending_ms": outbox.oldest_pending_ms}
        for name, outbox in buffer.outboxes.items()
    }
    waiting = [
        (outbox.oldest_pending_ms, name, outbox.pending)
        for name, outbox in buffer.outboxes.items()
        if outbox.oldest_pending_ms is not None
    ]
    if not waiting:
        return ok("buffer.pending", "nothing waits", facts=facts)
    oldest_ms, name, pending = min(waiting)
    age_ms = now_ms - oldest_ms
    seen = f"{pending} items wait for {name}, the oldest since {max(0, age_ms) / HOUR_MS:.1f} h"
    if age_ms > WAITS_LONG_MS:
        return warning("buffer.pending", seen, "see the checks of the collector", facts=facts)
    return ok("buffer.pending", seen, facts=facts)


def judged_sound(buffer: BufferStatus) -> Finding:
    """Whether every item is accounted for, and on disk."""
    outboxes = buffer.outboxes.values()
    facts: dict[str, object] = {name: msgspec.to_builtins(outbox) for name, outbox in buffer.outboxes.items()}
    facts["held_in_memory"] = buffer.held_in_memory
    if not buffer.conserved:
        seen = "produced is not delivered + pending + quarantined + dropped"
        return problem("buffer.sound", seen, "keep a copy of buffer.db and report this", facts=facts)
    if buffer.held_in_memory:
        seen = f"the disk refuses readings: {buffer.held_in_memory} are in memory alone"
        return problem("buffer.sound", seen, "free space; see the checks of the disk", facts=facts)
    dropped = max((outbox.dropped for outbox in outboxes), default=0)
    if buffer.lost_from_memory or dropped:
        seen = f"{dropped} items dropped, {buffer.lost_from_memory} lost in memory; each loss is told"
        return warning("buffer.sound", seen, "see its reason in the events of the collector", facts=facts)
    quarantined = max((outbox.quarantined for outbox in outboxes), default=0)
    if quarantined:
        seen = f"{quarantined} items are kept aside as wrong"
        return warning("buffer.sound", seen, "see why on the collector's page", facts=facts)
    produced = max((outbox.produced for outbox in outboxes), default=0)
    return ok("buffer.sound", f"all of {produced} items are accounted for", facts=facts)


def _aside(scene: Scene) -> Finding:
    if not scene.state_dir.is_dir():
        return skipped("buffer.aside", "there is no state folder yet")
    found = set_aside(scene)
    if not found:
        return ok("buffer.aside", "no damaged file was set aside")
    total = sum(size for _, size in found)
    seen = f"{len(found)} damaged files were set aside, {total / MB:.1f} MB: {found[0][0]}"
    hint = "the disk may be failing: see its checks; the newest files are kept for support"
    return warning("buffer.aside", seen, hint, facts={"files": [name for name, _ in found], "bytes": total})


def set_aside(scene: Scene) -> list[tuple[str, int]]:
    """Name and size in bytes of each."""
    files = scene.state_dir.glob(f"{scene.buffer_file.name}.damaged-*")
    return sorted((path.name, path.stat().st_size) for path in files if path.is_file())
