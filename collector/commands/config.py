"""`collector config`: giving gateways other configurations, what came of it, and what was active where."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.commands.answer import Answer, table
from collector.commands.control import REAL
from collector.control import pushes
from collector.control.configurations import WHATEVER, ConfigurationDesk, Push, PushMistake
from collector.control.desk import fresh_id
from collector.identity.gateways import NoSuchGateway, at_the_command_line
from collector.identity.home import Home
from collector.store.engine import Store
from collector.store.schema import active_configuration, configuration, gateway
from models.configuration import MAIN, difference, unpack_files
from models.errors import NeedsAHuman
from models.times import utc_text

LIST_MAX: Final = 50
_LOOK_EVERY_S: Final = 0.25
_SHORT: Final = 12  # characters of a digest that people compare
_GRACE_S: Final = 60.0  # for a gateway that fetches it late, and then tells of it


class CannotPush(NeedsAHuman):
    """It cannot be pushed, and nothing was kept."""


class NotTold(NeedsAHuman):
    """The gateway has told no such configuration."""


def push(
    folder: Path,
    gateway_id: str,
    file: Path,
    more: Sequence[Path],
    *,
    why: str,
    key: str | None,
    force: bool,
    confirm_within_s: float,
    expires_in_s: float,
    wait: bool,
) -> Answer:
    """Bad news when it was waited for and is not kept."""
    files = _files(file, more)

    async def run() -> Answer:
        home = Home(folder)
        command_key = home.commanding_key()
        async with await Store.open(home.database) as store:
            wish = Push(
                id=key or fresh_id().replace("c-", "p-", 1),
                gateway_id=gateway_id,
                files=files,
                base=WHATEVER if force else None,
                why=why,
                confirm_s=confirm_within_s,
                life_ms=round(expires_in_s * 1000),
                by=at_the_command_line(),
            )
            try:
                await ConfigurationDesk(store, REAL, command_key).push(wish)
            except PushMistake as err:
                raise CannotPush(f"{gateway_id}: {err}") from None
            row = await _row(store, gateway_id, wish.id)
            ends_s = time.monotonic() + confirm_within_s + _GRACE_S
            while wait and row.state not in pushes.FINAL and time.monotonic() < ends_s:
                await asyncio.sleep(_LOOK_EVERY_S)
                row = await _row(store, gateway_id, wish.id)
        return _answer(row, waited=wait)

    return asyncio.run(run())


def list_pushes(folder: Path, gateway_id: str | None) -> Answer:
    """The newest first."""

    async def read() -> Answer:
        query = select(configuration).order_by(configuration.c.issued_ms.desc()).limit(LIST_MAX)
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            if gateway_id is not None:
                await _check_gateway(connection, gateway_id)
                query = query.where(configuration.c.gateway_id == gateway_id)
            rows = (await connection.execute(query)).all()
        shown = [
            (row.id, row.gateway_id, utc_text(row.issued_ms), row.issued_by, row.state, row.why)
            for row in rows
        ]
        titles = ("ID", "GATEWAY", "PUSHED", "BY", "STATE", "WHY")
        return Answer([_facts(row) for row in rows], table(titles, shown, empty="Nothing was pushed so far."))

    return asyncio.run(read())


def history(folder: Path, gateway_id: str) -> Answer:
    """What was active, the newest first."""

    async def read() -> Answer:
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            await _check_gateway(connection, gateway_id)
            rows = (await connection.execute(_active(gateway_id).limit(LIST_MAX))).all()
        shown = [
            (row.version, utc_text(row.active_ms), _who(row), row.digest[:_SHORT], row.why) for row in rows
        ]
        titles = ("VERSION", "ACTIVE SINCE", "BY", "DIGEST", "WHY")
        text = table(titles, shown, empty="The gateway has not told what it runs.")
        return Answer([_active_facts(row) for row in rows], text)

    return asyncio.run(read())


def show(folder: Path, gateway_id: str, version: int | None, only: str | None) -> Answer:
    """All files of what is, or was, active, or one of them."""
    row, files = asyncio.run(_told(folder, gateway_id, version))
    texts = {name: text.decode(errors="replace") for name, text in files.items()}
    if only is not None:
        if only not in texts:
            raise NotTold(f"version {row.version} has no file {only!r}; it has {', '.join(texts)}")
        return Answer(_active_facts(row) | {"files": {only: texts[only]}}, texts[only].rstrip("\n"))
    told = [f"# {gateway_id}, version {row.version}, {utc_text(row.active_ms)}, {_who(row)}"]
    for name, text in texts.items():
        told += [f"# --- {name}", text.rstrip("\n")]
    return Answer(_active_facts(row) | {"files": texts}, "\n".join(told))


def diff(folder: Path, gateway_id: str, first: int | None, second: int | None, file: Path | None) -> Answer:
    """Between two versions of a gateway, or between one (else the newest) and a file here."""
    old, before = asyncio.run(_told(folder, gateway_id, first))
    if file is not None:
        after: Mapping[str, bytes] = {**before, **_files(file, ())}
        name, number = str(file), None
    else:
        new, after = asyncio.run(_told(folder, gateway_id, second))
        name, number = f"version {new.version}", new.version
    text = difference(before, after, (f"version {old.version}", name))
    facts = {"from": old.version, "to": number, "diff": text}
    return Answer(facts, text or f"No difference between version {old.version} and {name}.")


def _files(file: Path, more: Sequence[Path]) -> dict[str, bytes]:
    """By the names that they have on the gateway: as they stand beside the main file here."""
    found = {}
    for path in (file, *more):
        try:
            content = path.read_bytes()
        except OSError as err:
            raise CannotPush(f"{path}: {err.strerror}; name a file that can be read") from None
        if path == file:
            found[MAIN] = content
            continue
        try:
            found[path.resolve().relative_to(file.parent.resolve()).as_posix()] = content
        except ValueError:
            raise CannotPush(
                f"{path}: is not below {file.parent}, where {file.name} is; move it there"
            ) from None
    return found


async def _told(folder: Path, gateway_id: str, version: int | None) -> tuple[Any, dict[str, bytes]]:
    async with await Store.open(Home(folder).database) as store, store.read() as connection:
        await _check_gateway(connection, gateway_id)
        query = _active(gateway_id)
        if version is not None:
            query = query.where(active_configuration.c.version == version)
        row = (await connection.execute(query.limit(1))).one_or_none()
    if row is None:
        what = "anything" if version is None else f"a version {version}"
        raise NotTold(f"{gateway_id} has not told {what}; see: collector config history {gateway_id}")
    if row.packed is None:
        raise NotTold(f"version {row.version} was too much to be told; see it there: edge-agent config show")
    return row, unpack_files(row.packed)


def _active(gateway_id: str) -> Select[Any]:
    columns = active_configuration.c
    return (
        select(active_configuration)
        .where(columns.gateway_id == gateway_id)
        .order_by(columns.active_ms.desc(), columns.number.desc())
    )


async def _check_gateway(connection: AsyncConnection, gateway_id: str) -> None:
    known = (await connection.execute(select(gateway.c.id))).scalars().all()
    if gateway_id not in known:
        raise NoSuchGateway(f"there is no gateway {gateway_id!r}; see: collector gateways")


async def _row(store: Store, gateway_id: str, push_id: str) -> Any:
    query = select(configuration).where(
        configuration.c.gateway_id == gateway_id, configuration.c.id == push_id
    )
    async with store.read() as connection:
        return (await connection.execute(query)).one()


def _answer(row: Any, *, waited: bool) -> Answer:
    said = f"{row.id} for {row.gateway_id} is {row.state}"
    if row.outcome.get("detail"):
        said += f": {row.outcome['detail']}"
    said += "".join(f"\n  {problem}" for problem in row.outcome.get("problems", ()))
    if row.state not in pushes.FINAL:
        said += f"\nWhat came of it: collector config pushes {row.gateway_id}"
    return Answer(_facts(row), said, is_good=not waited or row.state == "applied")


def _facts(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "gateway_id": row.gateway_id,
        "files": sorted(unpack_files(row.packed)),
        "base": row.base,
        "why": row.why,
        "issued_by": row.issued_by,
        "issued_at": utc_text(row.issued_ms),
        "expires_at": utc_text(row.expires_ms),
        "state": row.state,
        **{name: row.outcome[name] for name in ("code", "detail", "problems") if name in row.outcome},
    }


def _active_facts(row: Any) -> dict[str, Any]:
    return {
        "version": row.version,
        "digest": row.digest,
        "origin": row.origin,
        "by": row.by,
        "why": row.why,
        "push_id": row.push_id,
        "active_at": utc_text(row.active_ms),
    }


def _who(row: Any) -> str:
    return f"pushed by {row.by}" if row.origin == "collector" else str(row.by)
