"""What holds for every test: it leaves nothing running behind."""

import asyncio
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.seeds import seed_of


def _sockets() -> set[str]:
    """The sockets that this process has open, by inode."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            found.add(target)
    return found


def _children() -> set[int]:
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            children |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:
            continue  # the thread ended meanwhile
    return children


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which a task, thread, socket or process is still there.

    Fixtures of a wider scope than the test are set up first, and what they keep is theirs.
    """
    for name in request.fixturenames:
        if name in _SHARED:
            request.getfixturevalue(name)
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_is_left_behind")
    threads, sockets, children = set(threading.enumerate()), _sockets(), _children()
    yield
    started = [
        thread
        for thread in set(threading.enumerate()) - threads
        if not thread.name.startswith("asyncio_")  # the loop's own pool, which ends with the loop
    ]
    for thread in started:
        thread.join(timeout=5)  # it may have been told to end, and not have come to it yet
    left = [f"thread {thread.name}" for thread in started if thread.is_alive()]
    left += [f"process {pid}" for pid in _children() - children]
    if _sockets() - sockets:
        gc.collect()  # what is only unreachable gets its ResourceWarning here, which is an error
        left += [f"{name}" for name in _sockets() - sockets]
    assert not left, f"left behind: {', '.join(left)}"


@pytest.fixture
async def no_task_is_left_behind() -> AsyncIterator[None]:
    """Fail an asynchronous test that ends with a task still running."""
    before = asyncio.all_tasks()
    yield
    left = [task.get_name() for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    assert not left, f"left behind: tasks {', '.join(left)}"


@pytest.fixture
def lab_seed(request: pytest.FixtureRequest) -> int:
    """What the faults of a test are drawn from. A test that fails shows how to repeat it."""
    return seed_of(request)


_SHARED = {"browser"}
"""Fixtures of session scope that own processes."""
