"""What can go wrong with a door controller.

├── DeviceUnreachable     drivers.contract: no connection, no answer in time, a fault of its own
│   ├── NotReached        nothing was sent to it at all
│   └── NotLetIn          it does not accept the user or password, or not now
├── NotOffered            this controller does not have what was asked for
├── SaidNo                it understood, and refuses
└── BadBody               what it sent cannot be understood
"""

from drivers.contract import DeviceUnreachable
from models.errors import BadInput, RetryLater


class NotLetIn(DeviceUnreachable):
    """The controller refuses user or password. It may be locked for a while after failed attempts."""

    def __init__(self, endpoint: str, status: int) -> None:
        super().__init__(endpoint, f"refuses the user or the password (status {status})")
        self.status = status


class NotReached(DeviceUnreachable):
    """There was no connection: what was to be told to the controller did not get to it."""


class NotOffered(RetryLater):
    """The controller, or its firmware, does not have this."""

    def __init__(self, endpoint: str, what: str) -> None:
        super().__init__(f"{endpoint}: does not offer {what}; its firmware may be too old")
        self.endpoint, self.what = endpoint, what


class SaidNo(RetryLater):
    """The controller refuses what it was told; `code` is its own word for why."""

    def __init__(self, endpoint: str, status: int, code: str) -> None:
        super().__init__(f"{endpoint}: answers {code or status}")
        self.endpoint, self.status, self.code = endpoint, status, code


class BadBody(BadInput):
    """Bytes that are no message of a controller. Says what they are not, and never what they are."""
