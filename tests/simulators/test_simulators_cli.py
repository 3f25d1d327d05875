"""The command `simulators`, as a process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from simulators.ledger import produced
from tests.support.wire import read_frame

LIMIT_S = 30
COMMAND = [sys.executable, "-c", "from simulators.cli import app; app(prog_name='simulators')"]
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONWARNINGS": "error"}


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=LIMIT_S, env=ENVIRONMENT, check=False
    )


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)


def ask(port: int, frame: bytes, count: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as line:
        line.sendall(frame)
        came = b""
        while len(came) < count and (more := line.recv(count - len(came))):
            came += more
    return came


def first_line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def port_of(served: Any) -> int:
    """Of the first rack."""
    port: int = served["buses"][0]["modbus_tcp"]["port"]
    return port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_meters_are_served_until_a_signal_and_the_end_is_clean(number: int, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    arguments = ("--profile", "eastron-sdm630", "--port", "0", "--unit", "3", "--unit", "7", "--seed", "5")
    with started("modbus", *arguments, "--ledger", str(ledger), "--json") as process:
        served = first_line(process)
        assert [device["unit"] for device in served["devices"]] == [3, 7]
        reply = ask(port_of(served), read_frame(7, 0, 2), 13)
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert errors == "stopped\n"
    [entry] = produced(ledger)
    assert reply[6:9] == bytes([7, 4, 4])
    assert (entry.meter_id, entry.point) == ("meter-07", "voltage_l1_v")
    assert 200 < entry.value < 250


def test_what_is_served_comes_with_the_configuration_that_reads_it() -> None:
    with started("modbus", "--profile", "chint-dtsu666", "--port", "0", "--parameter", "ct=20") as process:
        assert process.stdout is not None
        text = "".join(line for line in iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    assert re.search(r"- \{id: rack-1, modbus_tcp: \{host: 127\.0\.0\.1, port: \d+\}\}", text)
    assert "profile: chint-dtsu666, period_s: 10, parameters: {ct: 20.0, pt: 1.0}}" in text


OWN = """
profile: mine
version: "1"
title: A meter that nobody else has
family: modbus
verified: false
source: this test
modbus: {max_registers: 9}
points:
  - {name: energy_kwh, unit: kWh, kind: counter, table: holding, address: 0x2100, type: uint64,
     byte_order: little, word_order: low_first, scale: 0.001}
  - {name: humidity_pct, unit: "%", kind: gauge, table: holding, address: 0x2109, type: int16,
     scale: 0.1, offset: -40}
"""


def test_a_meter_of_somebodys_own_profile_is_served_and_so_is_one_that_extends_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    (tmp_path / "newer.yaml").write_text(
        'profile: newer\nversion: "1"\ntitle: With fewer points\nextends: mine\nwithout: [humidity_pct]\n'
    )
    (tmp_path / "both.yaml").write_text(
        "scenario: both\nracks:\n  - port: 0\n    meters:\n"
        f"      - {{id: a, unit: 1, profile: {tmp_path}/mine.yaml}}\n"
        f"      - {{id: b, unit: 2, profile: {tmp_path}/newer.yaml}}\n"
    )
    with started("run", str(tmp_path / "both.yaml"), "--json") as process:
        served = first_line(process)
        energy = [ask(port_of(served), read_frame(unit, 0x2100, 4, function=3), 17)[9:] for unit in (1, 2)]
        humidity = [ask(port_of(served), read_frame(unit, 0x2109, 1, function=3), 9)[7:9] for unit in (1, 2)]
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    assert [device["profile"] for device in served["devices"]] == ["mine", "newer"]
    assert all(0 < int.from_bytes(counter, "little") < 10**12 for counter in energy)
    assert humidity == [bytes((3, 2)), bytes((0x83, 2))]  # two bytes, and no such register


def test_faults_of_the_command_line_reach_the_wire() -> None:
    with started(
        "modbus", "--profile", "eastron-sdm630", "--port", "0", "--fault", "exception=1:4", "--json"
    ) as process:
        port = port_of(first_line(process))
        assert ask(port, read_frame(1, 0, 2), 9) == bytes.fromhex("0001 0000 0003 01 84 04")
        process.terminate()
        process.communicate(timeout=LIMIT_S)


def test_a_scenario_that_ships_runs() -> None:
    with started("run", "office", "--free-ports", "--speed", "60", "--json") as process:
        served = first_line(process)
        assert served["speed"] == 60
        assert (len(served["buses"]), len(served["devices"])) == (4, 20)
        process.terminate()
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


def test_the_scenarios_are_listed() -> None:
    result = call("scenarios", "--json")
    [office] = [entry for entry in json.loads(result.stdout) if entry["name"] == "office"]
    assert (office["meters"], office["points"], office["endpoints"]) == (20, 600, 4)
    assert "office: Office building" in call("scenarios").stdout


def test_a_port_that_is_taken_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call("modbus", "--profile", "eastron-sdm630", "--port", port)
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(
            ("modbus", "--profile", "eastron-630"), 1, "did you mean 'eastron-sdm630'", id="profile"
        ),
        pytest.param(("modbus", "--profile", "no.yaml"), 1, "no.yaml' (the file cannot be read", id="own"),
        pytest.param(("run", "offise"), 1, "did you mean 'office'", id="scenario"),
        pytest.param(("run", "nowhere.yaml"), 1, "nowhere.yaml", id="file"),
        pytest.param(
            ("modbus", "--profile", "eastron-sdm630", "--fault", "lots=1"),
            2,
            "did you mean 'lost'",
            id="fault",
        ),
        pytest.param(
            ("modbus", "--profile", "eastron-sdm630", "--parameter", "ct=2"), 2, "no parameter 'ct'", id="ct"
        ),
        pytest.param(
            ("modbus", "--profile", "eastron-sdm630", "--parameter", "ct"), 2, "NAME=NUMBER", id="no number"
        ),
    ],
)
def test_a_mistake_says_what_is_right(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = call(*arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("scenario: mine\nracks:\n  - meters:\n      - {id: a, unit: 1, profile: nothing}\n")
    result = call("run", str(file), "--json")
    assert result.returncode == 1
    assert (
        "mine.yaml:4: racks[0].meters[a].profile: there is no profile 'nothing'"
        in json.loads(result.stdout)["error"]
    )
