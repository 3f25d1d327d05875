"""The key that encrypts the buffer. It never lies beside the buffer.

It is looked for in this order:

1. the systemd credential `gatehouse-at-rest`, which the unit decrypts with the TPM or the machine's own key
   for as long as the agent runs (`systemd-creds encrypt`);
2. the file that `gateway.at_rest_key_file` names, such as one on another medium;
3. `at-rest.key` beside gateway.yaml, which is made when there is no buffer yet.

Whoever copies or steals the state folder alone then reads nothing.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edge_agent.config import Config
from edge_agent.secret_files import SecretUnusable, make_secret_file, read_secret_bytes
from models.at_rest import KEY_BYTES, AtRest
from models.errors import NeedsAHuman

CREDENTIAL: Final = "gatehouse-at-rest"
FILE: Final = "at-rest.key"


class AtRestKeyUnusable(NeedsAHuman):
    """The key for the buffer is missing or no key. The buffer was not touched."""

    def __init__(self, place: Path, detail: str) -> None:
        super().__init__(f"{place}: {detail}. The buffer is left as it is: nothing in it is lost")
        self.place, self.detail = place, detail


def at_rest_of(config: Config) -> AtRest:
    """What encrypts and opens the rows of this gateway's buffer. Raise AtRestKeyUnusable."""
    gateway = config.settings.gateway
    key = at_rest_key(
        config.file,
        state_dir=config.state_dir,
        given=gateway.at_rest_key_file,
        is_needed=config.buffer_file.exists(),
    )
    return AtRest(key, purpose="buffer", cipher=gateway.at_rest_cipher)


def at_rest_key(
    config_file: Path,
    *,
    state_dir: Path,
    given: str | None,
    is_needed: bool,
    environment: Mapping[str, str] = os.environ,
) -> bytes:
    """The key, 32 bytes. `given` is `gateway.at_rest_key_file`, relative to the configuration.

    `is_needed` says that there is a buffer already: a key that is not found is then never made anew, for what
    is in the buffer could not be read with it. Raise AtRestKeyUnusable.
    """
    place = key_place(config_file, given=given, environment=environment)
    _check_apart(place, state_dir)
    try:
        if place == config_file.parent / FILE and not place.exists():
            if is_needed:
                raise AtRestKeyUnusable(
                    place,
                    "the key that the buffer was encrypted with is missing; put it back from the backup, or "
                    "name its place in gateway.at_rest_key_file. Without it: move the buffer away, which "
                    "gives up what is in it",
                )
            make_secret_file(place, secrets.token_bytes(KEY_BYTES))
        key = read_secret_bytes(place, KEY_BYTES)
    except SecretUnusable as err:
        raise AtRestKeyUnusable(
            place, f"{err.detail}; it is the key of the buffer, put back the one it was encrypted with"
        ) from None
    except OSError as err:
        raise AtRestKeyUnusable(
            place,
            f"a key for the buffer cannot be made there ({err.strerror}); name a file with 32 random bytes "
            "in gateway.at_rest_key_file, or give the unit the credential gatehouse-at-rest",
        ) from err
    if not any(key):
        raise AtRestKeyUnusable(place, "it is all zeros, which is no secret")
    return key


def key_place(config_file: Path, *, given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the key is, or would be made."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and (credential := Path(folder) / CREDENTIAL).exists():
        return credential
    return config_file.parent / (given or FILE)


def _check_apart(place: Path, state_dir: Path) -> None:
    """A key beside what it encrypts protects nothing."""
    if place.resolve().is_relative_to(state_dir.resolve()):
        raise AtRestKeyUnusable(
            place,
            f"the key of the buffer must not lie in {state_dir}, where the buffer is; name another place in "
            "gateway.at_rest_key_file, or move the buffer by gateway.state_dir",
        )
