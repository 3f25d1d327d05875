"""Turns times that count from the start of the machine into real ones, once it is known when that was.

Such a *provisional* time lies far below any real date and names its boot: boot number n x `BOOT_MS` plus the
milliseconds since that boot. What is known of each boot stands in marks of the buffer, so that what was
stored before a loss of power finds its time after it:

- The boot's own offset is known: its times are exact.
- It ended before its offset was known: its times are estimated, as if the machine had started again at once,
  and readings are SUSPECT for it. The order and the distances of readings are right all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from models.reading import Event, Item, Quality, Reading, Reason

BOOT_MS: Final = 20_000_000_000
"""231 days: longer than any gateway runs without hearing the time from anybody."""

BOOTS: Final = 48
"""Numbers are used again after so many boots whose time was not known at once."""

PROVISIONAL_END_MS: Final = BOOT_MS * (BOOTS + 1)
"""In the year 2001: no real reading is older."""

PREFIX: Final = "clock/boot/"


def is_provisional(ms: int) -> bool:
    """Whether a time counts from the start of a machine and not from 1970."""
    return BOOT_MS <= ms < PROVISIONAL_END_MS


@dataclass(frozen=True, slots=True)
class Boot:
    """One run of the machine. `offset_ms` is what makes a real time of the milliseconds since its start."""

    number: int  # 1 to BOOTS
    order: int  # later boots have a greater one
    id: str
    up_ms: int = 0  # how long it had run when that was last noted
    offset_ms: int | None = None
    is_exact: bool = True

    def provisional_ms(self, since_boot_ms: int) -> int:
        return self.number * BOOT_MS + min(since_boot_ms, BOOT_MS - 1)


class Boots:
    """What is known of this boot and of those before it."""

    def __init__(self, marks: Mapping[str, str], boot_id: str) -> None:
        """`marks` are those that begin with `PREFIX`. Without a `boot_id` each start counts as a boot."""
        known = sorted(_read(marks), key=lambda boot: boot.order)
        self._boots = {boot.number: boot for boot in known}
        same = [boot for boot in known if boot_id and boot.id == boot_id]
        last = known[-1] if known else Boot(BOOTS, 0, "")
        self.current = same[-1] if same else Boot(last.number % BOOTS + 1, last.order + 1, boot_id)
        self._boots[self.current.number] = self.current

    def with_time(self, offset_ms: int) -> dict[str, str]:
        """Note this boot's offset, and what follows for those before; the marks that keep it."""
        self._set(replace(self.current, offset_ms=offset_ms))
        start_ms = offset_ms
        for boot in sorted(self._boots.values(), key=lambda boot: -boot.order):
            if boot.order >= self.current.order:
                continue
            if boot.offset_ms is None:
                self._set(replace(boot, offset_ms=start_ms - boot.up_ms, is_exact=False))
            start_ms = self._boots[boot.number].offset_ms or start_ms
        return {PREFIX + str(boot.number): _written(boot) for boot in self._boots.values()}

    def still_up(self, since_boot_ms: int) -> dict[str, str]:
        """Note how long this boot has run; the mark that keeps it."""
        self._set(replace(self.current, up_ms=since_boot_ms))
        return {PREFIX + str(self.current.number): _written(self.current)}

    def settled_ms(self, ms: int) -> int | None:
        """The real time of a time; None while it is not known."""
        if not is_provisional(ms):
            return ms
        boot = self._boots.get(ms // BOOT_MS) or self._forgotten(ms)
        return None if boot is None or boot.offset_ms is None else boot.offset_ms + ms % BOOT_MS

    def settled(self, items: Sequence[Item | None]) -> Sequence[Item | None] | None:
        """`items` with real times; None while that of any is not known. What is not there stays so."""
        if not any(
            is_provisional(item.received_ms) or is_provisional(item.measured_ms)
            for item in items
            if item is not None
        ):
            return items
        found: list[Item | None] = []
        for item in items:
            if item is None:
                found.append(None)
                continue
            measured_ms, received_ms = self.settled_ms(item.measured_ms), self.settled_ms(item.received_ms)
            if measured_ms is None or received_ms is None:
                return None
            changes: dict[str, Any] = {"measured_ms": measured_ms, "received_ms": received_ms}
            if isinstance(item, Event):
                changes["data"] = self._settled_data(item)
            elif not self._is_exact(item) and item.quality is not Quality.BAD:
                changes |= {"quality": Quality.SUSPECT, "reason": Reason.CLOCK_UNSET}
            found.append(msgspec.structs.replace(item, **changes))
        return found

    def _is_exact(self, item: Reading) -> bool:
        return all(
            self._boots[ms // BOOT_MS].is_exact
            for ms in (item.measured_ms, item.received_ms)
            if is_provisional(ms)
        )

    def _settled_data(self, event: Event) -> dict[str, Any]:
        """The times that an event tells of, such as those of a gap, are settled as well."""
        data = dict(event.data)
        for name, value in data.items():
            if name.endswith("_ms") and isinstance(value, int) and is_provisional(value):
                data[name] = self.settled_ms(value)
        if is_provisional(event.received_ms) and not self._boots[event.received_ms // BOOT_MS].is_exact:
            data["time_estimated"] = True
        return data

    def _forgotten(self, ms: int) -> Boot | None:
        """A boot whose mark was lost, placed before this one so that what it stored can be delivered."""
        if self.current.offset_ms is None:
            return None
        up_ms = ms % BOOT_MS
        boot = Boot(ms // BOOT_MS, 0, "", up_ms, self.current.offset_ms - up_ms, is_exact=False)
        self._boots[boot.number] = boot
        return boot

    def _set(self, boot: Boot) -> None:
        self._boots[boot.number] = boot
        if boot.number == self.current.number:
            self.current = boot


def _written(boot: Boot) -> str:
    return msgspec.json.encode(boot).decode()


def _read(marks: Mapping[str, str]) -> list[Boot]:
    """A mark that is none of ours counts as not there: its items wait for an estimate of another boot."""
    found = []
    for name, text in marks.items():
        try:
            boot = msgspec.json.decode(text, type=Boot)
        except msgspec.MsgspecError:
            continue
        if name == PREFIX + str(boot.number) and 1 <= boot.number <= BOOTS:
            found.append(boot)
    return found
