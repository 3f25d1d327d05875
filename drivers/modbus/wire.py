"""The bytes of one Modbus TCP connection: accepts exactly the reply that was asked for.

Built on an asyncio transport and not on pymodbus 3.16, whose client cannot be made safe from outside. Read
in its source:
- `FramerBase.handleFrame` lets a reply with transaction 0 pass for any transaction, and `execute` sends a
  retry under the same transaction as the first attempt: the late reply to the one answers the other.
- `TransactionManager.callback_data` takes the next PDU for the answer, whatever its function code;
  `ReadHoldingRegistersResponse.decode` believes the byte count of the reply, odd or longer than was asked.
- `execute` empties the receive buffer before it sends: when half of a late reply is in it, the other half
  is then read as a header.
- `FramerSocket.decode` never leaves a header whose protocol is not 0, and takes a ninth byte along when it
  comes with a frame of eight.
- A connection that breaks while a reply is awaited is only noticed at the timeout.
What would remain of it here is a header of seven bytes. Its requests and its codes serve us elsewhere.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from drivers.modbus.link import Question

HEADER = struct.Struct(">HHHB")  # transaction, protocol (0), length of what follows it, unit
LONGEST = 260  # bytes of a whole frame: 7 of header and a PDU of 253


class Garbled(Exception):
    """What came in is no sequence of frames, so nothing on this connection can be trusted any more."""


class Lost(Exception):
    """The connection ended."""


class Wire(asyncio.Protocol):
    """One connection with at most one question open."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[bytes, int]] | None = None
        self._request = b""
        self._normal = b""  # how the answer begins
        self._normal_size = 0  # of the header alone, when the answer has no length of its own
        self._is_own_reply = False  # whether the answer is what was asked, over again
        self._exception = b""  # how a refusal begins, up to its code
        self._asked: deque[int] = deque(maxlen=64)  # transactions whose replies may still come
        self.strays: deque[bytes] = deque(maxlen=8)  # what came since the last question and did not answer it
        self.is_disturbed = False  # whether anything of that was more than a late reply to a former question
        self.closed = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """Whether a question can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def unfinished(self) -> bytes:
        """The beginning of a frame whose end has not come."""
        return self._buffer

    def ask(self, transaction: int, unit: int, question: Question) -> asyncio.Future[tuple[bytes, int]]:
        """Send a question; the result is the reply's frame and when it was complete.

        The future fails with Garbled or Lost; whoever stops waiting for it cancels it.
        """
        pdu, begins, size = question
        self._request = HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu
        self._normal = HEADER.pack(transaction, 0, size + 1, unit) + begins
        self._normal_size = HEADER.size + size
        self._exception = HEADER.pack(transaction, 0, 3, unit) + bytes((pdu[0] | 0x80,))
        self._is_own_reply = begins == pdu
        self._asked.append(transaction)
        self.strays.clear()
        self.is_disturbed = False
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._waiting.set_exception(Lost("the connection is closed"))
        else:
            self._transport.write(self._request)
        return self._waiting

    @property
    def request(self) -> bytes:
        """The frame of the last question."""
        return self._request

    def abort(self) -> None:
        """Close now, without sending what is still queued."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._fail(Lost(str(exc) if exc else "the other side closed the connection"))
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if not self._buffer and len(data) == self._normal_size and data.startswith(self._normal):
            self._take(data)  # the usual case: one segment, and all of the reply in it
            return
        if self._buffer and _is_whole_frames(data):
            # What came before is a truncated frame, and this would fill it up exactly, or up to a boundary.
            self._buffer += data
            self._lose_track()
            return
        self._buffer += data
        answer: bytes | None = None
        at = 0
        while len(self._buffer) - at >= HEADER.size:
            _, protocol, length, _ = HEADER.unpack_from(self._buffer, at)
            if protocol != 0 or not 2 <= length <= LONGEST - 6:
                self._lose_track()
                return
            if len(self._buffer) - at < 6 + length:
                break
            frame = self._buffer[at : at + 6 + length]
            at += 6 + length
            if answer is None and self._answers(frame):
                answer = frame
            else:
                self._stray(frame)
        self._buffer = self._buffer[at:]
        if answer is not None and self._buffer:
            # More bytes than the answer has: its beginning may be a truncated frame and its end the head of
            # another one. Nobody can tell, so it is no answer.
            self._buffer = answer + self._buffer
            self._lose_track()
        elif answer is not None:
            self._take(answer)

    def _answers(self, frame: bytes) -> bool:
        if frame.startswith((self._normal, self._exception)):  # the length is in their headers
            return True
        is_free = self._normal_size == HEADER.size
        return is_free and frame[:2] == self._normal[:2] and frame[6:].startswith(self._normal[6:])

    def _take(self, frame: bytes) -> None:
        is_echo = frame == self._request and not self._is_own_reply
        if self._waiting is None or self._waiting.done() or is_echo:
            self._stray(frame)
        else:
            self._waiting.set_result((frame, self._now_ms()))

    def _stray(self, frame: bytes) -> None:
        self.strays.append(frame)
        transaction = int.from_bytes(frame[:2], "big")
        if transaction not in self._asked or transaction == self._asked[-1]:
            self.is_disturbed = True

    def _lose_track(self) -> None:
        self.strays.append(self._buffer[:LONGEST])
        self._buffer = b""
        self._fail(Garbled("bytes that are no frame"))
        self.abort()

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _is_whole_frames(data: bytes) -> bool:
    at = 0
    while len(data) - at >= HEADER.size:
        _, protocol, length, _ = HEADER.unpack_from(data, at)
        if protocol != 0 or length < 2:
            return False
        at += 6 + length
    return at == len(data)
