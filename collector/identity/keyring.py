"""The keys that content keys are sealed to: for each suite what gateways are told, and all before it."""

import logging
from collections.abc import Callable, Hashable, Sequence

from models.envelope import CollectorPrivateKey, Suite
from models.errors import NeedsAHuman

_log = logging.getLogger(__name__)


class NoKeyForSuite(NeedsAHuman):
    """The collector has no key of this suite."""

    def __init__(self, suite: Suite) -> None:
        super().__init__(
            f"this collector has no key for the suite {suite.name}; `collector keys rotate --suite "
            f"{suite.name}` makes one"
        )
        self.suite = suite


class Keyring:
    """Follows the files that it was read from, so that a key that was rotated is used at once."""

    def __init__(
        self, read: Callable[[], Sequence[CollectorPrivateKey]], stamp: Callable[[], Hashable]
    ) -> None:
        """`read` gives all keys, those of one suite with the newest first; `stamp` changes with them."""
        self._read, self._stamp = read, stamp
        self._seen = stamp()
        self._keys = read()

    @classmethod
    def of(cls, *keys: CollectorPrivateKey) -> "Keyring":
        """One that never changes."""
        return cls(lambda: keys, lambda: None)

    def all(self) -> Sequence[CollectorPrivateKey]:
        """Everything that a content key may have been sealed to."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._keys = self._read()
            except NeedsAHuman as err:  # those that were read before are still good
                _log.error("%s", err)
        return self._keys

    def current(self, suite: Suite) -> CollectorPrivateKey:
        """What gateways of this suite are to seal to. Raise NoKeyForSuite."""
        key = next((key for key in self.all() if key.suite is suite), None)
        if key is None:
            raise NoKeyForSuite(suite)
        return key
