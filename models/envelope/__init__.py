"""Seals a batch so that only the collector can read it and nobody can change, swap or forge it.

An envelope is: magic, header in clear, ciphertext, signature.

- The batch (`models.batch`, compressed) is encrypted, with magic and header as associated data.
- The gateway signs everything before the signature.
- The header carries the digest of the previous envelope, so a removed or exchanged one shows.
- The content key is random, made at each start of the gateway and at least once a day, and sent to the
  collector once, as a signed package that only the collector's key opens. It is never written to disk, so a
  nonce can repeat under no restored file; the nonce is a counter of that key.

By which algorithms is said by the suite that the header names; a gateway has one, from its enrolment on.
"""

from models.envelope.collector_key import CollectorPrivateKey
from models.envelope.forwarded import forward_package, forwarded_by, open_forwarded
from models.envelope.layout import FIRST_PREVIOUS, MAX_ENVELOPE_BYTES, EnvelopeRefused, Header, Origin
from models.envelope.packages import (
    MOST_BATCHES,
    MOST_SECONDS,
    ContentKey,
    ContentKeyWorn,
    open_package,
    package_key_id,
)
from models.envelope.sealed import (
    Sealed,
    envelope_digest,
    is_intact,
    open_envelope,
    read_header,
    seal,
    verify,
)
from models.envelope.signatures import is_signed_by
from models.envelope.suites import GM, STANDARD, SUITES, Signer, Suite, suite_named

__all__ = [
    "FIRST_PREVIOUS",
    "GM",
    "MAX_ENVELOPE_BYTES",
    "MOST_BATCHES",
    "MOST_SECONDS",
    "STANDARD",
    "SUITES",
    "CollectorPrivateKey",
    "ContentKey",
    "ContentKeyWorn",
    "EnvelopeRefused",
    "Header",
    "Origin",
    "Sealed",
    "Signer",
    "Suite",
    "envelope_digest",
    "forward_package",
    "forwarded_by",
    "is_intact",
    "is_signed_by",
    "open_envelope",
    "open_forwarded",
    "open_package",
    "package_key_id",
    "read_header",
    "seal",
    "suite_named",
    "verify",
]
