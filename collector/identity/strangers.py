"""Bounds what those may ask who have no certificate: a few questions at once, then one now and then."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 2.0  # one question, in the long run, from each address
AT_ONCE: Final = 20  # many gateways may stand behind one address
EVERYBODY: Final = 10  # times as much from all addresses together
REMEMBERED: Final = 4096  # addresses; who comes back after so many others begins anew


class Strangers:
    """Token buckets, one for each address and one for all together."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._due_s: OrderedDict[str, float] = OrderedDict()
        self._all_due_s = 0.0

    def wait_s(self, address: str) -> float:
        """0 when it may ask now, which counts; else the seconds after which it may."""
        now_s = self._monotonic_s()
        due_s = max(self._due_s.pop(address, 0.0), now_s)
        all_due_s = max(self._all_due_s, now_s)
        late_s = max(
            due_s - now_s - EVERY_S * (AT_ONCE - 1),
            all_due_s - now_s - EVERY_S * (AT_ONCE - 1),
        )
        may = late_s <= 0
        self._due_s[address] = due_s + EVERY_S if may else due_s
        self._all_due_s = all_due_s + EVERY_S / EVERYBODY if may else all_due_s
        if len(self._due_s) > REMEMBERED:
            self._due_s.popitem(last=False)
        return 0.0 if may else late_s
