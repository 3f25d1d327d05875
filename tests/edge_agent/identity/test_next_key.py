"""A loss of power at any moment of a renewal leaves an identity that works, and a renewal that can go on."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.identity.certificates import CertificateUnusable, request_pem
from edge_agent.identity.folder import (
    GATEWAY,
    SEAL_KEY,
    Identity,
    IdentityDamaged,
    IdentityExposed,
    load_identity,
)
from edge_agent.identity.lock import OPEN
from edge_agent.identity.next_key import NEXT, NEXT_KEY, adopt, forget, keep_certificate, kept, next_key
from tests.support.killed_at import killed_at
from tests.support.own_authority import OwnAuthority


@pytest.fixture
def authority(tmp_path: Path) -> OwnAuthority:
    return OwnAuthority(tmp_path, lambda: datetime.now(UTC))


def renew(authority: OwnAuthority, identity: Identity) -> Identity:
    """All steps, as the keeper takes them."""
    following = kept(identity)
    if following is None:
        key = next_key(identity)
        following = keep_certificate(identity, authority.certificate_pem(request_pem(key)))
    return adopt(identity, following)


def raw(identity: Identity) -> bytes:
    return identity.signing_key.private_bytes_raw()


def test_a_kill_before_any_change_to_any_file_leaves_a_working_identity(
    authority: OwnAuthority, tmp_path: Path
) -> None:
    before = authority.enrol()
    change = 0
    while killed_at(change, lambda: renew(authority, load_identity(tmp_path))):
        found = load_identity(tmp_path)
        found.ssl_context()  # OpenSSL takes the pair too
        renewed = renew(authority, found)
        assert load_identity(tmp_path).certificate == renewed.certificate
        assert renewed.gateway_id == before.gateway_id
        assert not {NEXT, NEXT_KEY} & {path.name for path in renewed.folder.iterdir()}
        change += 1
    assert change >= 6  # each of its steps was the last of one trial


def test_a_kill_at_any_change_of_two_in_a_row_leaves_a_working_identity(
    authority: OwnAuthority, tmp_path: Path
) -> None:
    authority.enrol()
    for pair in ((0, 3), (1, 1), (2, 5), (3, 0), (4, 2), (5, 5), (6, 1), (2, 2), (4, 4), (3, 6)):
        for change in pair:
            killed_at(change, lambda: renew(authority, load_identity(tmp_path)))
        load_identity(tmp_path).ssl_context()


def test_until_it_is_adopted_the_next_key_changes_nothing(authority: OwnAuthority, tmp_path: Path) -> None:
    identity = authority.enrol()
    key = next_key(identity)
    following = keep_certificate(identity, authority.certificate_pem(request_pem(key)))
    assert raw(load_identity(tmp_path)) == raw(identity) != raw(following)
    adopt(identity, following)
    assert raw(load_identity(tmp_path)) == raw(following) == key.private_bytes_raw()


def test_the_next_key_is_for_its_owners_eyes(authority: OwnAuthority) -> None:
    identity = authority.enrol()
    keep_certificate(identity, authority.certificate_pem(request_pem(next_key(identity))))
    for name in (NEXT, NEXT_KEY, GATEWAY, SEAL_KEY):
        assert (identity.folder / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["another key", "another gateway", "another authority", "nothing"])
def test_a_certificate_that_is_not_for_the_next_key_is_not_kept(
    authority: OwnAuthority, tmp_path: Path, what: str
) -> None:
    identity = authority.enrol()
    key = next_key(identity)
    answers: dict[str, Callable[[], str]] = {
        "another key": lambda: authority.certificate_pem(request_pem(Ed25519PrivateKey.generate())),
        "another gateway": lambda: authority.certificate_pem(request_pem(key), "gw-2"),
        "another authority": lambda: OwnAuthority(tmp_path, authority.now).certificate_pem(request_pem(key)),
        "nothing": lambda: "",
    }
    with pytest.raises(CertificateUnusable):
        keep_certificate(identity, answers[what]())
    assert kept(identity) is None


def test_damaged_rests_of_a_renewal_do_not_keep_it_from_beginning_anew(
    authority: OwnAuthority, tmp_path: Path
) -> None:
    identity = authority.enrol()
    for name in (NEXT, NEXT_KEY):
        (identity.folder / name).write_bytes(b"-----BEGIN PRIVATE KEY-----\nhalf")
        (identity.folder / name).chmod(0o600)
    renewed = renew(authority, identity)
    assert load_identity(tmp_path).certificate == renewed.certificate != identity.certificate


def test_an_enrolment_in_the_meantime_is_not_undone_by_a_renewal_of_the_old_identity(
    authority: OwnAuthority, tmp_path: Path
) -> None:
    old = authority.enrol()
    following = keep_certificate(old, authority.certificate_pem(request_pem(next_key(old))))
    new = authority.enrol()
    with pytest.raises((IdentityDamaged, FileNotFoundError)):
        adopt(old, following)
    assert raw(load_identity(tmp_path)) == raw(new)


def test_forgetting_makes_another_next_key(authority: OwnAuthority) -> None:
    identity = authority.enrol()
    first = next_key(identity)
    assert next_key(identity).private_bytes_raw() == first.private_bytes_raw()
    forget(identity)
    assert next_key(identity).private_bytes_raw() != first.private_bytes_raw()


@pytest.mark.parametrize("name", [GATEWAY, SEAL_KEY, "."])
@pytest.mark.parametrize("mode", [0o040, 0o004, 0o020, 0o002, 0o001])
def test_a_key_that_others_can_read_is_not_used_and_the_message_says_what_to_do(
    authority: OwnAuthority, tmp_path: Path, name: str, mode: int
) -> None:
    identity = authority.enrol()
    path = identity.folder / name
    right = path.stat().st_mode
    path.chmod(right | mode)
    with pytest.raises(IdentityExposed, match=f"chmod {'700' if name == '.' else '600'}.*enroll --again"):
        load_identity(tmp_path)
    path.chmod(right)
    assert raw(load_identity(tmp_path)) == raw(identity)


def test_no_message_shows_a_key(authority: OwnAuthority, tmp_path: Path) -> None:
    identity = authority.enrol()
    secret = OPEN.pem(identity.signing_key).decode().splitlines()[1]
    (identity.folder / GATEWAY).write_bytes((identity.folder / GATEWAY).read_bytes()[:-30])
    with pytest.raises(IdentityDamaged) as refused:
        load_identity(tmp_path)
    assert secret not in str(refused.value)
