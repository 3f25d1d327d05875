"""`collector enrollment-token`, `api-token` and `gateways`: who may send and who may read."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from collector.commands.answer import Answer, table
from collector.identity import tokens
from collector.identity.ca import RequestRefused
from collector.identity.enrolment import Enrolment
from collector.identity.gateways import at_the_command_line, revoke_gateway
from collector.identity.home import Home, write_file
from collector.identity.tokens import TokenRefused
from collector.settings import load_settings
from collector.store.engine import Store
from collector.store.schema import gateway, site
from models.errors import NeedsAHuman
from models.offline import MAX_REQUEST_BYTES, OfflineRequestRefused, read_request
from models.protocol import EnrollmentToken, EnrollResponse
from models.times import DAY_MS, HOUR_MS, utc_text

DEFAULT_DAYS = 365.0

_ENROL = {tokens.GATEWAY: "edge-agent enroll", tokens.COLLECTOR: "collector upstream enroll"}


def enrollment_token(
    folder: Path, site_code: str, gateway_name: str, hours: float, kind: str = tokens.GATEWAY
) -> Answer:
    if kind not in (tokens.GATEWAY, tokens.COLLECTOR):
        raise tokens.TokenMistake(f"a token is for a gateway or a collector, not for a {kind!r}")

    async def issue() -> Answer:
        url = load_settings(folder).url
        certificate = Home(folder).authority().certificate_der()
        now_ms = _now_ms()
        async with await Store.open(Home(folder).database) as store:
            secret = await tokens.issue_enrollment_secret(
                store, site_code=site_code, gateway_name=gateway_name, hours=hours, now_ms=now_ms, kind=kind
            )
        token = EnrollmentToken(url=url, ca_certificate_der=certificate, secret=secret).encode()
        expires = utc_text(now_ms + round(hours * HOUR_MS))
        return Answer(
            {
                "token": token,
                "site": site_code,
                "gateway_name": gateway_name,
                "for": kind,
                "expires": expires,
                "url": url,
            },
            f"For one {kind}, {gateway_name} at {site_code}, until {expires}. It is not shown again.\n"
            f"On the {kind}:\n\n{_ENROL[kind]} {token}",
        )

    return asyncio.run(issue())


def enroll_file(folder: Path, request: Path, answer: Path | None) -> Answer:
    """The answer is to be carried back; nothing in it is secret."""
    target = answer or request.with_name(request.name + ".answer")
    home, lives = Home(folder), load_settings(folder).certificates.lives

    async def enrol() -> EnrollResponse:
        async with await Store.open(home.database) as store:
            key = home.commanding_key().public_bytes()
            enrolment = Enrolment(store, home.authority(), home.keyring(), key, lives=lives)
            return await enrolment.enrol_offline(read_request(data))

    try:
        with request.open("rb") as file:
            data = file.read(MAX_REQUEST_BYTES + 1)
        response = asyncio.run(enrol())
        write_file(target, response.model_dump_json(indent=2).encode(), private=False)
    except OSError as err:
        raise NeedsAHuman(f"{err.filename or request}: {err.strerror}; is it the right stick?") from err
    except (OfflineRequestRefused, RequestRefused, TokenRefused) as err:
        raise NeedsAHuman(f"{request}: {err}; nobody was enrolled") from None
    facts = {"gateway_id": response.gateway_id, "site": response.site_code, "answer": str(target)}
    return Answer(
        facts,
        f"{response.gateway_id} of {response.site_code} is enrolled. Carry back {target}; on the gateway:\n\n"
        f"edge-agent enroll TOKEN --answer {target.name}",
    )


def api_token(
    folder: Path, name: str, scopes: Sequence[str], sites: Sequence[str] | None, days: float
) -> Answer:
    async def issue() -> Answer:
        now_ms = _now_ms()
        async with await Store.open(Home(folder).database) as store:
            text = await tokens.issue_api_token(
                store, name=name, scopes=scopes, sites=sites, days=days, now_ms=now_ms
            )
        expires = utc_text(now_ms + round(days * DAY_MS))
        return Answer(
            {
                "token": text,
                "name": name,
                "scopes": sorted(set(scopes)),
                "sites": sites,
                "expires": expires,
            },
            f"{name}: {', '.join(sorted(set(scopes)))} for {', '.join(sites) if sites else 'all sites'}, "
            f"until {expires}. It is not shown again.\n\n{text}",
        )

    return asyncio.run(issue())


def list_api_tokens(folder: Path) -> Answer:
    async def read() -> Answer:
        async with await Store.open(Home(folder).database) as store:
            rows = await tokens.list_api_tokens(store)
        now_ms = _now_ms()
        listed = [
            {
                "name": row.name,
                "scopes": row.scopes,
                "sites": row.sites,
                "expires": utc_text(row.expires_ms),
                "state": "revoked" if row.revoked_ms else "expired" if row.expires_ms <= now_ms else "good",
            }
            for row in rows
        ]
        shown = [
            (
                row["name"],
                row["state"],
                row["expires"],
                " ".join(row["scopes"]),
                " ".join(row["sites"] or ["(all)"]),
            )
            for row in listed
        ]
        titles = ("NAME", "STATE", "EXPIRES", "SCOPES", "SITES")
        return Answer(listed, table(titles, shown, empty="No token yet."))

    return asyncio.run(read())


def revoke_api_token(folder: Path, name: str) -> Answer:
    async def revoke() -> Answer:
        async with await Store.open(Home(folder).database) as store:
            await tokens.revoke_api_token(store, name, now_ms=_now_ms())
        return Answer({"name": name, "state": "revoked"}, f"The token {name} is worth nothing from now on.")

    return asyncio.run(revoke())


def list_gateways(folder: Path) -> Answer:
    async def read() -> Answer:
        columns, owner = gateway.c, site.alias("owner")
        query = (
            select(
                columns.id,
                site.c.code.label("site"),
                columns.name,
                columns.state,
                columns.last_seen_ms,
                columns.clock_skew_ms,
                columns.suite,
                columns.kind,
                owner.c.code.label("by"),
            )
            .join_from(gateway, site, gateway.c.site_id == site.c.id)
            .outerjoin(owner, gateway.c.owner_site_id == owner.c.id)
            .order_by(site.c.code, columns.name, columns.id)
        )
        async with await Store.open(Home(folder).database) as store, store.read() as connection:
            rows = (await connection.execute(query)).all()
        listed = [
            {
                "id": row.id,
                "site": row.site,
                "name": row.name,
                "state": row.state,
                "last_seen": None if row.last_seen_ms is None else utc_text(row.last_seen_ms),
                "clock_skew_ms": row.clock_skew_ms,
                "suite": row.suite,
                "kind": row.kind,
                "forwarded_by": row.by,  # the site whose collector brings what is of it
            }
            for row in rows
        ]
        shown = [
            (row["id"], row["site"], row["state"], row["last_seen"] or "never", row["name"]) for row in listed
        ]
        titles = ("ID", "SITE", "STATE", "LAST SEEN", "NAME")
        return Answer(listed, table(titles, shown, empty="No gateway yet: `collector enrollment-token`."))

    return asyncio.run(read())


def revoke(folder: Path, gateway_id: str) -> Answer:
    async def now() -> Answer:
        async with await Store.open(Home(folder).database) as store:
            changed = await revoke_gateway(store, gateway_id, by=at_the_command_line(), now_ms=_now_ms())
        said = "is accepted no more" if changed else "was revoked before"
        return Answer({"id": gateway_id, "state": "revoked", "changed": changed}, f"{gateway_id} {said}.")

    return asyncio.run(now())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
