"""Where the identity of this collector at a higher one lies, and how it comes to be there."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collector.forward.settings import UpstreamSection
from collector.identity.home import Home, write_file
from edge_agent.identity.enroll import AlreadyEnrolled, enroll
from edge_agent.identity.folder import Identity, IdentityDamaged, NotEnrolled, identity_stamp, load_identity
from edge_agent.proxy import Proxy, proxy_from
from edge_agent.secret_files import read_secret
from models.errors import NeedsAHuman
from models.protocol import EnrollmentToken

_TOKEN = "ask there for a token (collector enrollment-token --for collector)"  # noqa: S105


class NoUpstream(NeedsAHuman):
    """This collector belongs to no higher one, or its identity there cannot be used."""


class UpstreamPresent(NeedsAHuman):
    """It is enrolled already."""


class Place:
    """The folder `upstream` of a collector."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.folder = home.folder / "upstream"

    def identity(self) -> Identity:
        """Raise NoUpstream."""
        try:
            return load_identity(self.folder)
        except NotEnrolled:
            raise NoUpstream(
                f"this collector is not enrolled at a higher one; {_TOKEN} and run: "
                "collector upstream enroll TOKEN"
            ) from None
        except IdentityDamaged as err:
            raise NoUpstream(
                f"{err.folder}: {err.detail}; {_TOKEN} and run: collector upstream enroll --again TOKEN"
            ) from None

    def stamp(self) -> tuple[int, int] | None:
        """Changes with the identity, and with what is known of the higher collector."""
        return identity_stamp(self.folder)

    def enroll(self, token: EnrollmentToken, *, again: bool, proxy: Proxy | None) -> Identity:
        """The key is born here. Raise UpstreamPresent, and what `edge_agent.identity.enroll` raises."""
        authority = self._home.authority().certificate_der()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            return enroll(token, state_dir=self.folder, again=again, proxy=proxy, authority=authority)
        except AlreadyEnrolled as err:
            raise UpstreamPresent(
                f"this collector is enrolled already, as {err.gateway_id} at {err.url}; to give it a new "
                "identity or another collector: collector upstream enroll --again TOKEN"
            ) from None

    def tell(self, state: Mapping[str, Any]) -> None:
        """Keep for `collector upstream status` how it goes."""
        write_file(self.folder / "state.json", json.dumps(state, ensure_ascii=False).encode())

    def told(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / "state.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def proxy_of(section: UpstreamSection, folder: Path) -> Proxy | None:
    """Raise SecretUnusable."""
    if section.proxy is None:
        return None
    login = section.proxy_login_file
    return proxy_from(section.proxy, None if login is None else read_secret(folder / login))


def upstream_of(identity: Identity) -> str:
    """By which the book knows a higher collector: its CA, which stays when we enrol there again."""
    return hashlib.sha256(identity.ca_der).hexdigest()[:16]
