"""What counters say about energy: the one rule by which their readings become consumption."""

from models.energy.counter import (
    CONTEXT_READINGS,
    CounterFacts,
    Notice,
    NoticeKind,
    Sample,
)
from models.energy.hours import HourConsumption, Ledger, State, consumption_by_hour

__all__ = [
    "CONTEXT_READINGS",
    "CounterFacts",
    "HourConsumption",
    "Ledger",
    "Notice",
    "NoticeKind",
    "Sample",
    "State",
    "consumption_by_hour",
]
