"""OSDP door readers on a pseudo-terminal: one wire, one thread, libosdp in the role of the reader.

libosdp is on both sides then; what is ours on each side shares nothing. It is a library that real readers
use, and the bytes on the wire are those of OSDP.
"""

import asyncio
import hashlib
import os
import pty
import threading
import time
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import osdp_sys

from models.times import Clock
from simulators.access.people import Person, staff
from simulators.access.sections import OsdpLineSection, ReaderSection
from simulators.access.spoiling import Spoiling
from simulators.faults import FaultSet
from simulators.ledger import LedgerWriter
from simulators.noise import key_of

REFRESH_S = 0.002
DEFAULT_KEY = bytes(range(0x30, 0x40))
_KEYS = {"#": 0x0D, "*": 0x7F}


def wiegand26(number: int) -> bytes:
    """The 26 bits of a 24-bit card number, between their parity bits, first bit highest."""
    bits = f"{number:024b}"
    even = bits[:12].count("1") % 2
    odd = 1 - bits[12:].count("1") % 2
    return int(f"{even}{bits}{odd}".ljust(32, "0"), 2).to_bytes(4, "big")


class SimulatedReader:
    """One reader. Its methods may be called from the loop; they return before the panel has heard of it."""

    def __init__(self, section: ReaderSection, line: "SimulatedLine") -> None:
        self.section, self._line = section, line
        self.is_on = True
        self.outputs: dict[int, int] = {}  # the last control code for each
        self.keys_set = 0  # how often somebody gave it a key
        self._waiting = bytearray()  # bytes of the wire that it has not read
        self._status = [0, 0]
        self._device: Any = None
        self._make()

    def hold(self, card: str) -> None:
        """Hold a 26-bit card to it, by the number that is printed on it."""
        self._submit("door.card_read", {"reader": 1, "credential": "card"}, _card(26, wiegand26(int(card))))

    def hold_bits(self, bits: int, data: bytes) -> None:
        """Hold a card of any format to it."""
        self._submit("", {}, _card(bits, data))

    def type(self, keys: str) -> None:
        """Type digits, * and #, one after the other."""
        if any(key.isdigit() for key in keys):
            self._happened("door.pin_typed", {"reader": 1, "credential": "pin"})
        for key in keys:
            code = _KEYS.get(key, ord(key))
            event = {"event": osdp_sys.EVENT_KEYPRESS, "reader_no": 0, "data": bytes([code])}
            self._line.do(lambda event=event: self._device.submit_event(event))

    def open_case(self, is_open: bool = True) -> None:
        """Take it off the wall, or put it back."""
        self._status[0] = int(is_open)
        self._tell_status("door.tamper" if is_open else "door.tamper_ended", "reader opened")

    def lose_power(self, is_lost: bool = True) -> None:
        """Let its supply fail, or come back; a battery keeps it talking."""
        self._status[1] = int(is_lost)
        self._tell_status("door.fault" if is_lost else "door.fault_ended", "power of the reader")

    def switch_off(self) -> None:
        """It answers no more."""
        self.is_on = False

    def switch_on(self) -> None:
        """It begins again from the start."""

        def begin() -> None:
            self._waiting.clear()
            self._make()
            self.is_on = True

        self._line.do(begin)

    def read(self, most: int) -> bytes:
        data = bytes(self._waiting[:most])
        del self._waiting[:most]
        return data

    def write(self, data: bytes) -> int:
        self._line.reply(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._waiting.clear()

    id = 1

    def hear(self, data: bytes) -> None:
        self._waiting += data

    def refresh(self) -> None:
        if self.is_on:
            self._device.refresh()
        else:
            self._waiting.clear()

    def _make(self) -> None:
        key, flags = None, osdp_sys.FLAG_INSTALL_MODE
        if self.section.key == "none":  # a key that nobody knows, and it does without
            key, flags = hashlib.sha256(self.section.id.encode()).digest()[:16], 0
        elif self.section.key != "default":
            key, flags = bytes.fromhex(self.section.key), osdp_sys.FLAG_ENFORCE_SECURE
        capabilities = {
            osdp_sys.CAP_CONTACT_STATUS_MONITORING: (1, 2),
            osdp_sys.CAP_OUTPUT_CONTROL: (1, self.section.outputs),
            osdp_sys.CAP_CARD_DATA_FORMAT: (1, 1),
            osdp_sys.CAP_CHECK_CHARACTER_SUPPORT: (1, 0),
            osdp_sys.CAP_COMMUNICATION_SECURITY: (1, 1),
            osdp_sys.CAP_READERS: (1, 1),
        }
        osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
        self._device = osdp_sys.PeripheralDevice(
            {
                "name": self.section.id[:15],
                "address": self.section.address,
                "flags": flags,
                "scbk": key,
                "channel": self,
                "version": 1,
                "model": 1,
                "vendor_code": 0x00D0E0,
                "serial_number": self.section.address,
                "firmware_version": 0x010203,
            },
            capabilities=[
                {"function_code": code, "compliance_level": level, "num_items": items}
                for code, (level, items) in capabilities.items()
            ],
        )
        self._device.set_command_callback(self._told)

    def _told(self, command: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        if command["command"] == osdp_sys.CMD_OUTPUT:
            self.outputs[command["output_no"]] = command["control_code"]
        elif command["command"] == osdp_sys.CMD_KEYSET:
            self.keys_set += 1
        elif command["command"] == osdp_sys.CMD_STATUS:
            return 0, {**command, "report": bytes(self._status)}
        return 0, None

    def _tell_status(self, kind: str, what: str) -> None:
        report = {"type": osdp_sys.STATUS_REPORT_LOCAL, "report": bytes(self._status)}
        self._submit(kind, {"what": what}, {"event": osdp_sys.EVENT_STATUS, **report})

    def _submit(self, kind: str, told: dict[str, Any], event: dict[str, Any]) -> None:
        if kind:
            self._happened(kind, told)
        self._line.do(lambda: self._device.submit_event(event))

    def _happened(self, kind: str, data: dict[str, Any]) -> None:
        self._line.happened(self.section.id, kind, data)


class SimulatedLine:
    """The wire. `port` is what a gateway opens; all readers hear what anybody says on it."""

    def __init__(
        self,
        section: OsdpLineSection,
        *,
        clock: Clock,
        seed: int,
        origin_ms: int,
        ledger: LedgerWriter | None,
    ) -> None:
        self._clock, self._ledger = clock, ledger
        faults = FaultSet(section.readers[0].id, seed=seed, origin_ms=origin_ms, now_ms=clock.now_ms)
        for fault in section.faults:
            faults.add(fault)
        self._spoiling = Spoiling(faults, seed=seed)
        self._late: list[tuple[float, bytes]] = []  # when, by the monotonic clock, and what
        self._is_away = False
        self._every_s = section.every_ms / 1000
        self.people = staff(key_of(seed, "readers"), section.people)
        self._wire, self._kept = (
            pty.openpty()
        )  # the second one stays open, else the wire ends with the first gateway
        tty.setraw(self._wire)
        tty.setraw(self._kept)
        os.set_blocking(self._wire, False)
        self.port = Path(os.ttyname(self._kept))
        self._todo: list[Any] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.readers = {reader.id: SimulatedReader(reader, self) for reader in section.readers}
        self._thread = threading.Thread(target=self._work, name="simulated readers", daemon=True)
        self._thread.start()

    @property
    def secrets(self) -> set[str]:
        """Every card number, name and employee number of its people."""
        return {text for person in self.people for text in (person.name, person.number, person.card)}

    @property
    def secret_files(self) -> dict[str, str]:
        """What must stand beside a gateway.yaml: the keys of the readers that have one of their own."""
        sections = [reader.section for reader in self.readers.values()]
        return {f"{s.id}.key": s.key for s in sections if s.key not in ("default", "none")}

    def buses(self, name: str) -> list[dict[str, Any]]:
        """Those of a gateway.yaml that opens it."""
        return [{"id": name, "osdp": {"port": str(self.port)}}]

    def devices(self, name: str) -> list[dict[str, Any]]:
        """Those of a gateway.yaml that opens it."""
        keys = self.secret_files
        return [
            {
                "id": reader.section.id,
                "bus": name,
                "unit": reader.section.address,
                "profile": "osdp-reader",
                "period_s": 60,
                **({"key_file": f"{reader.section.id}.key"} if f"{reader.section.id}.key" in keys else {}),
            }
            for reader in self.readers.values()
        ]

    def do(self, work: Any) -> None:
        """Let the readers' thread do something: libosdp is not for two threads."""
        with self._lock:
            self._todo.append(work)

    def happened(self, device: str, kind: str, data: dict[str, Any]) -> None:
        if self._ledger is not None:
            # A reader forgets what it has told; so does a wire.
            self._ledger.happened(self._clock.now_ms(), device, kind, data, kept=False)

    async def live(self) -> None:
        """Let people hold their cards to the readers, one every few seconds, until cancelled."""
        readers = list(self.readers.values())
        turn = 0
        while self.people:
            person: Person = self.people[turn % len(self.people)]
            readers[turn % len(readers)].hold(person.card)
            turn += 1
            await self._clock.sleep(self._every_s)

    def reply(self, data: bytes) -> None:
        """A reader speaks; its bytes reach the wire as the faults have it."""
        for delay_s, said in self._spoiling.spoil(data, self._clock.now_ms()):
            if delay_s:
                self._late.append((time.monotonic() + delay_s, said))
            else:
                self.write(said)

    def write(self, data: bytes) -> None:
        try:
            os.write(self._wire, data)
        except BlockingIOError:
            return  # nobody reads: the bytes are lost, as on any wire

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        os.close(self._wire)
        os.close(self._kept)

    def _work(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                todo, self._todo = self._todo, []
            for work in todo:
                work()
            self._follow_faults()
            try:
                said = os.read(self._wire, 4096)
            except BlockingIOError:
                said = b""
            for reader in self.readers.values():
                reader.hear(said)
                reader.refresh()
            time.sleep(REFRESH_S)

    def _follow_faults(self) -> None:
        """Let late replies come, and the power of all readers go and come back."""
        now_s = time.monotonic()
        due, self._late = [s for s in self._late if s[0] <= now_s], [s for s in self._late if s[0] > now_s]
        for _, said in due:
            self.write(said)
        was_away, self._is_away = self._is_away, self._spoiling.is_away(self._clock.now_ms())
        if self._is_away != was_away:
            for reader in self.readers.values():
                if self._is_away:
                    reader.switch_off()
                else:
                    reader.switch_on()


@asynccontextmanager
async def running_line(
    section: OsdpLineSection,
    *,
    clock: Clock,
    seed: int,
    origin_ms: int,
    ledger: LedgerWriter | None = None,
) -> AsyncIterator[SimulatedLine]:
    """Serve a line of readers while the block runs; its people, if it has any, hold cards to them."""
    line = SimulatedLine(section, clock=clock, seed=seed, origin_ms=origin_ms, ledger=ledger)
    people = asyncio.create_task(line.live(), name="people at readers")
    try:
        yield line
    finally:
        people.cancel()
        await asyncio.gather(people, return_exceptions=True)
        await asyncio.to_thread(line.close)


def _card(bits: int, data: bytes) -> dict[str, Any]:
    return {
        "event": osdp_sys.EVENT_CARDREAD,
        "reader_no": 0,
        "direction": 0,
        "format": osdp_sys.CARD_FMT_RAW_WIEGAND,
        "length": bits,
        "data": data,
    }
