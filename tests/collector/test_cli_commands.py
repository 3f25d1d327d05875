"""The command `collector`: what it answers people and programs, and with which exit code."""

import json
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from collector.cli import app
from collector.identity.home import Home
from models.protocol import EnrollmentToken

Folder = Path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A collector with one site."""
    made = tmp_path / "collector"
    run(
        "init",
        "--dir",
        str(made),
        "--url",
        "https://collector.example:9443",
        "--site",
        "a1",
        "--site-name",
        "市政厅",
    )
    return made


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.output


def ask(folder: Folder, *arguments: str, exit_code: int = 0) -> Any:
    return json.loads(run(*arguments, "--dir", str(folder), "--json", exit_code=exit_code))


def test_help_needs_none_of_the_large_libraries() -> None:
    code = (
        "import sys, collector.cli; "
        "large = {'sqlalchemy', 'fastapi', 'cryptography', 'numpy', 'alembic'}; "
        "sys.exit(sorted(large & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    help_text = run("--help")
    for command in ("init", "serve", "site", "enrollment-token", "api-token", "gateways"):
        assert command in help_text


def every_command(command: Any, name: str) -> dict[str, Any]:
    found = {name: command}
    for sub_name, sub in getattr(command, "commands", {}).items():
        found |= every_command(sub, f"{name} {sub_name}")
    return found


def test_every_command_answers_in_json_and_takes_the_folder() -> None:
    commands = every_command(typer.main.get_command(app), "collector")
    for only_a_name in (
        "collector",
        "collector site",
        "collector keys",
        "collector config",
        "collector upstream",
    ):
        del commands[only_a_name]
    assert len(commands) == 29
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--dir"} <= options, name
        assert command.help, name


def test_init_makes_a_collector_and_says_what_comes_next(tmp_path: Path) -> None:
    made = tmp_path / "new"
    said = run("init", "--dir", str(made), "--url", "https://c.example", "--site", "a1")
    assert "collector serve" in said
    assert "collector enrollment-token --site a1" in said
    settings = (made / "collector.yaml").read_text()
    assert 'url: "https://c.example"' in settings
    assert "port: 443" in settings
    connection = sqlite3.connect(made / "collector.db")
    assert connection.execute("SELECT code, name FROM site").fetchall() == [("a1", "a1")]
    connection.close()


def test_init_again_keeps_keys_settings_and_data(folder: Folder) -> None:
    before = {
        name: (folder / name).read_bytes()
        for name in ("ca.pem", "ca.key", "envelope.key", "command.key", "collector.yaml")
    }
    answer = ask(folder, "init")
    assert answer["new"] is False
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert [site["code"] for site in ask(folder, "site", "list")] == ["a1"]
    said = ask(folder, "init", "--url", "https://other.example", exit_code=1)
    assert "change it there" in said["error"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--url", "http://c.example"], "url"),
        (["--url", "https://c.example:port"], "is not an address"),
        (["--url", "https://c.example/path"], "url"),
        (["--name", "not a name!" * 20], "neither a host name nor an address"),
    ],
)
def test_init_with_a_mistake_makes_nothing(tmp_path: Path, options: list[str], what: str) -> None:
    made = tmp_path / "new"
    assert what in run("init", "--dir", str(made), *options, exit_code=1)
    assert not made.exists()


def test_a_database_that_cannot_be_used_is_refused_by_every_command(folder: Folder) -> None:
    connection = sqlite3.connect(folder / "collector.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "knows only" in run("serve", "--dir", str(folder), exit_code=1)
    assert "a newer program" in ask(folder, "init", exit_code=1)["error"]
    (folder / "collector.db").write_text("not a database" * 100)
    assert "not a database" in ask(folder, "site", "list", exit_code=1)["error"]
    assert "restore a backup" in ask(folder, "init", exit_code=1)["error"]


def test_a_token_for_a_gateway_carries_address_authority_and_secret(folder: Folder) -> None:
    answer = ask(folder, "enrollment-token", "--site", "a1", "--name", "北楼")
    token = EnrollmentToken.decode(answer["token"])
    assert token.url == "https://collector.example:9443"
    assert token.ca_certificate_der == Home(folder).authority().certificate_der()
    assert token.secret not in (folder / "collector.db").read_bytes().decode("latin-1")
    text = run("enrollment-token", "--site", "a1", "--name", "x", "--hours", "1", "--dir", str(folder))
    assert "edge-agent enroll ghe1." in text
    assert "have: a1" in ask(folder, "enrollment-token", "--site", "b2", "--name", "x", exit_code=1)["error"]
    late = ask(folder, "enrollment-token", "--site", "a1", "--name", "x", "--hours", "25", exit_code=1)
    assert "at most 24 hours" in late["error"]


def test_api_tokens_are_made_listed_and_revoked(folder: Folder) -> None:
    made = ask(
        folder,
        "api-token",
        "--name",
        "platform",
        "--scope",
        "read",
        "--scope",
        "alerts:write",
        "--site",
        "a1",
    )
    assert made["token"].startswith("ght_")
    [listed] = ask(folder, "api-token", "list")
    assert made["token"] not in json.dumps(listed)
    assert (listed["name"], listed["scopes"], listed["sites"], listed["state"]) == (
        "platform",
        ["alerts:write", "read"],
        ["a1"],
        "good",
    )
    ask(folder, "api-token", "revoke", "platform")
    assert ask(folder, "api-token", "list")[0]["state"] == "revoked"
    assert "platform  revoked" in run("api-token", "list", "--dir", str(folder))
    assert "ght_" in run("api-token", "--name", "p", "--scope", "read", "--dir", str(folder))
    assert "no token named" in ask(folder, "api-token", "revoke", "nobody", exit_code=1)["error"]
    assert "not write" in ask(folder, "api-token", "--name", "q", "--scope", "write", exit_code=1)["error"]


def test_half_a_command_is_a_usage_mistake(folder: Folder) -> None:
    run("api-token", "--name", "p", "--dir", str(folder), exit_code=2)
    run("enrollment-token", "--dir", str(folder), exit_code=2)
    run("no-such-command", exit_code=2)


def test_sites_are_added_and_listed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_COLLECTOR_DIR", str(folder))
    run("site", "add", "b2", "School", "--timezone", "Asia/Urumqi")
    assert ask(folder, "site", "list") == [
        {"code": "a1", "name": "市政厅", "timezone": "Asia/Shanghai", "suite": "standard"},
        {"code": "b2", "name": "School", "timezone": "Asia/Urumqi", "suite": "standard"},
    ]
    assert "School" in run("site", "list")
    for arguments, what in (
        (("b2", "Again"), "already"),
        (("b 3", "Space"), "cannot be a code"),
        (("b3", "Moon", "--timezone", "Moon/Base"), "no time zone"),
    ):
        assert what in run("site", "add", *arguments, exit_code=1)


def test_a_site_of_suite_gm_has_its_key_and_an_unknown_suite_is_a_mistake(folder: Folder) -> None:
    ask(folder, "site", "add", "b3", "保密楼", "--suite", "gm")
    assert ask(folder, "site", "list")[1]["suite"] == "gm"
    assert stat.S_IMODE((folder / "envelope-gm.key").stat().st_mode) == 0o600
    said = ask(folder, "site", "add", "b4", "School", "--suite", "rot13", exit_code=1)
    assert "have: standard, gm" in said["error"]


def test_a_rotated_key_is_another_and_the_old_one_is_kept(folder: Folder) -> None:
    old = (folder / "envelope.key").read_bytes()
    first, second = ask(folder, "keys", "rotate"), ask(folder, "keys", "rotate")
    assert first["key"] != second["key"]
    kept = sorted(folder.glob("envelope.key.before-*"))
    assert [path.read_bytes() == old for path in kept] == [True, False]
    assert (folder / "envelope.key").read_bytes() not in {path.read_bytes() for path in kept}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    said = ask(folder / "elsewhere", "keys", "rotate", exit_code=1)
    assert "collector init" in said["error"]


def test_gateways_are_listed_and_revoked(folder: Folder) -> None:
    assert "No gateway yet" in run("gateways", "--dir", str(folder))
    connection = sqlite3.connect(folder / "collector.db")
    connection.execute(
        "INSERT INTO gateway (id, site_id, name, state, seal_key, enrolled_ms, last_seen_ms) "
        "VALUES ('gw-1', 1, 'North', 'active', x'00', 0, 1790000000000)"
    )
    connection.commit()
    connection.close()
    assert ask(folder, "gateways") == ask(folder, "gateways", "list")
    [listed] = ask(folder, "gateways")
    assert (listed["id"], listed["state"], listed["last_seen"]) == (
        "gw-1",
        "active",
        "2026-09-21T14:13:20.000Z",
    )
    assert ask(folder, "gateways", "revoke", "gw-1")["changed"] is True
    assert ask(folder, "gateways", "revoke", "gw-1")["changed"] is False
    assert "revoked" in run("gateways", "--dir", str(folder))
    assert "no gateway 'gw-2'" in ask(folder, "gateways", "revoke", "gw-2", exit_code=1)["error"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        pytest.param(["commands", "--state", "bogus"], "there is no state 'bogus'; there are", id="state"),
        pytest.param(["commands", "--site", "nope"], "there is no site 'nope'", id="site"),
        pytest.param(["command", "a1", "9", "write", "value"], "write key=value", id="no-pair"),
        pytest.param(["command", "a1", "9", "write", f"value={'[' * 20_000}"], "no device '9'", id="deep"),
        pytest.param(["command", "a1", "9", "write", f"value={'9' * 5_000}"], "no device '9'", id="long"),
    ],
)
def test_a_command_that_cannot_be_given_or_listed_is_explained(
    folder: Folder, arguments: list[str], what: str
) -> None:
    assert what in ask(folder, *arguments, exit_code=1)["error"]


@pytest.mark.parametrize(
    "arguments",
    [["serve"], ["site", "list"], ["gateways"], ["enrollment-token", "--site", "a", "--name", "b"]],
)
def test_without_a_collector_every_command_says_how_to_make_one(tmp_path: Path, arguments: list[str]) -> None:
    assert "collector init" in run(*arguments, "--dir", str(tmp_path / "nothing"), exit_code=1)


def test_gateways_that_ask_to_come_back_are_listed_and_decided_on_record(folder: Folder) -> None:
    assert ask(folder, "gateways", "requests") == []
    connection = sqlite3.connect(folder / "collector.db")
    now_ms = time.time_ns() // 1_000_000
    for number, code in ((1, "AAAA-BBBB-CCCC"), (2, "DDDD-EEEE-FFFF")):
        connection.execute(
            "INSERT INTO gateway (id, site_id, name, state, suite, seal_key, enrolled_ms) "
            "VALUES (?, 1, 'North', 'active', 'standard', x'00', 0)",
            (f"gw-{number}",),
        )
        connection.execute(
            "INSERT INTO gateway_return (gateway_id, code, public_key, state, asked_ms, last_asked_ms) "
            "VALUES (?, ?, x'00', 'waiting', ?, ?)",
            (f"gw-{number}", code, now_ms, now_ms),
        )
    connection.commit()
    connection.close()
    listed = ask(folder, "gateways", "requests")
    assert [(row["code"], row["gateway_id"], row["state"]) for row in listed] == [
        ("AAAA-BBBB-CCCC", "gw-1", "waiting"),
        ("DDDD-EEEE-FFFF", "gw-2", "waiting"),
    ]
    assert ask(folder, "gateways", "approve", "aaaa bbbb cccc") == {"gateway_id": "gw-1", "state": "approved"}
    assert ask(folder, "gateways", "reject", "DDDD-EEEE-FFFF") == {"gateway_id": "gw-2", "state": "rejected"}
    [change] = ask(folder, "gateways", "history", "gw-1")
    assert (change["change"], change["detail"]) == ("approved", "AAAA-BBBB-CCCC")
    assert change["by"].endswith(", at the command line")
    for words in (("approve", "GGGG-HHHH-IIII"), ("history", "gw-9")):
        assert "collector gateways" in ask(folder, "gateways", *words, exit_code=1)["error"]
