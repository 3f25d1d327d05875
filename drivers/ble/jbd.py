"""Reads the basic information of JBD's battery management systems, over GATT. Pure. Plain.

Source: syssi/esphome-jbd-bms (layout, and frames recorded from a JBD-SP04S034). They answer when asked.
"""

from drivers.ble.frames import Frame, FrameRefused, Refusal

NOTIFY, WRITE = 0xFF01, 0xFF02
ASK = bytes.fromhex("dda50300fffd77")

_START, _END, _BASIC = 0xDD, 0x77, 0x03
_AROUND = 7  # start, function, status, length, checksum (2), end
_FIXED = 23  # bytes before the temperatures
_MOST_SENSORS = 4
_ZERO_C = 2731  # tenths of a kelvin
_MOST_KEPT = 512


def take(stream: bytearray) -> bytes | None:
    """Remove what is before the end of the first whole answer, and return that answer."""
    at = -1
    while (at := stream.find(bytes([_START, _BASIC]), at + 1)) >= 0 and len(stream) >= at + _AROUND:
        answer = bytes(stream[at : at + _AROUND + stream[at + 3]])
        is_whole = len(answer) == _AROUND + answer[3] and answer[-1] == _END
        if is_whole and _sum(answer) == int.from_bytes(answer[-3:-1], "big"):
            del stream[: at + len(answer)]
            return answer
    del stream[: max(0, len(stream) - _MOST_KEPT)]
    return None


def decode(answer: bytes) -> Frame:
    """What an answer says. Raises FrameRefused."""
    data = answer[4:-3]
    if len(answer) < _AROUND + _FIXED or answer[2] or len(data) != answer[3]:
        raise FrameRefused(Refusal.MALFORMED, "an answer that is too short, or an error")
    sensors = min(data[22], _MOST_SENSORS)
    if len(data) < _FIXED + 2 * sensors:
        raise FrameRefused(Refusal.MALFORMED, f"{data[22]} temperatures are announced and not there")

    def number(at: int, *, signed: bool = False) -> int:
        return int.from_bytes(data[at : at + 2], "big", signed=signed)

    values: dict[str, int | None] = {
        "voltage": number(0),
        "current": number(2, signed=True),
        "remaining": number(4),
        "capacity": number(6),
        "cycles": number(8),
        "protection": number(16),
        "charge": data[19],
        "charging": data[20] & 1,
        "discharging": data[20] >> 1 & 1,
    }
    for sensor in range(sensors):
        values[f"temperature_{sensor + 1}"] = number(_FIXED + 2 * sensor) - _ZERO_C
    return Frame(values, answer)


def _sum(answer: bytes) -> int:
    return -sum(answer[2:-3]) & 0xFFFF
