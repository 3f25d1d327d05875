"""Reads the reports of Atorch's meters for alternating and direct current, over GATT. Pure. Plain.

Sources: syssi/esphome-atorch-dl24 (frames and scales), NiceLabs/atorch-console protocol-design.md (layout).
They notify once a second by themselves, in pieces of up to 20 bytes.
"""

from drivers.ble.frames import Frame, FrameRefused, Refusal

NOTIFY = 0xFFE1

_HEADER = b"\xff\x55\x01"  # a report; other kinds are answers to commands, which are never sent
_SIZE = 36
_AC, _DC = 1, 2
_MOST_KEPT = 512  # bytes without a report in them: something else is talking


def take(stream: bytearray, *, checksum: bool) -> bytes | None:
    """Remove what is before the end of the first whole report, and return that report."""
    while (at := stream.find(_HEADER)) >= 0 and len(stream) >= at + _SIZE:
        report = bytes(stream[at : at + _SIZE])
        if report[3] in (_AC, _DC) and (not checksum or _sum(report) == report[-1]):
            del stream[: at + _SIZE]
            return report
        del stream[: at + 1]  # it only looked like one
    del stream[: max(0, len(stream) - _MOST_KEPT)]
    return None


def decode(report: bytes) -> Frame:
    """What a report says. Raises FrameRefused."""
    if len(report) != _SIZE or report[:3] != _HEADER or report[3] not in (_AC, _DC):
        raise FrameRefused(Refusal.MALFORMED, "no report of a meter for alternating or direct current")

    def number(at: int, length: int) -> int:
        return int.from_bytes(report[at : at + length], "big")

    is_ac = report[3] == _AC
    values: dict[str, int | None] = {
        "voltage": number(4, 3),
        "current": number(7, 3),
        "power" if is_ac else "charge": number(10, 3),
        "energy": number(13, 4),
        "temperature": number(24, 2),
        "on_time": 3600 * number(26, 2) + 60 * report[28] + report[29],
    }
    if is_ac:
        values |= {"frequency": number(20, 2), "power_factor": number(22, 2)}
    return Frame(values, report)


def _sum(report: bytes) -> int:
    return sum(report[2:-1]) & 0xFF ^ 0x44
