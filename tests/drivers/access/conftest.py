"""What the tests of doors share: a clock that runs 20 times as fast, beside real sockets."""

import pytest

from models.times import Clock
from tests.support.clocks import fast_clock
from tests.support.keeping_sink import KeepingSink


@pytest.fixture
def clock() -> Clock:
    return fast_clock(20)


@pytest.fixture
def sink() -> KeepingSink:
    return KeepingSink()
