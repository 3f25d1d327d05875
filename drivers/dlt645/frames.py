"""DL/T 645 frames: built for a question, and the answer to it found in what a line brings.

    FE… 68 A0…A5 68 C L DATA CS 16      every byte of DATA + 33H; CS: the sum from the first 68 on

C: the function in bits 0 to 4, then bit 5: more follows, bit 6: refused, bit 7: from the meter.
"""

import re
from typing import NamedTuple

from drivers.framed import START, find
from drivers.line import Found, Look
from models.profile.dlt645 import Dlt645Profile, Edition

END = 0x16
FROM_METER, REFUSED, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F

READ: dict[Edition, int] = {"1997": 0x01, "2007": 0x11}
READ_MORE = 0x12  # 2007 only: 1997 gives its frames no number, so that nobody could put them in order
READ_ADDRESS = 0x13  # 2007 only
SET_TIME = 0x08

ANY_ADDRESS = b"\xaa" * 6
BROADCAST = b"\x99" * 6

_HEADER = 10  # bytes up to the length
_OVERHEAD = 12  # bytes that a frame has beside its data
_MOST_DATA = 200

_ERRORS: dict[Edition, tuple[str, ...]] = {
    "2007": (
        "another error",
        "no such data",
        "wrong password or not allowed",
        "the speed cannot be changed",
        "too many yearly time zones",
        "too many daily periods",
        "too many tariffs",
    ),
    "1997": (
        "illegal data",
        "no such identifier",
        "wrong password",
        "bit 3 is reserved",
        "too many yearly time zones",
        "too many daily periods",
        "too many tariffs",
    ),
}


class Frame(NamedTuple):
    """One whole and valid frame."""

    raw: bytes  # without the FE before it
    address: bytes  # 6 bytes, low one first
    control: int
    data: bytes  # without the 33H


class Question(NamedTuple):
    """What an answer must fit."""

    address: bytes  # a byte AA stands for any
    function: int
    di: bytes = b""  # as on the wire, low byte first
    number: int = 0  # of a frame that follows: from 1 on

    @property
    def frame(self) -> bytes:
        """The bytes to send, without the FE before them."""
        return build(self.address, self.function, self.di + bytes((self.number,) if self.number else ()))

    def is_answered_by(self, frame: Frame) -> bool:
        """Whether a frame is the reply to this question, or its refusal."""
        if frame.control & (FROM_METER | FUNCTION) != FROM_METER | self.function:
            return False
        if not is_address(frame.address) or not fits(frame.address, self.address):
            return False
        if frame.control & REFUSED:
            return len(frame.data) == 1 and not frame.control & MORE
        if self.function == READ_ADDRESS:
            return frame.data == frame.address
        if self.number and frame.data[-1:] != bytes((self.number,)):
            return False
        return frame.data.startswith(self.di)


def build(address: bytes, control: int, data: bytes) -> bytes:
    """A whole frame, without FE before it; `data` is plain."""
    head = bytes((START, *address, START, control, len(data))) + bytes((byte + 0x33) & 0xFF for byte in data)
    return head + bytes((sum(head) & 0xFF, END))


def address_bytes(text: str) -> bytes:
    """The 12 digits of a meter's front as they are on the wire. Raises ValueError."""
    if not re.fullmatch(Dlt645Profile.addressing.pattern, text):
        raise ValueError(f"'{text}' is no address of 12 digits that a meter can have")
    return bytes.fromhex(text)[::-1]


def address_text(address: bytes) -> str:
    """The 12 digits on the front of the meter with this address."""
    return address[::-1].hex().upper()


def is_address(address: bytes) -> bool:
    """Whether a meter can have it: digits alone, and not the one that means all meters."""
    return address.hex().isdecimal() and address != BROADCAST


def fits(address: bytes, asked: bytes) -> bool:
    """Whether it is the address that was asked for, in which AA stands for any two digits."""
    return all(want in (have, 0xAA) for have, want in zip(address, asked, strict=True))


def errors(word: int, edition: Edition) -> list[str]:
    """What the error word of a refusal says, bit by bit."""
    names = _ERRORS[edition]
    said = [name for bit, name in enumerate(names) if word >> bit & 1]
    return said + (["bit 7 is reserved"] if word & 0x80 else [])


def parse(raw: bytes) -> Frame | None:
    """The frame that these bytes are, without FE before them; None when they are none."""
    if len(raw) < _OVERHEAD or raw[0] != START or raw[7] != START or len(raw) != _OVERHEAD + raw[9]:
        return None
    if raw[-1] != END or raw[-2] != sum(raw[:-2]) & 0xFF:
        return None
    return Frame(raw, raw[1:7], raw[8], bytes((byte - 0x33) & 0xFF for byte in raw[_HEADER:-2]))


def size_of(beginning: bytes) -> int | None:
    """How long the frame is that begins so; 0: none does, None: too little is there to tell."""
    if len(beginning) > 7 and beginning[7] != START:
        return 0
    if len(beginning) < _HEADER:
        return None
    length = beginning[9]
    return _OVERHEAD + length if length <= _MOST_DATA else 0


def look_for(question: Question) -> Look:
    """Finds the answer to a question in what a line brings."""

    def look(heard: bytes) -> Found:
        return find(heard, size_of=size_of, parse=parse, answers=question.is_answered_by)

    return look
