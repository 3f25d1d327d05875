"""The disk under the state folder: room, wear, errors."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge_agent.doctor.finding import Finding, ok, problem, skipped, warning
from edge_agent.doctor.scene import Scene

MB: Final = 1 << 20
LITTLE_BYTES: Final = 64 * MB  # less is gone with one log or one update
FEW_FILES: Final = 100
WORN_PCT: Final = 80
WORN_OUT_PCT: Final = 100
TOOL_LIMIT_S: Final = 5.0  # in real time, for a tool that asks a disk
_FORGETFUL: Final = {"tmpfs", "ramfs", "overlay", "squashfs"}

# JEDEC JESD84-B51, PRE_EOL_INFO: how much of the reserved blocks is used up.
_RESERVE: Final = {1: "normal", 2: "80 % of its reserve is used", 3: "90 % of its reserve is used"}


class Mount(NamedTuple):
    """Where a folder is mounted, as /proc/self/mountinfo has it."""

    point: str
    kind: str
    source: str
    device: str  # "179:2"
    options: frozenset[str]  # of the mount and of the file system


def existing(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def space(scene: Scene) -> Iterator[Finding]:
    """Room for what the buffer may still take."""
    folder = existing(scene.state_dir)
    found = os.statvfs(folder)
    settings = scene.settings
    held = sum(part.stat().st_size for part in scene.state_dir.glob("buffer.db*")) if folder.is_dir() else 0
    most = settings.buffer.max_mb * MB if settings is not None else 0
    free_files = found.f_favail if found.f_files else None  # some file systems have no fixed number
    yield judged_space(
        free=found.f_bavail * found.f_frsize,
        total=found.f_blocks * found.f_frsize,
        still_wanted=max(0, most - held),
        free_files=free_files,
        folder=folder,
    )


def judged_space(
    *, free: int, total: int, still_wanted: int, free_files: int | None, folder: Path
) -> Finding:
    """All sizes in bytes; `still_wanted` is what the buffer may grow by."""
    seen = f"{free / MB:.0f} MB of {total / MB:.0f} MB free at {folder}"
    facts = {"free_bytes": free, "total_bytes": total, "still_wanted_bytes": still_wanted}
    if free < LITTLE_BYTES:
        return problem(
            "disk.space", seen, "free space: old logs, packages, set-aside buffer files", facts=facts
        )
    if free_files is not None and free_files < FEW_FILES:
        seen = f"room for {free_files} more files at {folder}"
        return problem("disk.space", seen, "delete files that nobody needs", facts=facts)
    if free < still_wanted:
        seen += f"; the buffer may grow by {still_wanted / MB:.0f} MB"
        return warning("disk.space", seen, "free space, or lower buffer.max_mb", facts=facts)
    return ok("disk.space", seen, facts=facts)


def wear(scene: Scene) -> Iterator[Finding]:
    """What disks say of their own age: eMMC and UFS by the kernel, others by smartctl where it is there."""
    said = 0
    for block in sorted((scene.host.sys / "block").glob("*")):
        for finding in (*_flash_wear(scene, block), *_smart_wear(scene, block)):
            said += 1
            yield finding
    if not said:
        why = "no disk here tells its wear (SD cards never do; for SSDs install smartmontools, ask as root)"
        yield skipped("disk.wear", why)


def _flash_wear(scene: Scene, block: Path) -> Iterator[Finding]:
    texts = [
        scene.host.text(block / "device" / "life_time"),  # eMMC: two figures
        scene.host.text(block / "device" / "health_descriptor" / "life_time_estimation_a"),  # UFS
        scene.host.text(block / "device" / "health_descriptor" / "life_time_estimation_b"),
    ]
    steps = [number for text in texts if text for number in map(_hex, text.split()) if number]
    end = scene.host.text(block / "device" / "pre_eol_info") or scene.host.text(
        block / "device" / "health_descriptor" / "eol_info"
    )
    reserve = _hex(end or "") or 0
    if not steps and not reserve:
        return
    # 1 stands for 0 to 10 % of the life that the maker plans, 11 for all of it.
    used_pct = max(steps, default=0) * 10
    seen = f"{max(0, used_pct - 10)} to {min(used_pct, 100)} % of its life used" if steps else ""
    if used_pct > WORN_OUT_PCT:
        seen = "all of its life is used"
    seen = "; ".join(filter(None, (seen, "" if reserve <= 1 else _RESERVE.get(reserve, ""))))
    yield _judged_wear(
        block.name, seen or "normal", used_pct=used_pct, failing=reserve >= 3, ageing=reserve == 2
    )


def _hex(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _smart_wear(scene: Scene, block: Path) -> Iterator[Finding]:
    """SATA and NVMe, which answer to root alone."""
    tool = shutil.which("smartctl", path=scene.host.environment.get("PATH"))
    is_disk = (block / "device").exists() and block.name.startswith(("sd", "nvme"))
    if not is_disk or tool is None:
        return
    words = [tool, "--json", "--health", "--attributes", f"/dev/{block.name}"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=TOOL_LIMIT_S, check=False)  # noqa: S603
        told: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return
    passed = told.get("smart_status", {}).get("passed")
    used = told.get("endurance_used", {}).get("current_percent")
    if used is None:
        used = told.get("nvme_smart_health_information_log", {}).get("percentage_used")
    if passed is None and used is None:
        return  # it was not allowed to ask, or the disk has nothing to say
    seen = "" if used is None else f"{used} % of its life used"
    if passed is False:
        seen = "; ".join(filter(None, (seen, "it says that it is failing")))
    yield _judged_wear(block.name, seen or "it says that it is well", used_pct=used or 0, failing=not passed)


def _judged_wear(
    name: str, seen: str, *, used_pct: int, failing: bool = False, ageing: bool = False
) -> Finding:
    facts = {"used_pct": used_pct}
    if failing or used_pct > WORN_OUT_PCT:
        hint = "plan its replacement now: export what waits, then change the disk or the gateway"
        return problem("disk.wear", seen, hint, subject=name, facts=facts)
    if ageing or used_pct > WORN_PCT:
        hint = "plan its replacement; fewer readings (report rules, longer periods) make it last"
        return warning("disk.wear", seen, hint, subject=name, facts=facts)
    return ok("disk.wear", seen, subject=name, facts=facts)


def file_system(scene: Scene) -> Iterator[Finding]:
    """Whether the state folder can be written, lasts, and its file system has seen no errors."""
    folder = existing(scene.state_dir)
    found = mount_of(folder, scene.host.text(scene.host.proc / "self" / "mountinfo") or "")
    if found is None:
        yield skipped("disk.filesystem", "the kernel does not say what is mounted")
        return
    seen = f"{found.kind} on {found.source}"
    device = _device_name(scene, found)
    errors = int(scene.host.text(scene.host.sys / "fs" / "ext4" / device / "errors_count") or 0)
    if "ro" in found.options:
        hint = f"after errors a disk is mounted so: see dmesg; then: mount -o remount,rw {found.point}"
        yield problem("disk.filesystem", f"{seen} is read-only", hint)
    elif errors:
        hint = f"check it when nothing runs from it: fsck {found.source}; think of a new disk"
        yield problem("disk.filesystem", f"{seen} has seen {errors} errors", hint, facts={"errors": errors})
    elif found.kind in _FORGETFUL:
        hint = "what waits there is lost with the power: put gateway.state_dir on a real disk"
        yield warning("disk.filesystem", f"{seen} holds the state folder", hint)
    else:
        yield ok("disk.filesystem", f"{seen}, no errors")


def mount_of(folder: Path, mountinfo: str) -> Mount | None:
    """The last mount at the longest path that `folder` lies under."""
    best: Mount | None = None
    wanted = os.path.realpath(folder)
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 6 or len(rest) < 3:
            continue
        point = fields[4].encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")
        if not (wanted == point or wanted.startswith(point.rstrip("/") + "/")):
            continue
        if best is None or len(point) >= len(best.point):
            options = frozenset((*fields[5].split(","), *rest[2].split(",")))
            best = Mount(point, rest[0], rest[1], fields[2], options)
    return best


def _device_name(scene: Scene, mount: Mount) -> str:
    """The kernel's name, which /dev/root hides."""
    link = scene.host.sys / "dev" / "block" / mount.device
    return link.resolve().name if link.exists() else mount.source.rpartition("/")[2]
