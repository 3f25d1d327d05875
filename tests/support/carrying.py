"""A closed site: a gateway and a collector without a network between them, in folders, by their commands."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.commands.admission import enroll_file
from collector.commands.stick import import_files
from collector.identity.home import Home
from collector.identity.tokens import issue_enrollment_secret
from collector.store.engine import Store
from edge_agent.app import Machine
from edge_agent.at_rest_key import at_rest_of
from edge_agent.buffer.contract import Counts
from edge_agent.buffer.sqlite import SqliteBuffer
from edge_agent.commands.setup import enroll
from edge_agent.commands.stick import export, receipts
from edge_agent.config import load_config
from models.protocol import EnrollmentToken
from models.reading import Item, Reading
from tests.support.clocks import START_MS, VirtualClock
from tests.support.running import real_now_ms

AGENT = (sys.executable, "-c", "from edge_agent.cli import app; app()")
KNOWS_THE_TIME = Machine()
COLLECTOR = (sys.executable, "-m", "collector.cli")


@dataclass
class Site:
    """A gateway with `carrier: stick`; its agent does not run unless a test runs it."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "gateway.yaml"

    async def append(self, items: list[Item]) -> None:
        async with await self.buffer() as buffer:
            await buffer.append(items)

    async def buffer(self, **more: Any) -> SqliteBuffer:
        config = load_config(self.config)
        buffer = await SqliteBuffer.open(
            config.buffer_file, clock=VirtualClock().clock, at_rest=at_rest_of(config), window_s=0, **more
        )
        await buffer.outbox("main")
        return buffer

    def damage(self, sql: str) -> None:
        """Change the file of the buffer behind its back."""
        connection = sqlite3.connect(load_config(self.config).buffer_file)
        try:
            with connection:
                connection.execute(sql)
        finally:
            connection.close()

    async def counts(self) -> Counts:
        async with await self.buffer() as buffer:
            return await (await buffer.outbox("main")).counts()

    async def export(self, target: Path) -> dict[str, Any]:
        return dict((await asyncio.to_thread(export, self.config, target, "main", KNOWS_THE_TIME)).data)

    async def receive(self, *files: Path) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(receipts, self.config, files, None, KNOWS_THE_TIME)
        return list(answer.data["files"])


@dataclass
class Office:
    """A collector that may not serve at all."""

    home: Home

    async def take(self, *files: Path, receipts: Path | None = None) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(import_files, self.home.folder, files, receipts)
        return list(answer.data["files"])

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.home.database)
        try:
            return [row[0] if len(row) == 1 else row for row in connection.execute(query)]
        finally:
            connection.close()

    def values(self) -> list[float]:
        """Of all readings; each is told from all others by its value."""
        return self.rows("SELECT value FROM reading ORDER BY value")

    async def token(self, name: str = "gateway") -> str:
        async with await Store.open(self.home.database) as store:
            secret = await issue_enrollment_secret(
                store, site_code="a1", gateway_name=name, hours=1, now_ms=real_now_ms()
            )
        ca = self.home.authority().certificate_der()
        return EnrollmentToken(url="https://localhost:1", ca_certificate_der=ca, secret=secret).encode()

    async def enrol(self, folder: Path, *, name: str = "gateway", **sections: Any) -> Site:
        """A gateway whose request and answer are carried."""
        site = Site(folder)
        folder.mkdir()  # noqa: ASYNC240  # of the test
        sections = {"collectors": {"main": {"carrier": "stick", "max_items": 10}}, **sections}
        site.config.write_text(json.dumps({"health": {"port": 0}, **sections}))
        token, request = await self.token(name), folder / "request"

        def carry() -> None:
            enroll(site.config, token, name="main", again=False, request=request)
            enroll_file(self.home.folder, request, None)
            enroll(site.config, token, name="main", again=False, answer=folder / "request.answer")

        await asyncio.to_thread(carry)
        return site


def readings(count: int, *, first: int = 0, device: str = "meter-01") -> list[Item]:
    """Told apart by their values and times."""
    return [
        Reading(
            device_id=device,
            point="energy_kwh",
            value=float(number),
            measured_ms=START_MS + number * 1000 - 500_000_000,
            received_ms=START_MS + number * 1000 - 500_000_000 + 5,
        )
        for number in range(first, first + count)
    ]


def told(*command: str, cwd: Path) -> dict[str, Any]:
    """What a command of ours answers in JSON, good or bad."""
    done = subprocess.run([*command, "--json"], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
