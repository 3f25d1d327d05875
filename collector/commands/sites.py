"""`collector site`: the buildings that gateways belong to."""

import asyncio
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from collector.commands.answer import Answer, table
from collector.identity.home import Home
from collector.identity.sites import is_site_code, is_time_zone
from collector.store.engine import Store
from collector.store.schema import site
from models.envelope import STANDARD, SUITES, Suite, suite_named
from models.errors import NeedsAHuman


class SiteMistake(NeedsAHuman):
    """Such a site cannot be."""


def add_site(folder: Path, code: str, name: str, *, timezone: str | None, suite: str) -> Answer:
    chosen = suite_by_name(suite)
    home = Home(folder)

    async def add() -> Answer:
        async with await Store.open(home.database) as store:
            home.ensure_envelope_key(chosen)
            await insert_site(store, code, name, timezone=timezone, suite=chosen)
        return Answer({"code": code, "name": name, "suite": suite}, f"Site {code} ({name}) is there.")

    return asyncio.run(add())


def suite_by_name(name: str) -> Suite:
    """Raise SiteMistake."""
    try:
        return suite_named(name)
    except KeyError:
        known = ", ".join(suite.name for suite in SUITES.values())
        raise SiteMistake(f"there is no suite {name!r}; have: {known}") from None


def list_sites(folder: Path) -> Answer:
    async def read() -> Answer:
        query = select(site.c.code, site.c.name, site.c.timezone, site.c.suite).order_by(site.c.code)
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            rows = (await connection.execute(query)).all()
        return Answer(
            [dict(row._mapping) for row in rows],
            table(
                ("CODE", "NAME", "TIMEZONE", "SUITE"),
                rows,
                empty="No site yet: `collector site add CODE NAME`.",
            ),
        )

    return asyncio.run(read())


async def insert_site(
    store: Store, code: str, name: str, *, timezone: str | None, suite: Suite = STANDARD
) -> None:
    """Raise SiteMistake."""
    if not is_site_code(code):
        raise SiteMistake(f"{code!r} cannot be a code: letters, digits, '.', '_' and '-', at most 64")
    if timezone is not None and not is_time_zone(timezone):
        raise SiteMistake(f"there is no time zone {timezone!r}; such as Asia/Shanghai")
    values = {"code": code, "name": name, "suite": suite.name} | (
        {} if timezone is None else {"timezone": timezone}
    )
    try:
        async with store.write() as connection:
            await connection.execute(insert(site).values(values))
    except IntegrityError:
        raise SiteMistake(f"there is a site {code!r} already; see `collector site list`") from None
