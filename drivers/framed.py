"""Finds frames that begin with 68 and tell their length, among whatever else a line brings."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from drivers.line import Found

START, WAKE = 0x68, 0xFE


class Framed(Protocol):
    """A whole frame that is valid in itself."""

    @property
    def raw(self) -> bytes: ...


F = TypeVar("F", bound=Framed)


def find(
    heard: bytes,
    *,
    size_of: Callable[[bytes], int | None],
    parse: Callable[[bytes], F | None],
    answers: Callable[[F], bool],
) -> Found:
    """The first whole frame that `answers`, and what came before and after it.

    `size_of` gets what begins with 68 and says how long the frame is; 0: none begins so, None: it cannot
    tell yet. A frame is taken as a whole: nothing inside of it is ever looked at as a frame of its own,
    also while its end has not come. The bytes FE between frames are no strays, they only wake the line.
    """
    strays: list[bytes] = []
    junk_from = at = 0
    while (at := heard.find(START, at)) >= 0:
        size = size_of(heard[at:])
        if size is None or len(heard) - at < size:
            break
        frame = parse(heard[at : at + size]) if size else None
        if frame is None:
            at += 1
            continue
        _keep(heard[junk_from:at], strays)
        at += size
        if answers(frame):
            return Found(frame.raw, tuple(strays), heard[at:])
        strays.append(frame.raw)
        junk_from = at
    rest_from = len(heard) if at < 0 else at
    _keep(heard[junk_from:rest_from], strays)
    return Found(None, tuple(strays), heard[rest_from:])


def _keep(junk: bytes, strays: list[bytes]) -> None:
    junk = junk.strip(bytes((WAKE,)))
    if junk:
        strays.append(junk)
