"""How long to wait before trying again: full jitter, so that a thousand gateways do not come back as one."""

import random
from typing import Final

from edge_agent.tls import CollectorUnreachable
from edge_agent.uplink.questions import CollectorBusy
from models.errors import NeedsAHuman

SHORTEST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0


class Backoff:
    """Pauses that grow with each failure in a row."""

    def __init__(
        self, rng: random.Random | None = None, *, longest_unreachable_s: float = LONGEST_PAUSE_S
    ) -> None:
        self._longest_unreachable_s = longest_unreachable_s
        self._rng = rng or random.Random()  # noqa: S311  # spreads gateways in time, keeps no secret
        self._attempt = 0

    def pause_s(self, err: Exception | None = None) -> float:
        """The pause after one more failure, in seconds."""
        self._attempt += 1
        if isinstance(err, NeedsAHuman):
            return self._rng.uniform(LONGEST_PAUSE_S / 2, LONGEST_PAUSE_S)
        most_s = self._longest_unreachable_s if isinstance(err, CollectorUnreachable) else LONGEST_PAUSE_S
        longest_s = min(most_s, SHORTEST_PAUSE_S * 2.0 ** min(self._attempt, 16))
        pause_s = self._rng.uniform(SHORTEST_PAUSE_S, longest_s)
        return err.retry_after_s + pause_s if isinstance(err, CollectorBusy) else pause_s

    def reset(self) -> None:
        """It has worked."""
        self._attempt = 0
