"""Answers that no reader may take, made from the right one, for frames that a checksum guards."""

_GARBLED_WAYS = 4


def truncated(frame: bytes) -> bytes:
    """The first half: the end never comes."""
    return frame[: len(frame) // 2]


def bad_checksum(frame: bytes, roll: float) -> bytes:
    """One bit of the frame turned over, which one `roll` in [0, 1) chooses; its checksum tells."""
    wrong = bytearray(frame)
    bit = int(roll * 8 * (len(frame) - 2))
    wrong[bit // 8] ^= 1 << bit % 8
    return bytes(wrong)


def garbled(frame: bytes, roll: float) -> bytes:
    """Noise in several shapes, as `roll` in [0, 1) chooses; never a valid frame."""
    way = int(roll * _GARBLED_WAYS)
    noise = bytes((byte * 7 + 31 * way + 1) % 256 for byte in frame)
    if way == 0:
        return noise
    if way == 1:
        return frame[:1] * 12 + noise[:9]  # start after start: headers without a frame
    if way == 2:
        return frame[:-2] + bytes(((frame[-2] + 1) % 256, frame[-1]))
    return frame[:7] + noise[7:] + frame[:3]  # and the beginning of another one, which never ends


def noise(roll: float) -> bytes:
    """One to eight bytes as a line without a driver shows them: mostly ones, some zeros."""
    size = 1 + int(roll * 8)
    return bytes(0x00 if int(roll * 8 ** (n + 2)) % 8 == 0 else 0xFF - n for n in range(size))
