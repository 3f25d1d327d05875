"""A collector full of data, written by SQL, and its web application on a real port."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Table, insert
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.api.live import LiveHub
from collector.app import create_app
from collector.control.desk import CommandDesk
from collector.identity.tokens import issue_api_token
from collector.store import schema
from collector.store.engine import Store
from models.command import CommandKey
from models.times import HOUR_MS, Clock, hour_of

TOKENS_MADE_MS = 1_700_000_000_000
REAL_NOW_MS = TOKENS_MADE_MS + 1000

EPOCH = bytes(range(16))


@dataclass
class World:
    """Writes rows, numbering what the tables number for each site."""

    store: Store
    now_ms: int
    numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    _open: AsyncConnection | None = None

    @contextlib.asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """All that is written meanwhile is one transaction."""
        async with self.store.write() as connection:
            self._open = connection
            try:
                yield
            finally:
                self._open = None

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        if self._open is not None:
            yield self._open
        else:
            async with self.store.write() as connection:
                yield connection

    async def add(self, table: Table, **values: Any) -> None:
        async with self._writing() as connection:
            await connection.execute(insert(table).values(**values))

    async def add_all(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            async with self._writing() as connection:
                await connection.execute(insert(table), [dict(row) for row in rows])

    def number(self, table: str, site_id: int) -> int:
        self.numbers[table, site_id] = self.numbers.get((table, site_id), 0) + 1
        return self.numbers[table, site_id]

    async def site(self, code: str, name: str, timezone: str = "Asia/Shanghai") -> int:
        site_id = self.number("site", 0)
        await self.add(schema.site, id=site_id, code=code, name=name, timezone=timezone)
        return site_id

    async def gateway(
        self,
        site_id: int,
        gateway_id: str,
        name: str,
        *,
        last_seen_ms: int | None,
        state: str = "active",
        clock_skew_ms: int | None = None,
    ) -> int:
        """The gateway and its epoch, whose number is returned."""
        await self.add(
            schema.gateway,
            id=gateway_id,
            site_id=site_id,
            name=name,
            state=state,
            seal_key=bytes(range(32)),
            enrolled_ms=self.now_ms - 40 * 24 * HOUR_MS,
            last_seen_ms=last_seen_ms,
            clock_skew_ms=clock_skew_ms,
        )
        epoch_id = self.number("epoch", site_id)
        await self.add(schema.epoch, site_id=site_id, id=epoch_id, gateway_id=gateway_id, epoch=EPOCH)
        return epoch_id

    async def device(
        self, site_id: int, gateway_id: str, device_id: str, name: str, *, period_s: float = 60
    ) -> int:
        number = self.number("device", site_id)
        await self.add(
            schema.device,
            site_id=site_id,
            id=number,
            gateway_id=gateway_id,
            device_id=device_id,
            name=name,
            profile="eastron-sdm630",
            profile_version="1",
            period_s=period_s,
        )
        return number

    async def point(self, site_id: int, device: int, name: str, unit: str, **more: Any) -> int:
        number = self.number("point", site_id)
        await self.add(schema.point, site_id=site_id, id=number, device=device, name=name, unit=unit, **more)
        return number

    async def readings(
        self, site_id: int, point_id: int, values: Iterable[tuple[int, float | None]], *, epoch_id: int = 1
    ) -> None:
        """Each with its own sequence number; None is a BAD reading without reply."""
        rows = [
            {
                "site_id": site_id,
                "point_id": point_id,
                "measured_ms": measured_ms,
                "received_ms": measured_ms + 45,
                "value": value,
                "quality": 2 if value is None else 0,
                "reason": 1 if value is None else 0,
                "epoch_id": epoch_id,
                "seq": self.number("seq", site_id),
            }
            for measured_ms, value in values
        ]
        await self.add_all(schema.reading, rows)

    async def envelope(self, site_id: int, epoch_id: int, number: int, first_seq: int, last_seq: int) -> None:
        await self.add(
            schema.envelope,
            site_id=site_id,
            epoch_id=epoch_id,
            number=number,
            first_seq=first_seq,
            last_seq=last_seq,
            digest=bytes(32),
            previous=bytes(32),
            body=b"",
            received_ms=self.now_ms,
        )

    async def latest(
        self,
        site_id: int,
        point_id: int,
        value: float | None,
        *,
        measured_ms: int | None = None,
        quality: int = 0,
        reason: int = 0,
        stored_ms: int | None = None,
    ) -> None:
        """What the point shows now, in place of what it showed before."""
        at_ms = self.now_ms - 3000 if measured_ms is None else measured_ms
        row = {
            "measured_ms": at_ms,
            "received_ms": at_ms + 45,
            "value": value,
            "quality": quality,
            "reason": reason,
            "stored_ms": self.now_ms if stored_ms is None else stored_ms,
        }
        statement = upsert(schema.latest).values(site_id=site_id, point_id=point_id, **row)
        async with self._writing() as connection:
            await connection.execute(statement.on_conflict_do_update(set_=row))

    async def hours(
        self,
        site_id: int,
        point_id: int,
        first_ms: int,
        bars: Iterable[tuple[float | None, float, str] | None],
    ) -> None:
        """Hour after hour as (value, coverage, state); None is an hour that was not computed."""
        rows = [
            {
                "site_id": site_id,
                "point_id": point_id,
                "hour_ms": hour_of(first_ms) + index * HOUR_MS,
                "value": bar[0],
                "coverage": bar[1],
                "state": bar[2],
                "computed_ms": self.now_ms,
            }
            for index, bar in enumerate(bars)
            if bar is not None
        ]
        await self.add_all(schema.consumption_hour, rows)

    async def alert(
        self,
        site_id: int,
        condition: str,
        data: Mapping[str, Any],
        *,
        state: str = "firing",
        severity: str = "warning",
        opened_ms: int | None = None,
        by: str = "collector",
        **more: Any,
    ) -> int:
        number = self.number("alert", site_id)
        at_ms = self.now_ms - 2 * HOUR_MS if opened_ms is None else opened_ms
        await self.add(
            schema.alert,
            site_id=site_id,
            id=number,
            condition=condition,
            detector=condition.partition(":")[0],
            state=state,
            severity=severity,
            data=dict(data),
            opened_ms=at_ms,
            **more,
        )
        await self.add(schema.alert_change, site_id=site_id, alert_id=number, state=state, by=by, at_ms=at_ms)
        return number

    async def token(self, name: str, *scopes: str, sites: Sequence[str] | None = None) -> str:
        return await issue_api_token(
            self.store, name=name, scopes=scopes, sites=sites, days=30, now_ms=TOKENS_MADE_MS
        )


def an_app(store: Store, clock: Clock, live: LiveHub, **more: Any) -> FastAPI:
    """The application, in the real time in which the tokens of `World.token` are good."""
    desk = CommandDesk(store, clock, CommandKey.from_bytes(bytes(32)))
    return create_app(store, clock, live=live, desk=desk, real_now_ms=lambda: REAL_NOW_MS, **more)


@contextlib.asynccontextmanager
async def client_of(
    app: FastAPI, token: str | None = None, *, headers: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to the application without a network, as a program with that token."""
    sent = dict(headers or {})
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://collector.test", headers=sent, **more
    ) as client:
        yield client


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are pytest's."""
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, live: LiveHub) -> AsyncIterator[str]:
    """The application on a free port; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=10))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(live.run(), name="live")
        serve = tasks.create_task(server.serve([listener]), name="server")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            live.close()
            server.should_exit = True
            await serve
