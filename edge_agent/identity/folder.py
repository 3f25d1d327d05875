"""Who this gateway is at a collector: its key, its certificate, the keys of the collector; a folder of each.

A gateway may be enrolled at several collectors. Each has a name here, and its own folder under that name.
"""

import contextlib
import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from edge_agent.files import sync_folder, write_durably
from edge_agent.identity.certificates import (
    CertificateUnusable,
    check_certificate,
    check_collector_key,
)
from edge_agent.identity.lock import OPEN, TOKEN, Lock, TokenUnusable, lock_of
from edge_agent.secret_files import SecretUnusable
from edge_agent.tls import verifying_context
from models.envelope import GM, Signer, Suite, suite_named
from models.errors import NeedsAHuman
from models.protocol import CollectorKeyOffer
from models.sm2 import Sm2PrivateKey

MAIN: Final = "main"
"""The name of a gateway's collector where nobody has given it another."""

GATEWAY: Final = "gateway.pem"  # key and certificate in one file, so that both are always replaced together
SEAL_KEY: Final = "seal.key"
SM2_KEY: Final = "sm2.key"  # of a gateway whose site seals by the suite gm
CA: Final = "ca.der"
COLLECTOR: Final = "collector.json"  # written last: where it is, all others are
NEW: Final = ".new"  # after the name of a folder that is being put together

EXPIRED: Final = (
    "the certificate of this gateway has ended, or its clock is wrong: set the clock; if it is right, the "
    "running agent asks to be taken back, and the collector's people approve: collector gateways requests"
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", re.ASCII)


class NameUnusable(NeedsAHuman):
    """The name of a collector is none."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is no name for a collector: use up to 40 letters, digits and dashes")
        self.name = name


class NotEnrolled(NeedsAHuman):
    """There is no identity yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder}: this gateway is not enrolled; get a token from the collector "
            f"(collector enrollment-token) and run: edge-agent enroll TOKEN{_option(folder)}"
        )
        self.folder = folder


class IdentityDamaged(NeedsAHuman):
    """The files of the identity are there but cannot be used."""

    def __init__(self, folder: Path, detail: str) -> None:
        super().__init__(f"{folder}: {detail}; enrol again: edge-agent enroll --again TOKEN{_option(folder)}")
        self.folder, self.detail = folder, detail


class IdentityExposed(IdentityDamaged):
    """Others on this machine can read the key."""

    def __init__(self, folder: Path, path: Path, mode: int) -> None:
        NeedsAHuman.__init__(
            self,
            f"{path}: others can read or change it (mode {mode:o}): "
            f"chmod {'700' if path == folder else '600'} {path}; "
            f"if somebody may have: edge-agent enroll --again TOKEN{_option(folder)}",
        )
        self.folder, self.detail = folder, "others can read it"


class IdentityLocked(IdentityDamaged):
    """What locks its keys cannot open them now."""

    def __init__(self, folder: Path, detail: str) -> None:
        NeedsAHuman.__init__(self, f"{folder}: its keys stay locked: {detail}")
        self.folder, self.detail = folder, detail


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the collector, and by which names it knows us."""

    url: str
    gateway_id: str
    site_code: str
    collector_key: bytes  # content keys are sealed to it
    command_key: bytes  # what it signs is obeyed
    suite: str  # by which envelopes are sealed


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled gateway. Neither `repr` nor any message shows its key."""

    folder: Path
    file: Path  # with key and certificate
    collector: Collector
    certificate: x509.Certificate
    signing_key: Ed25519PrivateKey = field(repr=False)
    seal_key: X25519PrivateKey = field(repr=False)  # opens the secrets in commands
    sm2_key: Sm2PrivateKey | None = field(repr=False)  # of the suite gm
    ca_der: bytes = field(repr=False)
    lock: Lock = OPEN  # of the files with private keys

    @property
    def gateway_id(self) -> str:
        return self.collector.gateway_id

    @property
    def suite(self) -> Suite:
        """By which envelopes are sealed."""
        return suite_named(self.collector.suite)

    @property
    def envelope_key(self) -> Signer:
        """What signs envelopes."""
        return self.signing_key if self.sm2_key is None else self.sm2_key

    @property
    def expires(self) -> datetime:
        """When the certificate ends, in real time."""
        return self.certificate.not_valid_after_utc

    @property
    def has_expired(self) -> bool:
        return self.expires < datetime.now(UTC)

    def ssl_context(self, now_s: Callable[[], float | None] | None = None) -> ssl.SSLContext:
        """Shows the gateway's certificate, trusts the enrolled CA alone. `now_s` as in `edge_agent.tls`."""
        context = verifying_context(self.ca_der, now_s)
        context.load_cert_chain(self.file, password=self.lock.password)
        return context


def is_name(name: str) -> bool:
    """Whether a collector can be called so."""
    return _NAME.fullmatch(name) is not None


def identity_folder(state_dir: Path, name: str = MAIN) -> Path:
    """Where the identity at the collector of that name is, or will be. Raise NameUnusable."""
    if not is_name(name):
        raise NameUnusable(name)
    return state_dir / "identity" / name


def collector_names(state_dir: Path) -> list[str]:
    """The collectors that this gateway is enrolled at, by name."""
    try:
        found = {entry.name.removesuffix(NEW) for entry in (state_dir / "identity").iterdir()}
    except OSError:
        return []
    names = sorted(filter(_NAME.fullmatch, found))
    for name in names:
        finish_interrupted_change(identity_folder(state_dir, name))
    return [name for name in names if identity_stamp(state_dir, name) is not None]


def identity_stamp(state_dir: Path, name: str = MAIN) -> tuple[int, int] | None:
    """Changes whenever another identity is put in place; None while there is none."""
    try:
        found = (identity_folder(state_dir, name) / COLLECTOR).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def load_identity(state_dir: Path, name: str = MAIN) -> Identity:
    """Raise NotEnrolled, IdentityDamaged or NameUnusable."""
    folder = identity_folder(state_dir, name)
    finish_interrupted_change(folder)
    try:
        raw = (folder / COLLECTOR).read_bytes()
    except FileNotFoundError:
        raise NotEnrolled(folder) from None
    except OSError as err:
        raise IdentityDamaged(folder, f"cannot be read ({err.strerror})") from err
    return read_identity(folder, GATEWAY, raw)


def read_identity(folder: Path, name: str, raw: bytes) -> Identity:
    """With key and certificate in the file `name`; `raw` stands in COLLECTOR. Raise IdentityDamaged."""
    try:
        collector = msgspec.json.decode(raw, type=Collector)
        is_gm = suite_named(collector.suite) is GM
        for path in (folder, folder / name, folder / SEAL_KEY, *([folder / SM2_KEY] if is_gm else [])):
            _check_closed(folder, path)
        pem = (folder / name).read_bytes()
        lock = lock_of(folder)
        key, certificate = lock.key_of(pem), x509.load_pem_x509_certificate(pem)
        seal_key = X25519PrivateKey.from_private_bytes(lock.opened((folder / SEAL_KEY).read_bytes()))
        sm2_key = Sm2PrivateKey(lock.opened((folder / SM2_KEY).read_bytes())) if is_gm else None
        ca_der = (folder / CA).read_bytes()
        check_certificate(certificate, key=key, ca_der=ca_der, gateway_id=collector.gateway_id)
    except (TokenUnusable, SecretUnusable) as err:
        raise IdentityLocked(folder, str(err)) from None
    except (OSError, ValueError, KeyError, msgspec.MsgspecError, CertificateUnusable) as err:
        raise IdentityDamaged(folder, f"its files do not fit together ({err})") from None
    return Identity(folder, folder / name, collector, certificate, key, seal_key, sm2_key, ca_der, lock)


def _check_closed(folder: Path, path: Path) -> None:
    found = path.stat()
    if found.st_mode & 0o077 or found.st_uid not in (os.geteuid(), 0):
        raise IdentityExposed(folder, path, found.st_mode & 0o777)


def adopt_collector_key(identity: Identity, offer: CollectorKeyOffer) -> None:
    """From now on seal content keys to what is offered. Raise CertificateUnusable; then all is as it was.

    A gateway keeps its suite: whoever has broken one must not talk it into that.
    """
    if offer.suite != identity.collector.suite:
        raise CertificateUnusable(f"the collector's key is for the suite {offer.suite}, which is not ours")
    key = check_collector_key(offer, ca_der=identity.ca_der, gateway_id=identity.gateway_id)
    collector = msgspec.structs.replace(identity.collector, collector_key=key)
    write_durably(identity.folder / COLLECTOR, msgspec.json.encode(collector), mode=0o600)


def new_folder(folder: Path) -> Path:
    """An empty folder, for us alone, in which an identity is put together."""
    fresh = folder.with_name(folder.name + NEW)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh.mkdir(mode=0o700, exist_ok=True)
    fresh.chmod(0o700)
    for leftover in fresh.iterdir():
        leftover.unlink()
    return fresh


def save_identity(
    fresh: Path,
    *,
    key: Ed25519PrivateKey,
    collector: Collector,
    certificate_pem: bytes,
    ca_der: bytes,
    lock: Lock = OPEN,
) -> None:
    """Complete what `new_folder` began, with the keys in it, and let it take the place of any identity.

    The old one stays beside it under another name.
    """
    write_durably(fresh / GATEWAY, lock.pem(key) + certificate_pem, mode=0o600)
    write_durably(fresh / CA, ca_der)
    write_durably(fresh / COLLECTOR, msgspec.json.encode(collector), mode=0o600)
    needed = {
        GATEWAY,
        SEAL_KEY,
        CA,
        COLLECTOR,
        *([TOKEN] if lock is not OPEN else []),
        *([SM2_KEY] if suite_named(collector.suite) is GM else []),
    }
    for rest in fresh.iterdir():
        if rest.name not in needed:
            rest.unlink()
    folder = fresh.with_name(fresh.name.removesuffix(NEW))
    if folder.exists():
        stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%S%f")
        folder.rename(folder.with_name(f"{folder.name}.before-{stamp}"))
    finish_interrupted_change(folder)


def finish_interrupted_change(folder: Path) -> None:
    """Do the last step of `save_identity`; also after a loss of power right before it."""
    fresh = folder.with_name(folder.name + NEW)
    if not folder.exists() and (fresh / COLLECTOR).exists():
        with contextlib.suppress(FileNotFoundError):  # somebody else has done it meanwhile
            fresh.rename(folder)
        sync_folder(folder.parent)


def _option(folder: Path) -> str:
    """What to add to `edge-agent enroll` for the collector of this folder."""
    return "" if folder.name == MAIN else f" --collector {folder.name}"
