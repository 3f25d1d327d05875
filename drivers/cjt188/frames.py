"""CJ/T 188 frames: built for a question, and the answer to it found in what a line brings.

    FE… 68 T A0…A6 C L DI DI SER … CS 16        nothing is added to the data; CS: the sum from 68 on

C: the function in bits 0 to 5, bit 6: refused, bit 7: from the meter.
"""

import re
from typing import NamedTuple

from drivers.framed import START, find
from drivers.line import Found, Look
from models.profile.cjt188 import Cjt188Profile

END = 0x16
READ, ANSWER, REFUSAL = 0x01, 0x81, 0xC1
ANY_ADDRESS = b"\xaa" * 7

_HEADER = 11  # bytes up to the length
_OVERHEAD = 13  # bytes that a frame has beside its data
_REFUSAL_DATA = 3  # serial number and two bytes of state


class Frame(NamedTuple):
    """One whole and valid frame."""

    raw: bytes  # without the FE before it
    meter_type: int
    address: bytes  # 7 bytes, low one first
    control: int
    data: bytes


class Question(NamedTuple):
    """What an answer must fit."""

    meter_type: int
    address: bytes  # all AA: whoever is there
    di: bytes  # as on the wire
    serial: int

    @property
    def frame(self) -> bytes:
        """The bytes to send, without the FE before them."""
        return build(self.meter_type, self.address, READ, self.di + bytes((self.serial,)))

    def is_answered_by(self, frame: Frame) -> bool:
        """Whether a frame is the reply to this question, or its refusal."""
        if frame.meter_type != self.meter_type or frame.address == ANY_ADDRESS:
            return False
        if self.address not in (frame.address, ANY_ADDRESS):
            return False
        if frame.control == REFUSAL:
            return len(frame.data) == _REFUSAL_DATA and frame.data[0] == self.serial
        return frame.control == ANSWER and frame.data.startswith(self.di + bytes((self.serial,)))


def build(meter_type: int, address: bytes, control: int, data: bytes) -> bytes:
    """A whole frame, without FE before it."""
    head = bytes((START, meter_type, *address, control, len(data))) + data
    return head + bytes((sum(head) & 0xFF, END))


def address_bytes(text: str) -> bytes:
    """The 14 digits of a meter as they are on the wire. Raises ValueError."""
    if not re.fullmatch(Cjt188Profile.addressing.pattern, text):
        raise ValueError(f"'{text}' is no address of 14 digits")
    return bytes.fromhex(text)[::-1]


def address_text(address: bytes) -> str:
    """The 14 digits of the meter with this address."""
    return address[::-1].hex().upper()


def parse(raw: bytes) -> Frame | None:
    """The frame that these bytes are, without FE before them; None when they are none."""
    if len(raw) < _OVERHEAD or raw[0] != START or len(raw) != _OVERHEAD + raw[10]:
        return None
    if raw[-1] != END or raw[-2] != sum(raw[:-2]) & 0xFF:
        return None
    return Frame(raw, raw[1], raw[2:9], raw[9], raw[_HEADER:-2])


def size_of(beginning: bytes) -> int | None:
    """How long the frame is that begins so; 0: none does, None: too little is there to tell."""
    if len(beginning) < _HEADER:
        return None
    return _OVERHEAD + beginning[10]


def look_for(question: Question) -> Look:
    """Finds the answer to a question in what a line brings."""

    def look(heard: bytes) -> Found:
        return find(heard, size_of=size_of, parse=parse, answers=question.is_answered_by)

    return look
