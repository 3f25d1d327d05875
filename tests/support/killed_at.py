"""Does something in a process of its own, which is killed right before one of its changes to files."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def killed_at(change: int, work: Callable[[], object]) -> bool:
    """Whether it was killed; if not, it made fewer changes and has done all. Raise what it raised, in short.

    Counted are creating or opening a file for writing, renaming and removing.
    """
    child = os.fork()
    if child == 0:
        _in_child(change, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the work failed by itself"
    return False


def _in_child(change: int, work: Callable[[], object]) -> None:
    left = change

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in _CHANGES or writes:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(watch)
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)
