"""The folder of one collector: which file is what, and that its secrets are readable by nobody else."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from collector.identity.ca import DEFAULT_LIVES, CertificateAuthority, KeyPair, general_name
from models.command import CommandKey
from models.envelope import CollectorPrivateKey
from models.errors import NeedsAHuman


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
    def envelope_key(self) -> Path:
        return self.folder / "envelope.key"

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
        if not self.envelope_key.exists():
            write_file(self.envelope_key, CollectorPrivateKey.generate().to_bytes())
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

    def private_key(self) -> CollectorPrivateKey:
        """Raise HomeUnusable."""
        try:
            return CollectorPrivateKey(self.envelope_key.read_bytes())
        except (OSError, ValueError) as err:
            raise self._unusable(str(self.envelope_key), err) from err

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
        pair = authority.certify_server(names, now, life)
        write_file(self.server_certificate, pair.key_pem + pair.certificate_pem)
        return True

    def _server_is_certified(
        self, authority: CertificateAuthority, names: Sequence[str], now: datetime, life: timedelta
    ) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.server_certificate.read_bytes())
            certificate.verify_directly_issued_by(authority.certificate)
            known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # whatever is wrong with it: a new one is made from the authority's key
            return False
        wanted = {general_name(name) for name in names}
        return wanted <= set(known) and certificate.not_valid_after_utc - now > life / 2

    def _unusable(self, what: str, err: Exception) -> HomeUnusable:
        why = err.strerror if isinstance(err, OSError) else "damaged"
        return HomeUnusable(
            f"{what}: {why}; restore it from the backup, or begin anew with `collector init` in an empty "
            "folder and enrol every gateway again"
        )


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
