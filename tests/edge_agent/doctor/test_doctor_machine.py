"""What the machine says of itself: each fault is found, and without it there is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.doctor import disk, machine, service, time
from edge_agent.doctor.finding import Finding
from edge_agent.doctor.run import Look
from tests.support.gateways import NOW_MS, Machine, scene


def found(look: Look, folder: Path, machine: Machine) -> list[Finding]:
    (folder / "gateway").mkdir(exist_ok=True)
    return list(look(scene(folder / "gateway", machine)))


@pytest.mark.parametrize(
    ("now_ms", "state"),
    [
        pytest.param(NOW_MS, "ok", id="right"),
        pytest.param(0, "problem", id="1970"),
        pytest.param(1_600_000_000_000, "problem", id="before-this-program"),
        pytest.param(4_200_000_000_000, "problem", id="beyond-2100"),
    ],
)
def test_a_clock_that_cannot_be_right_is_seen(tmp_path: Path, now_ms: int, state: str) -> None:
    [finding] = found(time.clock, tmp_path, Machine(tmp_path / "m", now_ms=lambda: now_ms))
    assert (finding.check, finding.state) == ("clock.set", state)
    assert ("timedatectl" in finding.next) is (state == "problem")


@pytest.mark.parametrize(
    ("synchronised", "process", "state", "told"),
    [
        (True, "systemd-timesyn", "ok", "systemd-timesyncd runs"),
        (False, "chronyd", "warning", "not synchronised; chrony runs"),
        (False, "bash", "warning", "no time service runs"),
    ],
)
def test_a_clock_that_nobody_keeps_is_seen(
    tmp_path: Path, synchronised: bool, process: str, state: str, told: str
) -> None:
    gateway = Machine(tmp_path / "m", synchronised=synchronised).has({"proc/7/comm": process})
    [finding] = found(time.time_service, tmp_path, gateway)
    assert (finding.state, told in finding.seen) == (state, True), finding


@pytest.mark.parametrize(
    ("offset_ms", "synchronised", "state"),
    [
        (200, True, "ok"),
        (-1500, True, "warning"),
        (90_000, True, "problem"),
        (-90_000, False, "warning"),  # the agent goes by the collector's time then
        (900, False, "ok"),
    ],
)
def test_the_offset_is_judged_by_who_keeps_the_clock(offset_ms: int, synchronised: bool, state: str) -> None:
    finding = time.judged_offset(offset_ms, synchronised=synchronised, subject="main")
    assert finding.state == state
    assert finding.facts == {"offset_ms": offset_ms}


@pytest.mark.parametrize(
    ("files", "state", "told"),
    [
        pytest.param({"life_time": "0x02 0x01", "pre_eol_info": "0x01"}, "ok", "10 to 20 %", id="young"),
        pytest.param({"life_time": "0x09 0x01", "pre_eol_info": "0x01"}, "warning", "80 to 90 %", id="old"),
        pytest.param({"life_time": "0x01 0x0b", "pre_eol_info": "0x01"}, "problem", "all of its", id="spent"),
        pytest.param({"life_time": "0x01 0x01", "pre_eol_info": "0x02"}, "warning", "80 % of", id="reserve"),
        pytest.param({"life_time": "0x01 0x01", "pre_eol_info": "0x03"}, "problem", "90 % of", id="no-more"),
        pytest.param({"life_time": "0x00 0x00", "pre_eol_info": "0x00"}, "skipped", "no disk", id="untold"),
        pytest.param({"health_descriptor/life_time_estimation_a": "0x0a"}, "warning", "90 to", id="ufs"),
        pytest.param({"life_time": "nonsense"}, "skipped", "no disk", id="nonsense"),
        pytest.param({}, "skipped", "no disk here tells", id="sd-card"),
    ],
)
def test_the_wear_of_a_flash_disk_is_read_from_the_kernel(
    tmp_path: Path, files: dict[str, str], state: str, told: str
) -> None:
    at = "sys/block/mmcblk0/device"
    gateway = Machine(tmp_path / "m").has({f"{at}/{name}": text for name, text in files.items()})
    [finding] = found(disk.wear, tmp_path, gateway)
    assert (finding.state, told in finding.seen) == (state, True), finding


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"smart_status": {"passed": True}, "endurance_used": {"current_percent": 3}}, "ok"),
        ({"smart_status": {"passed": True}, "endurance_used": {"current_percent": 88}}, "warning"),
        ({"smart_status": {"passed": False}}, "problem"),
        (
            {
                "smart_status": {"passed": True},
                "nvme_smart_health_information_log": {"percentage_used": 130},
            },
            "problem",
        ),
        ({"smartctl": {"messages": [{"string": "Permission denied"}]}}, "skipped"),
    ],
)
def test_the_wear_of_a_solid_state_disk_is_asked_of_smartctl(
    tmp_path: Path, answer: dict[str, Any], state: str
) -> None:
    gateway = Machine(tmp_path / "m").has({"sys/block/sda/device/model": "SSD"})
    gateway.has_program("smartctl", json.dumps(answer))
    [finding] = found(disk.wear, tmp_path, gateway)
    assert finding.state == state, finding


@pytest.mark.parametrize(
    ("free", "wanted", "files", "state"),
    [
        (900 << 20, 500 << 20, 10_000, "ok"),
        (300 << 20, 500 << 20, 10_000, "warning"),
        (63 << 20, 0, 10_000, "problem"),
        (900 << 20, 0, 99, "problem"),
        (900 << 20, 0, None, "ok"),
    ],
)
def test_room_is_judged_by_what_the_buffer_may_still_take(
    tmp_path: Path, free: int, wanted: int, files: int | None, state: str
) -> None:
    judged = disk.judged_space(
        free=free, total=8 << 30, still_wanted=wanted, free_files=files, folder=tmp_path
    )
    assert judged.state == state


def test_a_budget_beyond_the_disk_is_seen_on_the_real_one(tmp_path: Path) -> None:
    right = scene(tmp_path, buffer={"max_mb": 16})
    assert [finding.state for finding in disk.space(right)] == ["ok"]
    beyond = scene(tmp_path, buffer={"max_mb": 1 << 20})
    assert [finding.state for finding in disk.space(beyond)] == ["warning"]


def mountinfo(point: Path, *, kind: str = "ext4", options: str = "rw") -> str:
    escaped = str(point).replace(" ", "\\040")
    return (
        "21 1 179:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"30 21 179:2 / {escaped} rw,noatime - {kind} /dev/mmcblk0p2 {options}"
    )


@pytest.mark.parametrize(
    ("kind", "options", "errors", "state", "told"),
    [
        ("ext4", "rw", "0", "ok", "no errors"),
        ("ext4", "ro,errors=remount-ro", "0", "problem", "read-only"),
        ("ext4", "rw", "4", "problem", "has seen 4 errors"),
        ("tmpfs", "rw", "0", "warning", "holds the state folder"),
    ],
)
def test_a_file_system_that_will_not_keep_readings_is_seen(
    tmp_path: Path, kind: str, options: str, errors: str, state: str, told: str
) -> None:
    folder = tmp_path / "a mount"
    (folder / "gateway").mkdir(parents=True)
    gateway = Machine(tmp_path / "m").has(
        {
            "proc/self/mountinfo": mountinfo(folder, kind=kind, options=options),
            "sys/fs/ext4/mmcblk0p2/errors_count": errors,
            "sys/fs/ext4/root/errors_count": "9",  # of another one
        }
    )
    [finding] = found(disk.file_system, folder, gateway)
    assert (finding.state, told in finding.seen) == (state, True), finding


def test_the_file_system_of_this_machine_is_found(tmp_path: Path) -> None:
    mounted = disk.mount_of(tmp_path, Path("/proc/self/mountinfo").read_text())
    assert mounted is not None
    assert tmp_path.is_relative_to(mounted.point)


@pytest.mark.parametrize(
    ("free_kb", "killed", "state"),
    [(300_000, 0, "ok"), (40_000, 0, "warning"), (300_000, 2, "warning"), (9_000, 0, "problem")],
)
def test_want_of_memory_is_seen(tmp_path: Path, free_kb: int, killed: int, state: str) -> None:
    figures = f"MemTotal:  508000 kB\nMemFree: 1 kB\nMemAvailable: {free_kb} kB"
    gateway = Machine(tmp_path / "m").has({"proc/meminfo": figures, "proc/vmstat": f"oom_kill {killed}"})
    [finding] = found(machine.memory, tmp_path, gateway)
    assert finding.state == state, finding


@pytest.mark.parametrize(("temp", "state"), [("41000", "ok"), ("83500", "warning"), ("97000", "problem")])
def test_heat_is_seen(tmp_path: Path, temp: str, state: str) -> None:
    zones = {"sys/class/thermal/thermal_zone0/temp": "20000", "sys/class/thermal/thermal_zone1/temp": temp}
    [finding] = found(machine.temperature, tmp_path, Machine(tmp_path / "m").has(zones))
    assert finding.state == state, finding


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "0"}, "ok"),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50000"}, "warning"),
        ({"sys/devices/platform/soc/soc:firmware/get_throttled": "50005"}, "problem"),
        ({"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0"}, "ok"),
        ({"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1"}, "problem"),
        ({}, "skipped"),
    ],
)
def test_too_little_voltage_is_seen(tmp_path: Path, files: dict[str, str], state: str) -> None:
    [finding] = found(machine.power, tmp_path, Machine(tmp_path / "m").has(files))
    assert finding.state == state, finding


def unit(**changes: str) -> str:
    facts = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "NRestarts": "0",
        "Result": "success",
        **changes,
    }
    return "\n".join(f"{name}={value}" for name, value in facts.items())


@pytest.mark.parametrize(
    ("says", "state", "told"),
    [
        (unit(), "ok", "active (running), enabled, 0 restarts"),
        (unit(UnitFileState="disabled"), "warning", "disabled"),
        (unit(NRestarts="3"), "warning", "3 restarts"),
        (unit(ActiveState="failed", Result="watchdog"), "problem", "watchdog"),
        (unit(ActiveState="activating", SubState="auto-restart", NRestarts="40"), "problem", "40 restarts"),
        (unit(ActiveState="inactive"), "problem", "inactive"),
        (unit(LoadState="not-found"), "warning", "is not installed"),
    ],
)
def test_a_unit_that_does_not_start_the_agent_is_seen(
    tmp_path: Path, says: str, state: str, told: str
) -> None:
    gateway = Machine(tmp_path / "m").has_program("systemctl", says)
    gateway.has({"run/systemd/system/there": ""})
    [finding] = found(service.service, tmp_path, gateway)
    assert (finding.state, told in finding.seen) == (state, True), finding


def test_without_systemd_nobody_asks_for_a_unit(tmp_path: Path) -> None:
    [finding] = found(service.service, tmp_path, Machine(tmp_path / "m"))
    assert finding.state == "skipped"
