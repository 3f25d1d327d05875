"""`collector gateways requests`, `approve`, `reject`, `history`: who comes back, and who let them."""

import asyncio
import time
from pathlib import Path

from sqlalchemy import select

from collector.commands.answer import Answer, table
from collector.identity.gateways import NoSuchGateway, at_the_command_line
from collector.identity.home import Home
from collector.identity.next_key import APPROVED, REJECTED, decide, open_requests
from collector.store.engine import Store
from collector.store.schema import gateway, gateway_change
from models.times import utc_text


def list_requests(folder: Path) -> Answer:
    async def read() -> Answer:
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            rows = await open_requests(connection, _now_ms())
        listed = [
            {
                "code": row.code,
                "gateway_id": row.gateway_id,
                "site": row.site,
                "name": row.name,
                "state": row.state,
                "asked": utc_text(row.asked_ms),
                "last_asked": utc_text(row.last_asked_ms),
                "last_seen": None if row.last_seen_ms is None else utc_text(row.last_seen_ms),
            }
            for row in rows
        ]
        shown = [
            (
                row["code"],
                row["state"],
                row["gateway_id"],
                row["site"],
                row["last_seen"] or "never",
                row["asked"],
                row["name"],
            )
            for row in listed
        ]
        titles = ("CODE", "STATE", "GATEWAY", "SITE", "LAST SEEN", "ASKS SINCE", "NAME")
        text = table(titles, shown, empty="No gateway asks to be taken back.")
        if listed:
            text += (
                "\nCompare the code with what `edge-agent status` shows on the gateway, then: "
                "collector gateways approve CODE"
            )
        return Answer(listed, text)

    return asyncio.run(read())


def approve(folder: Path, code: str) -> Answer:
    return _decided(folder, code, APPROVED, "comes back by itself within two minutes")


def reject(folder: Path, code: str) -> Answer:
    return _decided(folder, code, REJECTED, "is not taken back")


def history(folder: Path, gateway_id: str) -> Answer:
    async def read() -> Answer:
        columns = gateway_change.c
        query = select(gateway_change).where(columns.gateway_id == gateway_id).order_by(columns.id)
        known = select(gateway.c.id).where(gateway.c.id == gateway_id)
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            rows = (await connection.execute(query)).all()
            if (await connection.execute(known)).one_or_none() is None:
                raise NoSuchGateway(f"there is no gateway {gateway_id!r}; see `collector gateways`")
        listed = [
            {"at": utc_text(row.at_ms), "change": row.change, "by": row.by, "detail": row.detail}
            for row in rows
        ]
        shown = [(row["at"], row["change"], row["by"], row["detail"]) for row in listed]
        return Answer(listed, table(("AT", "CHANGE", "BY", "KEY"), shown, empty="Nothing is on record."))

    return asyncio.run(read())


def _decided(folder: Path, code: str, state: str, what: str) -> Answer:
    async def now() -> Answer:
        async with await Store.open(Home(folder).database) as store:
            gateway_id = await decide(store, code, state=state, by=at_the_command_line(), now_ms=_now_ms())
        return Answer({"gateway_id": gateway_id, "state": state}, f"{gateway_id} {what}.")

    return asyncio.run(now())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
