"""What every check is handed: the configuration as far as it can be used, the machine, the running agent."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from edge_agent.config import Config, load_config
from edge_agent.config.collectors import CollectorSettings, collector_settings, settings_of
from edge_agent.config.sections import ConfigFile, GatewaySection
from edge_agent.identity.folder import MAIN, Identity, collector_names, load_identity
from edge_agent.kernel_clock import is_synchronised
from edge_agent.observed import ask_page, ask_status, is_running
from edge_agent.status import Status
from models.document import DocumentMistakes, Problem, parse_document
from models.errors import GatehouseError

T = TypeVar("T")

PAGE_LIMIT_S = 3.0  # in real time; the pages are on this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where the machine tells of itself; another place in tests."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    run: Path = Path("/run")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    is_synchronised: Callable[[], bool] = is_synchronised

    def text(self, path: Path) -> str | None:
        """What a file of the kernel says; None where there is none, or it may not be read."""
        try:
            return path.read_text("utf-8", "replace").strip()
        except OSError:
            return None


class Once(Generic[T]):
    """A question that several checks have, asked once."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask, self._lock = ask, threading.Lock()
        self._answer: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._answer:
                self._answer.append(self._ask())
            return self._answer[0]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An identity by the name of its collector, or why it cannot be used."""

    name: str
    identity: Identity | None
    error: GatehouseError | None = None


class Scene:
    """The gateway whose configuration is `file`. Nothing here fails, whatever state it is in."""

    def __init__(self, file: Path, host: Host | None = None) -> None:
        self.file, self.host = file, host or Host()
        self.mistakes: list[Problem] = []
        self.config: Config | None = None
        self.settings: ConfigFile | None = None  # also where only devices and profiles have mistakes
        gateway = GatewaySection()
        try:
            self.config = load_config(file)
            self.settings = self.config.settings
        except DocumentMistakes as err:
            self.mistakes = err.problems
            self.settings = _settings(file)
        if self.settings is not None:
            gateway = self.settings.gateway
        self.state_dir = file.parent / gateway.state_dir
        self.buffer_file = self.state_dir / "buffer.db"
        self.status = Once(self._ask_status)
        self.metrics = Once(self._ask_metrics)
        self.enrolled = Once(self._enrolled)

    @property
    def agent_uid(self) -> int:
        """The user that the agent runs as: whose the state folder is; before there is one, who asks."""
        try:
            return self.state_dir.stat().st_uid
        except OSError:
            return os.geteuid()

    def settings_of(self, name: str) -> CollectorSettings | None:
        """How the collector of that name is reached; None when the configuration cannot be used."""
        return None if self.settings is None else settings_of(name, self.settings, self.file.parent)

    def is_running(self) -> bool | None:
        """Whether an agent has the buffer open; None for a user who may not know."""
        try:
            return is_running(self.buffer_file)
        except GatehouseError:
            return None

    def _ask_status(self) -> Status | None:
        if self.settings is None or self.settings.health.port == 0:
            return None
        health = self.settings.health
        return ask_status(health.host, health.port, self.state_dir, timeout_s=PAGE_LIMIT_S)

    def _ask_metrics(self) -> str | None:
        if self.status() is None or self.settings is None:
            return None
        health = self.settings.health
        page = ask_page(health.host, health.port, "/metrics", timeout_s=PAGE_LIMIT_S)
        return None if page is None else page.decode("utf-8", "replace")

    def _enrolled(self) -> list[Enrolled]:
        """Each collector that the gateway is, or should be, enrolled at."""
        configured = (
            [one.name for one in collector_settings(self.settings, self.file.parent)] if self.settings else []
        )
        names = dict.fromkeys([*configured, *collector_names(self.state_dir)]) or [MAIN]
        return [self._enrolled_at(name) for name in names]

    def _enrolled_at(self, name: str) -> Enrolled:
        try:
            return Enrolled(name, load_identity(self.state_dir, name))
        except GatehouseError as err:
            return Enrolled(name, None, err)


def _settings(file: Path) -> ConfigFile | None:
    try:
        return parse_document(file.read_bytes(), file=str(file)).validate(ConfigFile)
    except (OSError, DocumentMistakes):
        return None
