"""The key of the institution for pseudonyms: made when it is first needed, or brought by a person."""

import secrets
from pathlib import Path
from typing import Final

from edge_agent.files import write_durably
from edge_agent.secret_files import SecretUnusable, make_secret_file, read_secret_bytes
from models.pseudonym import KEY_BYTES

FILE: Final = "pseudonym.key"


def pseudonym_key(state_dir: Path, given: Path | None = None) -> bytes:
    """The key in the file `given`, else that in `state_dir`, which is made if it is not there.

    Raises SecretUnusable. It is never made anew over a file that cannot be used: all pseudonyms would change.
    """
    path = given or state_dir / FILE
    if given is None and not path.exists():
        make_secret_file(path, secrets.token_bytes(KEY_BYTES))
    key = read_secret_bytes(path, KEY_BYTES)
    if not any(key):
        raise SecretUnusable(path, "it is all zeros, which is no secret")
    return key


def adopt_pseudonym_key(state_dir: Path, given: Path) -> None:
    """Let the key in `given` be that of this gateway, so that a card has one pseudonym at all gateways.

    Raises SecretUnusable. From then on every card of this gateway has another pseudonym than before.
    """
    key = pseudonym_key(state_dir, given)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(state_dir / FILE, key, mode=0o600)
