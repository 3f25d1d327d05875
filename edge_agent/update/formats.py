"""The formats of the store, as this version writes and reads them.

A change of format takes two versions: the first reads both the old and the new one and writes the old one;
the next writes the new one. So each can be left for the one before it. See `models.release.check_fits`.
"""

from edge_agent.buffer.database import SCHEMA_VERSION
from models.release import Formats


def buffer_formats() -> Formats:
    return Formats(writes=SCHEMA_VERSION, reads=(SCHEMA_VERSION,))
