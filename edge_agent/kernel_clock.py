"""What the operating system knows of the time: whether its clock is synchronised, and which boot this is."""

import ctypes
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIMEX_BYTES: Final = 512  # `struct timex` has 208 on 64-bit Linux; all zero, it only asks
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised to a reliable server


def is_synchronised() -> bool:
    """Whether a time service keeps the clock. Setting the clock by hand ends that until the next sync."""
    try:
        state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return 0 <= state < _TIME_ERROR


def boot_id() -> str:
    """The same for all processes until the machine starts anew; "" where nobody says."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
