"""The root of all errors; the branches say what the caller can do.

GatehouseError
├── RetryLater     the same call may succeed later: DeviceUnreachable, ReplyTimeout, CollectorBusy, …
├── NeedsAHuman    no retry helps: ConfigMistake, BadCredential, ProfileMismatch, …
└── BadInput       count it, refuse it, go on: BadFrame, EnvelopeRefused, …
"""


class GatehouseError(Exception):
    """Everything that this project raises on purpose."""


class RetryLater(GatehouseError):
    """The same call may succeed later."""


class NeedsAHuman(GatehouseError):
    """No retry helps: a person must change something. The message says what to do."""


class BadInput(GatehouseError):
    """What came in is wrong: count it, refuse it, go on."""
