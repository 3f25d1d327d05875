"""Staging: what is not signed, not whole, not newer or not for this gateway is refused and leaves nothing."""

import hashlib
import io
import os
import platform
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.update.archive import StagingFailed, check_files
from edge_agent.update.formats import buffer_formats
from edge_agent.update.releases import NoReleaseKey, NothingToDo, Releases, State, installed_version
from models.release import (
    MANIFEST,
    SIGNATURE,
    Formats,
    Manifest,
    ReleasedFile,
    ReleaseRefused,
    check_fits,
    sign_manifest,
    version_key,
)
from tests.support.releases import KEY, ROOT, packed, small_tree, trust


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    trust(tmp_path)
    return Releases(tmp_path / "gateway.yaml", tmp_path / "state")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return packed(tmp_path / "good.release", small_tree(tmp_path / "tree"), "9.1")[0]


def left_over(releases: Releases) -> list[str]:
    return sorted(path.name for path in releases.folder.glob("*") if path.is_dir())


def test_a_signed_release_is_staged_whole(releases: Releases, good: Path) -> None:
    assert releases.stage(good).version == "9.1"
    assert releases.staged() == ["9.1"]
    assert check_files(releases.place("9.1"), releases.public_key()).version == "9.1"
    assert (releases.state().current, releases.state().trial) == ("", None)


def test_without_a_pinned_key_nothing_is_trusted(releases: Releases, good: Path, tmp_path: Path) -> None:
    (tmp_path / "release.pub").unlink()
    with pytest.raises(NoReleaseKey, match="no release is trusted"):
        releases.stage(good)


def test_a_release_of_somebody_else_is_refused(releases: Releases, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate()
    file, _ = packed(tmp_path / "theirs", small_tree(tmp_path / "tree"), "9.1", key=other)
    with pytest.raises(ReleaseRefused) as refused:
        releases.stage(file)
    assert (refused.value.code, left_over(releases)) == ("bad-signature", [])


def test_a_signature_for_anything_else_is_no_release(releases: Releases, tmp_path: Path) -> None:
    """The same key over the same bytes, without the words that a release begins with."""
    _, manifest = packed(tmp_path / "x", small_tree(tmp_path / "tree"), "9.1")
    data, _ = sign_manifest(manifest, KEY)
    file = archive(tmp_path / "forged", [(MANIFEST, data), (SIGNATURE, KEY.sign(data))])
    with pytest.raises(ReleaseRefused, match="bad-signature"):
        releases.stage(file)


def archive(file: Path, members: list[tuple[Any, bytes]]) -> Path:
    """Members are names, or whole entries for what is no plain file."""
    with tarfile.open(file, "w:gz") as packing:
        for member, content in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            entry.size = len(content)
            packing.addfile(entry, io.BytesIO(content))
    return file


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


CODE = b"print('hello')\n"
NAME = "lib/edge_agent/__init__.py"


def signed() -> list[tuple[Any, bytes]]:
    return signed_as({NAME: CODE})


def signed_as(named: dict[str, bytes]) -> list[tuple[Any, bytes]]:
    manifest = Manifest(
        version="9.1",
        from_version="0.0",
        python="3.11",
        machine="any",
        buffer=Formats(writes=1, reads=(1,)),
        files={
            name: ReleasedFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in named.items()
        },
    )
    data, signature = sign_manifest(manifest, KEY)
    return [(MANIFEST, data), (SIGNATURE, signature), *named.items()]


Members = list[tuple[Any, bytes]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda m: [*m[:2], (NAME, CODE[:-1] + b"!")], "damaged", id="changed"),
        pytest.param(lambda m: [*m[:2], (NAME, CODE + b"#")], "damaged", id="longer"),
        pytest.param(lambda m: m[:2], "damaged", id="missing"),
        pytest.param(lambda m: [*m, ("lib/more.py", b"x")], "damaged", id="more"),
        pytest.param(lambda m: [*m, m[2]], "damaged", id="twice"),
        pytest.param(
            lambda m: [*m[:2], (link(NAME, "/etc/passwd", tarfile.SYMTYPE), b"")], "damaged", id="link"
        ),
        pytest.param(lambda m: [*m[:2], (link(NAME, NAME, tarfile.LNKTYPE), b"")], "damaged", id="hardlink"),
        pytest.param(lambda m: [*m[:2], (link(NAME, "", tarfile.CHRTYPE), b"")], "damaged", id="device"),
        pytest.param(lambda m: [*m[:2], ("../../evil.py", CODE)], "damaged", id="outside"),
        pytest.param(lambda m: [*m[:2], ("/tmp/evil.py", CODE)], "damaged", id="absolute"),  # noqa: S108
        pytest.param(lambda m: [m[1], m[0], m[2]], "malformed", id="other-order"),
        pytest.param(lambda m: [(MANIFEST, m[0][1] + b" "), *m[1:]], "bad-signature", id="manifest"),
        pytest.param(lambda m: [], "malformed", id="empty"),
    ],
)
def test_an_archive_that_is_not_what_was_signed_is_refused_and_leaves_nothing(
    releases: Releases, tmp_path: Path, change: Callable[[Members], Members], code: str
) -> None:
    file = archive(tmp_path / "bad", change(signed()))
    with pytest.raises(ReleaseRefused) as refused:
        releases.stage(file)
    assert (refused.value.code, left_over(releases)) == (code, [])
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize(
    "name", ["lib/../../evil", "/etc/evil", "evil", "lib", "lib/a\\b", "lib//a", "lib/\n"]
)
def test_even_a_signed_manifest_names_no_file_outside(releases: Releases, tmp_path: Path, name: str) -> None:
    with pytest.raises(ReleaseRefused, match="malformed"):
        releases.stage(archive(tmp_path / "bad", signed_as({name: CODE})))
    assert left_over(releases) == []


def test_a_release_that_is_cut_off_is_refused_until_all_of_it_is_there(
    releases: Releases, good: Path, tmp_path: Path
) -> None:
    """What follows the last file is the end of the archive, and says nothing."""
    whole, refused = good.read_bytes(), 0
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            releases.stage(tmp_path / "cut")
        except ReleaseRefused:
            refused += 1
            assert left_over(releases) == []
        else:
            check_files(releases.place("9.1"), releases.public_key())
            break
    assert refused >= 40


def facts(**changes: Any) -> Manifest:
    manifest = Manifest(
        version="2.0",
        from_version="1.0",
        python="3.11",
        machine="any",
        buffer=Formats(writes=5, reads=(4, 5)),
        files={},
    )
    return msgspec.structs.replace(manifest, **changes)


@pytest.mark.parametrize(
    ("changes", "here", "code"),
    [
        ({}, {}, ""),
        ({"machine": "aarch64"}, {}, ""),
        ({"version": "1.5"}, {}, "not-newer"),
        ({"version": "1.4.9"}, {}, "not-newer"),
        ({}, {"highest": "2.0"}, "not-newer"),
        ({}, {"highest": "3.1", "running": "1.5"}, "not-newer"),  # after a rollback, replayed
        ({"from_version": "1.6"}, {}, "too-old"),
        ({"python": "3.12"}, {}, "other-machine"),
        ({"machine": "x86_64"}, {}, "other-machine"),
        ({"buffer": Formats(writes=5, reads=(5,))}, {}, "format"),
        ({"buffer": Formats(writes=6, reads=(4, 5, 6))}, {}, "format"),
        ({"buffer": Formats(writes=4, reads=(4,))}, {}, ""),
    ],
)
def test_only_what_may_follow_the_running_version_fits(
    changes: dict[str, Any], here: dict[str, Any], code: str
) -> None:
    known: dict[str, Any] = {"running": "1.5", "highest": "1.5", "python": "3.11", "machine": "aarch64"}
    formats = Formats(writes=4, reads=(4, 5))
    if not code:
        check_fits(facts(**changes), **{**known, **here}, formats=formats)
        return
    with pytest.raises(ReleaseRefused) as refused:
        check_fits(facts(**changes), **{**known, **here}, formats=formats)
    assert refused.value.code == code


def test_versions_are_compared_as_numbers() -> None:
    assert version_key("1.10") > version_key("1.9.9")
    assert version_key("1.0") == version_key("1.0.0.0")
    for wrong in ("1", "1.x", "1.2-rc1", "", "1..2", "１.２"):
        with pytest.raises(ReleaseRefused):
            version_key(wrong)


def test_this_version_can_be_left_for_the_one_before_it() -> None:
    """Each version reads what it writes; the next one writes what this one reads."""
    formats = buffer_formats()
    assert formats.writes in formats.reads


def test_a_disk_without_room_is_said_and_nothing_is_left(
    releases: Releases, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = os.statvfs(good.parent)
    full = os.statvfs_result((*at[:3], 0, 0, *at[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(StagingFailed, match="free space"):
        releases.stage(good)
    assert left_over(releases) == []


def test_a_disk_that_fills_up_while_it_is_unpacked_leaves_nothing(releases: Releases, tmp_path: Path) -> None:
    """By a real limit of the kernel, in a process of its own."""
    tree = small_tree(tmp_path / "tree")
    (tree / "large.bin").write_bytes(os.urandom(300_000))
    file, _ = packed(tmp_path / "large.release", tree, "9.1")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from pathlib import Path; from edge_agent.update.releases import Releases;"
        f"Releases(Path({str(tmp_path / 'gateway.yaml')!r}), Path({str(tmp_path / 'state')!r}))"
        f".stage(Path({str(file)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "StagingFailed" in done.stderr
    assert left_over(releases) == []
    assert releases.stage(file).version == "9.1"


def test_staging_that_is_killed_at_any_time_is_simply_done_again(releases: Releases, tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree")
    for number in range(120):
        (tree / f"part{number:03}.bin").write_bytes(os.urandom(2000))
    file, _ = packed(tmp_path / "large.release", tree, "9.1")
    code = (
        "import sys; from pathlib import Path; from edge_agent.update.releases import Releases;"
        f"releases = Releases(Path({str(tmp_path / 'gateway.yaml')!r}), Path({str(tmp_path / 'state')!r}));"
        f"print('ready', flush=True); sys.stdin.read(1); releases.stage(Path({str(file)!r}))"
    )
    fresh = releases.folder / "9.1.new"
    for wanted in (1, 40, 100, 122):
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as staging:
            assert staging.stdin is not None
            assert staging.stdout is not None
            staging.stdout.readline()
            staging.stdin.write(b"x")
            staging.stdin.flush()
            while staging.poll() is None and sum(len(names) for _, _, names in os.walk(fresh)) < wanted:
                pass
            staging.send_signal(signal.SIGKILL)
        for version in releases.staged():  # whole, or not there
            check_files(releases.place(version), releases.public_key())
        assert releases.state().trial is None
    assert releases.stage(file).version == "9.1"
    assert left_over(releases) == ["9.1"]


def test_a_release_that_was_changed_on_disk_is_not_tried(releases: Releases, good: Path) -> None:
    releases.stage(good)
    (releases.place("9.1") / "lib" / "edge_agent" / "__main__.py").write_text("import evil\n")
    with pytest.raises(ReleaseRefused, match="not as it was signed"):
        releases.begin_trial(None, devices_answered=False, collector_reached=False)
    assert releases.state().trial is None


def test_only_what_is_staged_and_has_not_failed_is_tried(releases: Releases, good: Path) -> None:
    with pytest.raises(NothingToDo, match="is not staged"):
        releases.begin_trial(None, devices_answered=False, collector_reached=False)
    releases.stage(good)
    releases.save(State(failed={"9.1": "it crashed"}))
    with pytest.raises(NothingToDo, match="it crashed"):
        releases.begin_trial("9.1", devices_answered=False, collector_reached=False)
    releases.stage(good)
    assert releases.begin_trial(None, devices_answered=False, collector_reached=False) == "9.1"


def test_a_release_that_was_left_does_not_come_back_by_staging(releases: Releases, good: Path) -> None:
    releases.stage(good)
    releases.begin_trial(None, devices_answered=False, collector_reached=False)
    releases.save(releases.state().taken())
    assert (releases.state().current, releases.state().previous) == ("9.1", "")
    assert releases.roll_back() == ""
    with pytest.raises(ReleaseRefused, match="not-newer"):
        releases.stage(good)
    assert releases.roll_back() == "9.1"  # what was kept may be used again
    assert platform.machine()
    assert version_key(installed_version()) < version_key("9.1")


def test_nothing_is_staged_while_a_release_is_tried_for_it_may_be_what_runs(
    releases: Releases, good: Path
) -> None:
    releases.stage(good)
    releases.begin_trial(None, devices_answered=False, collector_reached=False)
    with pytest.raises(NothingToDo, match="is being tried"):
        releases.stage(good)
    assert check_files(releases.place("9.1"), releases.public_key()).version == "9.1"
