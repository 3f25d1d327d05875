"""The control panel of an OSDP line, with libosdp. The only use of it on a gateway.

libosdp is not typed, and its own Python layer keeps every event, card numbers and all, for ever; so its C
module is used directly. What it would do by itself and must not: write to the log, hand the key of a reader
to one that has only the default key, and leave a reader alone for five minutes after it was silent.
"""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import osdp_sys

from drivers.access.osdp_says import (
    Done,
    Found,
    Happening,
    Heard,
    Online,
    Outcome,
    Reader,
    Security,
    Seen,
    Status,
    Typed,
)

TRY_AGAIN_S: Final = (2.0, 32.0)
"""Pauses between attempts with a silent reader: each costs the line 0.2 s."""

SILENT_S: Final = (3.0, 0.5)
"""After so long a reader is lost, and so much longer for each on the line; libosdp itself waits 8 s."""

DEFAULT_KEY: Final = bytes(range(0x30, 0x40))
"""SCBK-D: the key of the standard, which every reader has that nobody gave another one."""

_LOST_S: Final = 8.0  # for one that never came
_STEADY_S: Final = 60.0
_ENDING_KEYS: Final = frozenset(b"\r#\x7f*")  # # and * as OSDP and as some readers send them
_HOW_ARE_YOU: Final = {"command": osdp_sys.CMD_STATUS, "type": osdp_sys.STATUS_REPORT_LOCAL, "report": b""}

_log = logging.getLogger(__name__)


class Channel(Protocol):
    """The wire, as libosdp wants it; nothing may be raised."""

    id: int  # the same for all readers: they share the wire
    heard_s: dict[int, float]  # by address, when a reader last said anything; of the monotonic clock

    def read(self, most: int) -> bytes: ...

    def write(self, data: bytes) -> int: ...

    def flush(self) -> None:
        """Forget what came: before a new beginning it can only be late."""


class Panel:
    """libosdp's panel, and what is to be known of each reader to handle it well."""

    def __init__(self, channel: Channel, readers: Sequence[Reader], heard: Heard) -> None:
        self._channel, self._heard = channel, heard
        self._known = [_Known(reader) for reader in readers]
        self._orders: dict[int, list[Done]] = {}
        self._silent_s = SILENT_S[0] + SILENT_S[1] * len(readers)
        self._make(time.monotonic())

    def _make(self, now_s: float) -> None:
        """A panel that begins from the start with all readers: the only way to give libosdp other keys."""
        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        for known in self._known:
            known.begin(now_s)
        self._wants_new = False
        self._context = osdp_sys.ControlPanel([known.info(self._channel) for known in self._known])
        self._context.set_event_callback(self._on_event)
        self._context.set_command_completion_callback(self._on_done)

    def refresh(self, now_s: float) -> None:
        """One step. A reader that fell silent is tried again, and one that refuses is looked at closer."""
        self._context.refresh()
        if self._wants_new:  # before the next step, which would give the reader a key
            self._channel.flush()
            self._drop_orders()
            self._make(now_s)
            return
        for index, known in enumerate(self._known):
            if not known.is_online:
                self._look_after(index, known, now_s)
            elif now_s - self._channel.heard_s.get(known.reader.address, known.came_s) > self._silent_s:
                for happening in known.went():
                    self._heard(known.reader.address, happening)

    def _look_after(self, index: int, known: "_Known", now_s: float) -> None:
        if known.told_online and now_s >= known.lost_at_s:
            known.told_online = False
            self._heard(known.reader.address, Online(False))
        if now_s < known.try_at_s:
            return
        if known.is_waiting:  # switched off a moment ago; on again, it begins from the start
            known.is_waiting = False
            known.tried_s = now_s
            known.pause(now_s)
            self._channel.flush()
            self._context.enable_pd(index)
        elif known.is_probed:  # as much is known as can be; from now on only its key counts
            known.is_probed, self._wants_new = False, True
        elif known.reader.key is not None and not known.was_probed and self._has_answered(known):
            # It is there, and does not do with its key: has it the default one?
            known.is_probed = known.was_probed = self._wants_new = True
        else:
            known.is_waiting = True
            self._context.disable_pd(index)

    def _has_answered(self, known: "_Known") -> bool:
        """Whether it has said anything since it was last tried."""
        return self._channel.heard_s.get(known.reader.address, 0.0) >= known.tried_s

    def order(self, address: int, order: dict[str, Any], done: Done) -> None:
        """Outputs that a reader does not have are not asked for: libosdp drops a reader that says no."""
        for index, known in enumerate(self._known):
            if known.reader.address != address or not known.is_online:
                continue
            _, outputs = self._context.check_capability(index, osdp_sys.CAP_OUTPUT_CONTROL)
            if order["output_no"] >= outputs:
                done(Outcome.NO_OUTPUT)
            elif self._context.submit_command(index, order):
                self._orders.setdefault(index, []).append(done)
            else:
                done(Outcome.FAILED)
            return
        done(Outcome.OFFLINE)

    def close(self) -> None:
        self._drop_orders()
        del self._context

    def _drop_orders(self) -> None:
        waiting, self._orders = self._orders, {}
        for dones in waiting.values():
            for done in dones:
                done(Outcome.FAILED)

    def _on_done(self, index: int, command: dict[str, Any], status: int) -> None:
        if command["command"] == osdp_sys.CMD_OUTPUT and self._orders.get(index):
            done = self._orders[index].pop(0)
            done(Outcome.DONE if status == osdp_sys.COMPLETION_OK else Outcome.FAILED)

    def _on_event(self, index: int, event: dict[str, Any]) -> int:
        """Called by libosdp, which prints what is raised here: so nothing may be."""
        known = self._known[index]
        try:
            for happening in self._read(index, known, event):
                self._heard(known.reader.address, happening)
        except Exception:  # without its message, which might show a card
            _log.error("osdp: an event of reader %d could not be read", known.reader.address)
        return 0

    def _read(self, index: int, known: "_Known", event: dict[str, Any]) -> list[Happening]:
        kind = event["event"]
        if kind == osdp_sys.EVENT_NOTIFICATION:
            return self._noticed(index, known, event)
        if not known.may_speak:
            return []
        if kind == osdp_sys.EVENT_CARDREAD:
            is_text = event["format"] == osdp_sys.CARD_FMT_ASCII
            return [
                Seen(event["reader_no"], event["length"], event["data"], is_text, bool(event["direction"]))
            ]
        if kind == osdp_sys.EVENT_KEYPRESS:
            keys = event["data"]
            is_end = [key in _ENDING_KEYS for key in keys]
            return [Typed(event["reader_no"], begins=not all(is_end), ends=any(is_end))]
        if kind == osdp_sys.EVENT_STATUS and event["type"] == osdp_sys.STATUS_REPORT_LOCAL:
            report = [*event["report"], 0, 0]
            return [Status(is_tampered=bool(report[0]), power_failed=bool(report[1]))]
        return []

    def _noticed(self, index: int, known: "_Known", event: dict[str, Any]) -> list[Happening]:
        is_on, is_default = bool(event["arg0"]), bool(event["arg1"])
        if event["type"] == osdp_sys.EVENT_NOTIFICATION_SC_STATUS:
            if is_on and known.asks_with_default:
                known.has_default_key, known.is_probed, known.has_no_own = True, False, is_default
                # libosdp would now set a key at a reader that has none of its own, were it not begun anew.
                self._wants_new = is_default or known.reader.key is not None
                return [Found(Security.DEFAULT_KEY)]
            known.is_secure = is_on
        elif event["type"] == osdp_sys.EVENT_NOTIFICATION_PD_STATUS and is_on != known.is_online:
            if is_on and known.may_speak:  # how it is now; from then on it tells changes by itself
                self._context.submit_command(index, _HOW_ARE_YOU)
            return known.came() if is_on else known.went()
        return []


class _Known:
    """One reader as far as it is known."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.told_online = True  # so that it is told as lost when it is never there
        self.is_probed = self.was_probed = False  # whether it is, or was, asked with the default key instead
        self.has_default_key = False
        self.has_no_own = False  # it took the default key for want of one, and would be given one
        self.came_s = 0.0
        self.begin(time.monotonic())

    def begin(self, now_s: float) -> None:
        """A new panel knows nothing of it yet."""
        self.is_online = self.is_secure = self.is_waiting = False
        self.pause_s = TRY_AGAIN_S[0]
        self.lost_at_s = now_s + _LOST_S
        self.tried_s = now_s  # what it said before that is no answer to this beginning
        self.pause(now_s)

    def pause(self, now_s: float) -> None:
        """Leave it alone for a while, and for longer the next time."""
        self.try_at_s = now_s + self.pause_s
        self.pause_s = min(2 * self.pause_s, TRY_AGAIN_S[1])

    @property
    def asks_with_default(self) -> bool:
        """Whether libosdp is given the default key: only to see if the reader takes it."""
        return self.is_probed or (self.reader.key is None and not self.has_no_own)

    @property
    def may_speak(self) -> bool:
        """Whether what it says is believed: with a key of its own, only under that."""
        return self.reader.key is None or (self.is_secure and not self.is_probed)

    def info(self, channel: Channel) -> dict[str, Any]:
        """What libosdp is told of it."""
        flags, key = osdp_sys.FLAG_ENABLE_NOTIFICATION, self.reader.key
        if self.asks_with_default:
            key = DEFAULT_KEY
        elif key is not None:
            flags |= osdp_sys.FLAG_ENFORCE_SECURE
        return {
            "name": f"reader-{self.reader.address}",
            "address": self.reader.address,
            "flags": flags,
            "scbk": key,
            "channel": channel,
            # These are those of a reader, and libosdp wants them of a panel too.
            **dict.fromkeys(("version", "model", "vendor_code", "serial_number", "firmware_version"), 0),
        }

    def came(self) -> list[Happening]:
        """It is online for libosdp."""
        if self.is_probed:  # it speaks in clear: without its key it does not count as there
            return [Found(Security.WRONG_KEY)]
        self.is_online = self.told_online = True
        self.was_probed, self.came_s = False, time.monotonic()
        if self.reader.key is not None:
            self.has_default_key = False
            return [Found(Security.OWN_KEY), Online(True)]
        return [Found(Security.DEFAULT_KEY if self.has_default_key else Security.NONE), Online(True)]

    def went(self) -> list[Happening]:
        """It has not answered for too long."""
        self.is_online = self.told_online = False
        self.tried_s = math.inf
        if time.monotonic() - self.came_s > _STEADY_S:  # else it comes and goes, and is tried less and less
            self.pause_s = TRY_AGAIN_S[0]
        self.pause(time.monotonic())
        return [Online(False)]
