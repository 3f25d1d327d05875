"""Soak itself, for seven seconds of faults."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.lab.trace import read_trace

ROOT = Path(__file__).parents[2]
SECONDS = 7


@pytest.mark.soak
def test_a_short_soak_ends_with_books_that_balance(tmp_path: Path, lab_seed: int) -> None:
    """With kills of both, a cut and a full disk in it, whatever the seed brings beside them."""
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "\n".join(
            json.dumps(line)
            for line in (
                {"trace": 1, "seed": lab_seed, "duration_ms": SECONDS * 1000, "mix": "soak"},
                {"at_ms": 500, "kind": "requests.lost_receipt", "lasts_ms": 6000, "with": {"share": 0.4}},
                {"at_ms": 600, "kind": "requests.twice", "lasts_ms": 6000, "with": {"share": 0.4}},
                {"at_ms": 800, "kind": "disk.full", "lasts_ms": 2200},
                {"at_ms": 1000, "kind": "clock.step", "with": {"by_s": 3600}},
                {"at_ms": 3200, "kind": "collector.kill", "with": {"away_s": 0.3}},
                {"at_ms": 4500, "kind": "network.cut", "lasts_ms": 700},
                {"at_ms": 5800, "kind": "agent.kill", "with": {"away_s": 0.3}},
                {"at_ms": 6000, "kind": "network.mute", "lasts_ms": 700},
            )
        )
    )
    assert len(read_trace(trace).faults) == 8
    ended = subprocess.run(
        [sys.executable, "-m", "soak", "--trace", trace, "--folder", tmp_path / "soak", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    outcome = json.loads(ended.stdout)
    assert outcome["good"]
    assert outcome["produced"] == outcome["stored"] > 300
    assert (outcome["missing"], outcome["doubled"], outcome["wrong_value"]) == (0, 0, 0)
    assert outcome["conservation"]["looks"] > 0
    assert outcome["conservation"]["most_held"] > 0, "the disk was never full"
    assert outcome["faults"]["agent.kill"] == outcome["faults"]["collector.kill"] == 1
