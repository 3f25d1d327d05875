"""How a collector makes a gateway known to a higher one, before it forwards anything of it.

The collector signs it, by the suite and with the key that it is enrolled with there. What it says of keys the
higher one can check by itself: the collector's own CA has certified each, and each but the first is vouched
for by the one before.
"""

from typing import Final

import msgspec

from models.envelope import EnvelopeRefused, Origin, Signer
from models.envelope.layout import UNREADABLE
from models.envelope.signatures import check_signature
from models.envelope.suites import SIGNATURE_BYTES

MAX_ANNOUNCEMENT_BYTES: Final = 1 << 19
MOST_KEYS: Final = 300
"""Of one gateway: more than a life of yearly renewals. The newest go along where there are more."""

_MAGIC: Final = b"GHA1"


class AnnouncedKey(msgspec.Struct, array_like=True, frozen=True):
    """One key of the gateway, as `models.signing` keeps keys."""

    certificate: bytes  # DER
    old_key: bytes  # that vouches for it; b"" for none
    proof: bytes  # its signature over `models.protocol.next_key_statement`


class Announcement(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A gateway as the collector that enrolled it knows it."""

    collector_id: str  # as the higher collector knows the one that announces
    gateway_id: str
    name: str
    site_code: str
    site_name: str
    timezone: str
    suite: str
    sm2_key: bytes | None  # signs envelopes in suite gm
    keys: list[AnnouncedKey]  # the oldest first


def sign_announcement(announcement: Announcement, signing_key: Signer) -> bytes:
    signed = _MAGIC + msgspec.msgpack.encode(announcement)
    return signed + signing_key.sign(signed)


def open_announcement(body: bytes, *, collector: Origin) -> Announcement:
    """What `collector` has signed. Raise EnvelopeRefused."""
    if not body.startswith(_MAGIC) or len(body) <= len(_MAGIC) + SIGNATURE_BYTES:
        raise EnvelopeRefused("malformed", "not an announcement")
    check_signature(body, collector.suite, collector)
    try:
        said = _decoder.decode(body[len(_MAGIC) : -SIGNATURE_BYTES])
    except UNREADABLE as err:
        raise EnvelopeRefused("malformed", f"announcement: {err}") from err
    if said.collector_id != collector.gateway_id:
        raise EnvelopeRefused(
            "foreign-gateway", f"made by {said.collector_id!r}, sent by {collector.gateway_id!r}"
        )
    return said


_decoder = msgspec.msgpack.Decoder(Announcement)
