"""Gateways for the tests of `doctor`: a configuration in a folder, on a machine that is a folder too."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.doctor.finding import Finding
from edge_agent.doctor.scene import Host, Scene
from edge_agent.identity.enroll import enroll
from tests.support.https import Collector

NOW_MS = 1_795_000_000_000  # 2026-11-18


@dataclass
class Machine:
    """What /sys, /proc and /run are, as far as a test says."""

    folder: Path
    path: str = ""
    now_ms: Callable[[], int] = lambda: NOW_MS
    synchronised: bool = True

    def has(self, files: Mapping[str, str]) -> "Machine":
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return self

    def has_program(self, name: str, says: str) -> "Machine":
        """A program that says this, whatever it is asked."""
        programs = self.folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        (programs / "said").write_text(says)
        (programs / name).write_text(f"#!/bin/sh\nexec /bin/cat '{programs / 'said'}'\n")
        (programs / name).chmod(0o755)
        self.path = str(programs)
        return self

    def host(self, **environment: str) -> Host:
        return Host(
            sys=self.folder / "sys",
            proc=self.folder / "proc",
            run=self.folder / "run",
            environment={"PATH": self.path, **environment},
            now_ms=self.now_ms,
            is_synchronised=lambda: self.synchronised,
        )


def configured(folder: Path, **sections: Any) -> Path:
    """A gateway.yaml; nothing answers on its health port unless a test says otherwise."""
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({"health": {"port": 1}, **sections}))
    path.chmod(0o644)
    return path


def scene(folder: Path, machine: Machine | None = None, **sections: Any) -> Scene:
    machine = machine or Machine(folder / "machine")
    return Scene(configured(folder, **sections), machine.host())


def enrolled(folder: Path, collector: Collector) -> None:
    """Make the gateway of this folder the collector's. Blocks."""
    enroll(collector.token, state_dir=folder / "state")


def states(findings: Iterable[Finding]) -> dict[str, str]:
    """The state of each, by check."""
    return {finding.check: finding.state for finding in findings}
