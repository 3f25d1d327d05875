"""One half-duplex wire that the drivers of several devices share: a serial line, or one behind TCP."""

from drivers.line.contract import (
    ConnectionBroke,
    Found,
    Look,
    Reply,
    ReplyTimeout,
    UnusableReply,
)
from drivers.line.line import Line
from drivers.line.serial import SerialLine
from drivers.line.stream import StreamLine

__all__ = [
    "ConnectionBroke",
    "Found",
    "Line",
    "Look",
    "Reply",
    "ReplyTimeout",
    "SerialLine",
    "StreamLine",
    "UnusableReply",
]
