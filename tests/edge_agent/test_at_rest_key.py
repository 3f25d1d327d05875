"""Where the key of the buffer comes from; that it is never beside the buffer, nor made anew over one."""

import stat
from pathlib import Path

import pytest

from edge_agent.at_rest_key import AtRestKeyUnusable, at_rest_key

KEY = bytes(range(32))


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    (tmp_path / "etc" / "state").mkdir(parents=True)
    return tmp_path / "etc" / "gateway.yaml"


def found(
    config_file: Path, given: str | None = None, *, is_needed: bool = False, credentials: Path | None = None
) -> bytes:
    environment = {} if credentials is None else {"CREDENTIALS_DIRECTORY": str(credentials)}
    state_dir = config_file.parent / "state"
    return at_rest_key(
        config_file, state_dir=state_dir, given=given, is_needed=is_needed, environment=environment
    )


def test_the_first_start_makes_a_key_beside_the_configuration_for_its_owner_alone(config_file: Path) -> None:
    key = found(config_file)

    made = config_file.parent / "at-rest.key"
    assert made.read_bytes() == key == found(config_file, is_needed=True)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert list((config_file.parent / "state").iterdir()) == []


def test_a_key_that_is_missing_is_not_made_anew_while_there_is_a_buffer(config_file: Path) -> None:
    with pytest.raises(AtRestKeyUnusable, match=r"at-rest.key: the key .* is missing; put it back"):
        found(config_file, is_needed=True)
    assert not (config_file.parent / "at-rest.key").exists()


@pytest.mark.parametrize("content", [KEY, KEY.hex().encode(), KEY.hex().upper().encode()])
def test_a_file_that_is_named_is_taken_raw_or_in_hex(config_file: Path, content: bytes) -> None:
    (config_file.parent / "stick").write_bytes(content)
    assert found(config_file, "stick") == KEY
    assert not (config_file.parent / "at-rest.key").exists()


def test_a_credential_of_the_unit_goes_before_every_file(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "gatehouse-at-rest").write_bytes(KEY)
    (config_file.parent / "stick").write_bytes(KEY[::-1])

    assert found(config_file, "stick", credentials=tmp_path / "credentials") == KEY


def test_a_unit_with_other_credentials_only_takes_the_file(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (config_file.parent / "stick").write_bytes(KEY)

    assert found(config_file, "stick", credentials=tmp_path / "credentials") == KEY


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param(KEY[:16], "must hold 32 bytes", id="cut"),
        pytest.param(b"", "must hold 32 bytes", id="empty"),
        pytest.param(bytes(32), "all zeros", id="zeros"),
    ],
)
def test_what_is_no_key_stops_the_start_and_says_where(
    config_file: Path, content: bytes | None, told: str
) -> None:
    stick = config_file.parent / "stick"
    if content is not None:
        stick.write_bytes(content)

    with pytest.raises(AtRestKeyUnusable, match=told) as caught:
        found(config_file, "stick")

    assert str(stick) in str(caught.value)
    assert KEY.hex()[:16] not in str(caught.value)
    assert stick.exists() == (content is not None)


@pytest.mark.parametrize("given", ["state/key", "other/../state/deep/key", "link/key"])
def test_a_key_in_the_state_folder_is_refused(config_file: Path, given: str) -> None:
    (config_file.parent / "link").symlink_to("state")
    (config_file.parent / "other").mkdir()
    (config_file.parent / "state" / "key").write_bytes(KEY)

    with pytest.raises(AtRestKeyUnusable, match="must not lie in"):
        found(config_file, given)


def test_a_configuration_inside_the_state_folder_asks_for_another_place(tmp_path: Path) -> None:
    with pytest.raises(AtRestKeyUnusable, match=r"gateway\.at_rest_key_file"):
        at_rest_key(
            tmp_path / "gateway.yaml", state_dir=tmp_path, given=None, is_needed=False, environment={}
        )
    assert list(tmp_path.iterdir()) == []


def test_where_no_file_can_be_made_the_message_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "etc").write_bytes(b"a file, where a folder would be")

    with pytest.raises(AtRestKeyUnusable, match="at_rest_key_file, or give the unit the credential"):
        found(tmp_path / "etc" / "gateway.yaml")
