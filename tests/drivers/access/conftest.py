"""What the tests of doors share: a clock that runs 20 times as fast, beside real sockets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.times import Clock
from simulators.ledger import LedgerWriter
from tests.support.clocks import START_MS, fast_clock
from tests.support.keeping_sink import KeepingSink


@pytest.fixture
def clock() -> Clock:
    return fast_clock(20)


@pytest.fixture
def sink() -> KeepingSink:
    return KeepingSink()


@pytest.fixture
def a_ledger(tmp_path: Path) -> Callable[[], LedgerWriter]:
    def make() -> LedgerWriter:
        return LedgerWriter(tmp_path / "ledger.jsonl", scenario="doors", seed=7, start_ms=START_MS)

    return make
