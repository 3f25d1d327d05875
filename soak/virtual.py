"""An event loop on which a week takes as long as the work in it: time passes when nothing is left to do.

It is one thread and nothing else: what is handed to threads elsewhere is done at once and in its place, also
what SQLite is asked through aiosqlite. The same work therefore happens in the same order each time. Nothing
may come from outside of the process meanwhile.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

import aiosqlite.core

from models.times import Clock

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at 0; timers, timeouts and sleeps all follow it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Selector(self.let_pass))

    def time(self) -> float:
        return self._now_s

    def run_in_executor(  # type: ignore[override]  # the stubs want another kind of awaitable
        self, executor: Executor | None, work: Callable[..., T], *arguments: Any
    ) -> "asyncio.Future[T]":
        """Done when it returns."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as err:
            future.set_exception(err)
        return future

    def clock(self, start_ms: int) -> Clock:
        """Shows `start_ms` at the beginning."""
        return Clock(
            now_ms=lambda: start_ms + round(self._now_s * 1000), monotonic_s=self.time, sleep=asyncio.sleep
        )

    def let_pass(self, seconds: float) -> None:
        """Time goes by while something is at work that only takes time."""
        self._now_s += seconds


class _Selector(selectors.DefaultSelector):
    def __init__(self, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everybody waits for ever")
            self._let_pass(max(0.0, timeout))
        return events


class _NoThread:
    """In the place of aiosqlite's thread."""

    daemon = True

    def __init__(self, **_: Any) -> None:
        """Takes what a thread takes."""

    def start(self) -> None:
        """There is nothing to start."""

    def is_alive(self) -> bool:
        return False


class _AtOnce:
    """In the place of the queue to that thread: does what is put there."""

    def put_nowait(self, asked: "tuple[asyncio.Future[Any] | None, Callable[[], Any]]") -> None:
        future, work = asked
        try:
            result = work()
        except Exception as err:
            if future is not None:
                future.set_exception(err)
            return
        if future is not None:
            future.set_result(result)


@contextlib.contextmanager
def _without_threads() -> Iterator[None]:
    library: Any = aiosqlite.core
    thread, queue = library.Thread, library.SimpleQueue
    library.Thread, library.SimpleQueue = _NoThread, _AtOnce
    try:
        yield
    finally:
        library.Thread, library.SimpleQueue = thread, queue


def in_virtual_time(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run to its end in a loop of its own."""
    with _without_threads(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError(f"{loop} has real time")
        return runner.run(main(loop))
