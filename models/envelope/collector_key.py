"""The key by which a collector opens content keys; one for each suite."""

import functools

from models.envelope.suites import STANDARD, Suite


class CollectorPrivateKey:
    """Opens the packages of content keys. Its public half reaches gateways at enrolment."""

    def __init__(self, data: bytes, suite: Suite = STANDARD) -> None:
        """`data` is what `to_bytes` gave; ValueError otherwise."""
        self.suite = suite
        self._data = data
        self._key = suite.transport.load(data)

    @classmethod
    def generate(cls, suite: Suite = STANDARD) -> "CollectorPrivateKey":
        return cls(suite.transport.generate(), suite)

    def to_bytes(self) -> bytes:
        """Secret: to be kept in a file that only the collector can read."""
        return self._data

    def public_bytes(self) -> bytes:
        return self._public

    @functools.cached_property
    def _public(self) -> bytes:
        return self._key.public_bytes()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Raise InvalidTag or ValueError for what was not sealed to this key with this `info`."""
        return self._key.open(sealed, info=info)
