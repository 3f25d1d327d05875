"""The folder of one collector: which file is what, and that its secrets are readable by nobody else."""

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from collector.identity.ca import DEFAULT_LIVES, LOOPBACK, CertificateAuthority, KeyPair, general_name
from collector.identity.keyring import Keyring
from models.command import CommandKey
from models.envelope import STANDARD, SUITES, CollectorPrivateKey, Suite
from models.errors import NeedsAHuman

_BEFORE: Final = ".before-"


class HomeUnusable(NeedsAHuman):
    """A file of the collector's folder is missing or not what it should be."""


@dataclass(frozen=True, slots=True)
class Home:
    """The files of the collector in `folder`."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "collector.db"

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """With its key in the same file, so that both are always replaced together."""
        return self.folder / "server.pem"

    @property
    def broker_client_certificate(self) -> Path:
        """What this collector shows to a broker, with its key."""
        return self.folder / "broker-client.pem"

    def envelope_key(self, suite: Suite = STANDARD) -> Path:
        """What gateways of this suite seal to now. Those before it stay beside it under other names."""
        return self.folder / ("envelope.key" if suite is STANDARD else f"envelope-{suite.name}.key")

    @property
    def command_key(self) -> Path:
        return self.folder / "command.key"

    def create_keys(self, now: datetime) -> bool:
        """Make the folder and the collector's keys; True when they are new. What is there is kept."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        missing = not self.ca_key.exists()
        if missing:
            pair = CertificateAuthority.create(now).key_pair()
            write_file(self.ca_certificate, pair.certificate_pem, private=False)
            write_file(self.ca_key, pair.key_pem)
        self.ensure_envelope_key(STANDARD)
        if not self.command_key.exists():
            write_file(self.command_key, CommandKey.generate().to_bytes())
        return missing

    def authority(self) -> CertificateAuthority:
        """Raise HomeUnusable."""
        try:
            return CertificateAuthority.load(
                KeyPair(self.ca_certificate.read_bytes(), self.ca_key.read_bytes())
            )
        except (OSError, ValueError, TypeError) as err:
            raise self._unusable(f"{self.ca_certificate} with {self.ca_key.name}", err) from err

    def ensure_envelope_key(self, suite: Suite) -> None:
        """Make the first key of a suite; one that is there is kept. Raise Sm2Unavailable."""
        if not self.envelope_key(suite).exists():
            write_file(self.envelope_key(suite), CollectorPrivateKey.generate(suite).to_bytes())

    def rotate_envelope_key(self, suite: Suite, now: datetime) -> CollectorPrivateKey:
        """Let gateways seal to a new key from now on. What was sealed to older ones can be opened for ever.

        After a loss of power at any point there is the old or the new key, and never less than before.
        """
        path = self.envelope_key(suite)
        key = CollectorPrivateKey.generate(suite)
        if path.exists():
            os.link(path, path.with_name(f"{path.name}{_BEFORE}{now:%Y%m%dT%H%M%S%f}"))
            sync_folder(path.parent)
        write_file(path, key.to_bytes())
        return key

    def keyring(self) -> Keyring:
        """All keys that gateways ever sealed to. Raise HomeUnusable."""
        return Keyring(self._envelope_keys, self._envelope_stamp)

    def _envelope_keys(self) -> Sequence[CollectorPrivateKey]:
        found: list[CollectorPrivateKey] = []
        for suite in SUITES.values():
            path = self.envelope_key(suite)
            if suite is not STANDARD and not path.exists():
                continue
            older = sorted(self.folder.glob(f"{path.name}{_BEFORE}*"), reverse=True)
            found += [self._read_envelope_key(each, suite) for each in (path, *older)]
        return found

    def _read_envelope_key(self, path: Path, suite: Suite) -> CollectorPrivateKey:
        try:
            return CollectorPrivateKey(path.read_bytes(), suite)
        except (OSError, ValueError) as err:
            raise self._unusable(str(path), err) from err

    def _envelope_stamp(self) -> Hashable:
        return tuple(_stamp(self.envelope_key(suite)) for suite in SUITES.values())

    def commanding_key(self) -> CommandKey:
        """Raise HomeUnusable."""
        try:
            return CommandKey.from_bytes(self.command_key.read_bytes())
        except (OSError, ValueError) as err:
            raise self._unusable(str(self.command_key), err) from err

    def ensure_server_certificate(
        self, names: Sequence[str], now: datetime, life: timedelta = DEFAULT_LIVES.server
    ) -> bool:
        """Certify the server anew when its certificate is missing, lacks a name or has half its life left.

        True when it did.
        """
        authority = self.authority()
        if self._server_is_certified(authority, names, now, life):
            return False
        pair = authority.certify_server([*names, *LOOPBACK], now, life)
        write_file(self.server_certificate, pair.key_pem + pair.certificate_pem)
        return True

    def ensure_broker_client_certificate(self, now: datetime, life: timedelta = DEFAULT_LIVES.server) -> bool:
        """Certify this collector to brokers when its certificate is missing or has half its life left."""
        authority = self.authority()
        if _is_good(self.broker_client_certificate, authority, now, life) is not None:
            return False
        pair = authority.certify_collector(now, life)
        write_file(self.broker_client_certificate, pair.key_pem + pair.certificate_pem)
        return True

    def _server_is_certified(
        self, authority: CertificateAuthority, names: Sequence[str], now: datetime, life: timedelta
    ) -> bool:
        certificate = _is_good(self.server_certificate, authority, now, life)
        if certificate is None:
            return False
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {general_name(name) for name in names} <= set(known)

    def _unusable(self, what: str, err: Exception) -> HomeUnusable:
        why = err.strerror if isinstance(err, OSError) else "damaged"
        return HomeUnusable(
            f"{what}: {why}; restore it from the backup, or begin anew with `collector init` in an empty "
            "folder and enrol every gateway again"
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _is_good(
    path: Path, authority: CertificateAuthority, now: datetime, life: timedelta
) -> x509.Certificate | None:
    """The certificate in the file, if it is the authority's and has more than half its life before it."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception:  # whatever is wrong with it: a new one is made from the authority's key
        return None
    return certificate if certificate.not_valid_after_utc - now > life / 2 else None


def write_file(path: Path, data: bytes, *, private: bool = True) -> None:
    """Replace a file whole. A private one is never readable by others, not even while it is written."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)  # what others are told of it must not be taken back by a loss of power


def sync_folder(folder: Path) -> None:
    """Make durable which files it holds, and under which names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
