"""What becomes of the replies of readers on their way: lost, late, broken, or somebody else's."""

import binascii
from typing import Final

from simulators.faults import OUTAGES, FaultSet
from simulators.line import misbehave
from simulators.noise import chance, key_of

_SOM: Final = 0x53
_WITH_CRC: Final = 0x04  # in the control byte, whose lowest two bits are the sequence number


class Spoiling:
    """The faults of one wire. All times are in ms since 1970, but for delays, which are real."""

    def __init__(self, faults: FaultSet, *, seed: int) -> None:
        self.faults = faults
        self._key = key_of(seed, "osdp replies")
        self._replies = 0
        self._away_until_ms = 0

    def is_away(self, now_ms: int) -> bool:
        """Whether the readers are without power now."""
        outages = [active for active in self.faults.scheduled() if active.covers(now_ms)]
        ends = [active.outage_end_ms for active in outages]
        return now_ms < self._away_until_ms or any(end is None or now_ms < end for end in ends)

    def spoil(self, reply: bytes, now_ms: int) -> list[tuple[float, bytes]]:
        """What is on the wire in place of a reply: after how many seconds, and which bytes."""
        self._replies += 1
        fault = self.faults.strike(now_ms)
        if fault is None:
            return [(0.0, reply)]
        roll = chance(self._key, self._replies)
        match fault.kind:
            case "late":
                return [((fault.delay_ms or 0) / 1000, reply)]
            case "duplicate":
                return [(0.0, reply), (0.0, reply)]
            case "foreign_unit":
                return [(0.0, _changed(reply, place=1, bits=0x01))]
            case "foreign_transaction":
                return [(0.0, _changed(reply, place=4, bits=0x03))]
            case "garbled":
                return [(0.0, misbehave.garbled(reply, roll))]
            case "truncated":
                return [(0.0, misbehave.truncated(reply))]
            case "bad_checksum":
                return [(0.0, misbehave.bad_checksum(reply, roll))]
            case "noise":
                return [(0.0, misbehave.noise(roll) + reply)]
        if fault.kind in OUTAGES:
            self._away_until_ms = now_ms + fault.outage_ms
        return []


def _changed(reply: bytes, *, place: int, bits: int) -> bytes:
    """The reply with some bits of its header turned over, and a check value that is right again."""
    start = reply.index(_SOM)  # bytes that wake the line may stand before it
    frame = bytearray(reply[start:])
    frame[place] ^= bits
    if frame[4] & _WITH_CRC:
        frame[-2:] = binascii.crc_hqx(frame[:-2], 0x1D0F).to_bytes(2, "little")
    else:
        frame[-1] = -sum(frame[:-1]) & 0xFF
    return reply[:start] + bytes(frame)
