"""Whether what lies before a signature is the gateway's own."""

from cryptography.exceptions import InvalidSignature

from models.envelope.layout import EnvelopeRefused, Origin
from models.envelope.suites import SIGNATURE_BYTES, Suite


def check_signature(data: bytes, suite: Suite, origin: Origin) -> None:
    """Raise EnvelopeRefused unless `origin` signed all of `data` but the signature at its end.

    A gateway has one suite: what was enrolled with one is not taken under another, weaker or not.
    """
    if suite is not origin.suite:
        raise EnvelopeRefused(
            "wrong-suite", f"sealed by suite {suite.name}; the gateway was enrolled with {origin.suite.name}"
        )
    try:
        suite.verify(origin.public_key, data[-SIGNATURE_BYTES:], data[:-SIGNATURE_BYTES])
    except InvalidSignature:
        raise EnvelopeRefused("bad-signature", "changed on its way, or not sealed by this gateway") from None


def is_signed_by(data: bytes, origin: Origin) -> bool:
    """Whether the signature at the end of an envelope or package is that of `origin`; no more."""
    try:
        origin.suite.verify(origin.public_key, data[-SIGNATURE_BYTES:], data[:-SIGNATURE_BYTES])
    except (InvalidSignature, ValueError):
        return False
    return True
