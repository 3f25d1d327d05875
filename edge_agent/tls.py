"""Connections to the collector: verified against its own CA, always; what went wrong, in plain words."""

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from models.errors import RetryLater

_NO_CHECK_TIME: Final = 0x20_0000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for
_EXPIRED, _NOT_YET_VALID = 10, 9
_SELF_SIGNED = 18  # 19 is another CA, which its server sends along
_WRONG_NAME = (62, 64)


class CollectorUnreachable(RetryLater):
    """There was no answer from the collector's address."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"{url}: {detail}; check the network, and that the collector runs at this address")
        self.url, self.detail = url, detail


class CollectorNotTrusted(RetryLater):
    """Whoever answers at the collector's address has not proved to be it. Nothing was sent.

    `reason` is one of: wrong-name, expired, not-yet-valid, self-signed, wrong-ca.
    """

    def __init__(self, url: str, reason: str, detail: str, hint: str) -> None:
        super().__init__(f"{url}: {detail}; nothing was sent. {hint}")
        self.url, self.reason, self.detail, self.hint = url, reason, detail, hint


class VerifyingContext(ssl.SSLContext):
    """Trusts one CA and nothing else; there is no way to switch verification off.

    Whether certificates are in their time is judged by `now_s` and not by the system clock, which on a
    gateway without a time service may be decades wrong. While the time is not known, `now_s` is None and the
    caller must ask for it, and check the certificate with `check_time`, before it sends anything else.
    """

    now_s: Callable[[], float | None]


class _TimedConnection(ssl.SSLObject):
    """Ends a handshake with a certificate that is not in its time, before anything is sent."""

    def do_handshake(self) -> None:
        super().do_handshake()
        now_s = self.context.now_s() if isinstance(self.context, VerifyingContext) else None
        if now_s is not None:
            check_time(self.getpeercert() or {}, now_s)


class _TimedSocket(ssl.SSLSocket):
    """The same for libraries that want a socket."""

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        now_s = self.context.now_s() if isinstance(self.context, VerifyingContext) else None
        if now_s is not None:
            check_time(self.getpeercert() or {}, now_s)


def verifying_context(ca_der: bytes, now_s: Callable[[], float | None] | None = None) -> ssl.SSLContext:
    """Trusts this one CA. Without `now_s` the system clock says whether certificates are in their time."""
    context = VerifyingContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and host name from the start
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_der)
    if now_s is not None:
        context.now_s = now_s
        context.verify_flags |= _NO_CHECK_TIME
        context.sslobject_class, context.sslsocket_class = _TimedConnection, _TimedSocket
    return context


def check_time(certificate: Mapping[str, Any], now_s: float) -> None:
    """Raise SSLCertVerificationError unless a peer's certificate is in its time at `now_s`, since 1970."""
    begin, end = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter"))
    if begin <= now_s <= end:
        return
    code = _EXPIRED if now_s > end else _NOT_YET_VALID
    said = "certificate has expired" if code == _EXPIRED else "certificate is not yet valid"
    err = ssl.SSLCertVerificationError(1, said)
    err.verify_code, err.verify_message = code, said
    raise err


def explain(url: str, err: BaseException) -> CollectorUnreachable | CollectorNotTrusted:
    """What a failed connection means, found in the chain of its causes.

    A server that does not accept the gateway's own certificate just ends the connection: under TLS 1.3 it
    decides after the handshake, and its reason seldom arrives. Whether the certificate has expired the
    gateway knows by itself.
    """
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _not_trusted(url, cause)
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.strerror:
            return CollectorUnreachable(url, cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return CollectorUnreachable(url, str(err) or type(err).__name__)


def _not_trusted(url: str, err: ssl.SSLCertVerificationError) -> CollectorNotTrusted:
    said = err.verify_message
    if err.verify_code in _WRONG_NAME:
        return CollectorNotTrusted(
            url, "wrong-name", said,
            "Use the name or address that is in the collector's certificate, or add this one to it.",
        )  # fmt: skip
    if err.verify_code == _EXPIRED:
        return CollectorNotTrusted(
            url, "expired", "the collector's certificate has expired",
            "Renew it at the collector; if it has not, set the clock of this gateway.",
        )  # fmt: skip
    if err.verify_code == _NOT_YET_VALID:
        return CollectorNotTrusted(
            url, "not-yet-valid", "the collector's certificate is not valid yet",
            "Set the clock of this gateway.",
        )  # fmt: skip
    reason = "self-signed" if err.verify_code == _SELF_SIGNED else "wrong-ca"
    return CollectorNotTrusted(
        url, reason, f"its certificate is not signed by the collector's CA ({said})",
        "Find out who answers there. If the collector was set up anew, enrol with a new token.",
    )  # fmt: skip
