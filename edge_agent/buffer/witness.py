"""Remembers beside the database which number was given last, so that it shows when the newest rows are gone.

A log that was cut or deleted looks to SQLite like one that was never written. What is noted here is not
forced to the disk: after a loss of power it may be behind the database, but never ahead of it.
"""

import contextlib
import os
import zlib
from typing import Final

_BYTES: Final = 29  # 20 digits, a blank, 8 digits of checksum


class Witness:
    """In a file that is open already."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def note(self, last_seq: int) -> None:
        """A disk that refuses is told by the database; here it makes no difference."""
        number = b"%020d" % last_seq
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, number + b" %08x" % zlib.crc32(number), 0)

    def last_seq(self) -> int:
        """What was noted last; 0 when nothing was that can be trusted."""
        try:
            noted = os.pread(self._descriptor, _BYTES, 0)
        except OSError:
            return 0
        number, _, checksum = noted.partition(b" ")
        return int(number) if number.isdigit() and checksum == b"%08x" % zlib.crc32(number) else 0
