"""Starts the version that is in use, watches one that is tried, and goes back when that is not well.

It is of the installed version and is not updated itself: what decides about a release is no part of it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge_agent.observed import ask_status
from edge_agent.service_manager import LAUNCHED, WATCHDOG_PID, ServiceManager
from edge_agent.update.archive import check_files
from edge_agent.update.health import what_is_missing
from edge_agent.update.releases import INSTALLED, MOST_ATTEMPTS, Releases, State
from models.errors import NeedsAHuman
from models.release import LIBRARY

HEALTHY_WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 8.0  # the agent takes 5 s at most
LOOK_EVERY_S: Final = 0.5
ASK_LIMIT_S: Final = 2.0


class Launcher:
    """`run` until a signal. All waiting is in real time."""

    def __init__(
        self,
        releases: Releases,
        words: Sequence[str],
        *,
        health: tuple[str, int, Path],
        healthy_within_s: float = HEALTHY_WITHIN_S,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`words` is what is said to `python -m edge_agent`; `health`: its pages, its state folder."""
        self._releases, self._words = releases, list(words)
        self._health, self._healthy_within_s = health, healthy_within_s
        self._tell = tell
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """The exit code: that of the agent, for systemd to start both again after a crash."""
        manager = ServiceManager.of(os.environ)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop(manager))
        signal.signal(signal.SIGHUP, lambda *_: self._pass_on(signal.SIGHUP))
        with self._releases.only_launcher():
            while True:
                code = self._run_one()
                if self._stopping:
                    return 0
                if code is not None:
                    return code

    def _run_one(self) -> int | None:
        """Run what is wanted, until something else is, or it ends. The code that it ended with by itself."""
        state = self._begin()
        version = state.wanted
        self._child = child = self._start(version)
        deadline_s = time.monotonic() + self._healthy_within_s
        missing = ""
        try:
            while not self._stopping:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = child.wait(LOOK_EVERY_S)
                    return self._ended(state, version, code)
                now = self._releases.state()
                if now.wanted != version:
                    self._tell(f"changing from {self._name(version)} to {self._name(now.wanted)}")
                    return None
                if now.trial is None:
                    continue
                missing = what_is_missing(
                    ask_status(*self._health, timeout_s=ASK_LIMIT_S), now.trial, version=version
                )
                if not missing:
                    self._take(now)
                elif time.monotonic() > deadline_s:
                    self._go_back(now, f"not well within {self._healthy_within_s:g} s: {missing}")
                    return None
            return None
        finally:
            self._end(child)

    def _begin(self) -> State:
        """What is to run; a trial that has begun too often, or is not as it was signed, is over before it."""
        state = self._releases.state()
        if state.trial is not None:
            if state.trial.attempts >= MOST_ATTEMPTS:
                return self._go_back(state, f"began {state.trial.attempts} times and never came to an end")
            state = state.begun()
            self._releases.save(state)
        if state.wanted == INSTALLED:
            return state
        try:
            check_files(self._releases.place(state.wanted), self._releases.public_key())
        except NeedsAHuman as err:
            if state.trial is not None:
                return self._go_back(state, str(err))
            self._tell(f"{err}; the version before it is used")
            back = state.previous if state.previous is not None and state.previous != state.current else ""
            fallen = State(
                current=back, highest=state.highest, failed={**state.failed, state.current: str(err)},
                history=state.history,
            ).noted("failed", state.current, str(err))  # fmt: skip
            self._releases.save(fallen)
            return self._begin()
        return state

    def _start(self, version: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, LAUNCHED: "1"}
        environment.pop(WATCHDOG_PID, None)  # the watchdog hears from the loop that polls
        if version != INSTALLED:
            environment["PYTHONPATH"] = str(self._releases.place(version).resolve() / LIBRARY)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a release stays as it was signed
        self._tell(f"starting {self._name(version)}")
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "edge_agent", *self._words], env=environment
        )

    def _ended(self, state: State, version: str, code: int) -> int | None:
        now = self._releases.state()
        if self._stopping:
            return 0
        if now.trial is not None and now.trial.version == version:
            self._go_back(now, f"it ended by itself (exit code {code})")
            return None
        return code if code else 1  # the agent ends only when it is told to

    def _take(self, state: State) -> None:
        taken = state.taken()
        self._releases.save(taken)
        self._releases.prune(taken)
        self._tell(f"{self._name(taken.current)} is well and is used from now on")

    def _go_back(self, state: State, why: str) -> State:
        back = state.gone_back(why)
        self._releases.save(back)
        self._tell(f"{self._name(state.wanted)}: {why}; going back to {self._name(back.current)}")
        return back

    def _name(self, version: str) -> str:
        return version or f"{self._releases.version_of(INSTALLED)} (installed)"

    def _stop(self, manager: ServiceManager) -> None:
        if not self._stopping:
            self._stopping = True
            manager.stopping("ending the agent")
            self._pass_on(signal.SIGTERM)

    def _pass_on(self, number: int) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def launch(
    config: Path, words: Sequence[str], *, healthy_within_s: float, tell: Callable[[str], None]
) -> int:
    """For the gateway of this configuration."""
    from edge_agent.config import load_config
    from edge_agent.config.journal import recover

    recover(
        config
    )  # as each start of the agent does: a push that was cut off may have left half of its files
    loaded = load_config(config)
    health = loaded.settings.health
    releases = Releases(config, loaded.state_dir)
    launcher = Launcher(
        releases,
        words,
        health=(health.host, health.port, loaded.state_dir),
        healthy_within_s=healthy_within_s,
        tell=tell,
    )
    return launcher.run()
