"""`collector command` and `collector commands`: telling a device to do something, and what came of it."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, or_, select

from collector.commands.answer import Answer, table
from collector.control import record
from collector.control.desk import CommandDesk, CommandMistake, Wish, fresh_id
from collector.identity.gateways import at_the_command_line
from collector.identity.home import Home
from collector.store.engine import Store
from collector.store.schema import command, device, site
from models.actions import ArgumentsWrong
from models.errors import NeedsAHuman
from models.times import Clock, utc_text

LIST_MAX: Final = 50
_LOOK_EVERY_S: Final = 0.25
_GRACE_S: Final = 15.0  # after its time is over a gateway may still be telling of it

REAL = Clock(now_ms=lambda: time.time_ns() // 1_000_000, monotonic_s=time.monotonic, sleep=asyncio.sleep)


class CannotTell(NeedsAHuman):
    """The command cannot be given, and nothing was kept; or there is nothing that could be listed."""


def give(
    folder: Path,
    site_code: str,
    device_name: str,
    action: str,
    words: Sequence[str],
    *,
    key: str | None,
    expires_in_s: float,
    wait: bool,
) -> Answer:
    """Bad news when it was waited for and is not done."""

    async def run() -> Answer:
        home, arguments = Home(folder), _arguments(words)
        desk_key = home.commanding_key()
        async with await Store.open(home.database) as store:
            site_id, number = await _addressee(store, site_code, device_name)
            wish = Wish(
                id=key or fresh_id(),
                site_id=site_id,
                device=number,
                action=action,
                arguments=arguments,
                life_ms=round(expires_in_s * 1000),
                by=at_the_command_line(),
            )
            try:
                await CommandDesk(store, REAL, desk_key).give(wish)
            except (ArgumentsWrong, CommandMistake) as err:
                raise CannotTell(f"{device_name}: {err}") from None
            row = await _row(store, site_id, wish.id)
            ends_s = time.monotonic() + expires_in_s + _GRACE_S
            while wait and row.state not in record.FINAL and time.monotonic() < ends_s:
                await asyncio.sleep(_LOOK_EVERY_S)
                row = await _row(store, site_id, wish.id)
        return _answer(row, site_code, waited=wait)

    return asyncio.run(run())


def list_commands(folder: Path, site_code: str | None, state: str | None) -> Answer:
    async def read() -> Answer:
        if state is not None and state not in record.STATES:
            raise CannotTell(f"there is no state {state!r}; there are {', '.join(record.STATES)}")
        query = (
            select(command, site.c.code)
            .join_from(command, site, site.c.id == command.c.site_id)
            .order_by(command.c.issued_ms.desc(), command.c.site_id, command.c.number.desc())
            .limit(LIST_MAX)
        )
        if site_code is not None:
            query = query.where(site.c.code == site_code)
        if state is not None:
            query = query.where(command.c.state == state)
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            codes = (await connection.execute(select(site.c.code))).scalars().all()
            if site_code is not None and site_code not in codes:
                raise CannotTell(f"there is no site {site_code!r}; see `collector site list`")
            rows = (await connection.execute(query)).all()
        shown = [
            (row.code, row.id, utc_text(row.issued_ms), row.issued_by, row.device_id, row.action, row.state)
            for row in rows
        ]
        titles = ("SITE", "ID", "GIVEN", "BY", "DEVICE", "ACTION", "STATE")
        return Answer(
            [_facts(row, row.code) for row in rows], table(titles, shown, empty="No command so far.")
        )

    return asyncio.run(read())


async def _addressee(store: Store, site_code: str, name: str) -> tuple[int, int]:
    """Site and number of a device, which may be named by its number or by its id."""
    named = [device.c.device_id == name]
    if name.isascii() and name.isdecimal() and len(name) < 10:
        named.append(device.c.id == int(name))
    query: Select[Any] = (
        select(device.c.site_id, device.c.id, device.c.gateway_id)
        .join_from(device, site, site.c.id == device.c.site_id)
        .where(site.c.code == site_code, or_(*named))
    )
    async with store.read() as connection:
        rows = (await connection.execute(query)).all()
    if not rows:
        raise CannotTell(f"site {site_code!r} has no device {name!r}; the page /devices lists them")
    if len(rows) > 1:
        known = ", ".join(f"{row.id} (at {row.gateway_id})" for row in rows)
        raise CannotTell(f"{name!r} could be several devices of {site_code}; give the number: {known}")
    return rows[0].site_id, rows[0].id


async def _row(store: Store, site_id: int, command_id: str) -> Any:
    query = select(command).where(command.c.site_id == site_id, command.c.id == command_id)
    async with store.read() as connection:
        return (await connection.execute(query)).one()


def _answer(row: Any, site_code: str, *, waited: bool) -> Answer:
    detail = row.outcome.get("detail", "")
    result = "".join(f"\n  {name}: {value}" for name, value in row.outcome.get("result", {}).items())
    said = f"{row.device_id}: {row.action} is {row.state}" + (f": {detail}" if detail else "") + result
    if row.state not in record.FINAL:
        said += f"\nWhat came of it: collector commands --site {site_code}"
    return Answer(_facts(row, site_code), said, is_good=not waited or row.state == "done")


def _facts(row: Any, site_code: str) -> dict[str, Any]:
    return {
        "site": site_code,
        "id": row.id,
        "device_id": row.device_id,
        "action": row.action,
        "arguments": row.arguments,
        "origin": row.origin,
        "issued_by": row.issued_by,
        "issued_at": utc_text(row.issued_ms),
        "expires_at": utc_text(row.expires_ms),
        "state": row.state,
        **{name: row.outcome[name] for name in ("result", "code", "detail") if name in row.outcome},
    }


def _arguments(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` as JSON where it is JSON, else as text."""
    found: dict[str, Any] = {}
    for word in words:
        name, is_pair, value = word.partition("=")
        if not is_pair or not name:
            raise CannotTell(f"{word!r} is no argument; write key=value, such as door=1")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):  # also of numbers and lists that no action takes
            found[name] = value
    return found
