"""Who asks, what they may do, and which sites exist for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import ColumnElement, select

from collector.api.problems import ApiProblem, not_found, refuse
from collector.identity.tokens import verify_api_token
from collector.store import schema
from collector.store.engine import Store

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API token",
    bearerFormat="ght_…",
    description="A token of `collector api-token`, sent as `Authorization: Bearer ght_…`.",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A site as its rows refer to it, and as people call it."""

    id: int
    code: str
    name: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Someone with a token. Every query goes through `owns`, so that no row of another site is seen."""

    name: str
    scopes: frozenset[str]
    sites: Mapping[int, Site]
    all_sites: bool

    def owns(self, column: Any) -> ColumnElement[bool]:
        """The condition that `column`, a site id, is one of the caller's."""
        condition: ColumnElement[bool] = column.in_(self.sites)
        return condition

    def site(self, code: str) -> Site:
        """The site of that code; a site of others is as unknown as one that is not there."""
        for site in self.sites.values():
            if site.code == code:
                return site
        known = ", ".join(sorted(site.code for site in self.sites.values())[:10])
        raise not_found(f"There is no site {code[:100]!r}.", f"Known to this token: {known or 'none yet'}.")

    def narrowed(self, code: str | None) -> "Caller":
        """The same caller, seeing one site only; unchanged when `code` is None."""
        if code is None:
            return self
        site = self.site(code)
        return Caller(self.name, self.scopes, {site.id: site}, all_sites=False)


async def find_caller(store: Store, token: str, now_ms: int) -> Caller | None:
    """Who holds this token; None when nobody does, or no longer. Tokens live in real time."""
    identity = await verify_api_token(store, token, now_ms=now_ms)
    if identity is None:
        return None
    statement = select(schema.site).order_by(schema.site.c.code)
    if identity.sites is not None:
        statement = statement.where(schema.site.c.code.in_(identity.sites))
    async with store.read() as connection:
        rows = (await connection.execute(statement)).all()
    sites = {row.id: Site(row.id, row.code, row.name, row.timezone) for row in rows}
    return Caller(identity.name, identity.scopes, sites, all_sites=identity.sites is None)


class Requires:
    """A dependency: the caller, who has this scope."""

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Caller:
        if credentials is None:
            raise _unauthorized("no-token", "The request carries no token.")
        state = request.app.state
        caller = await find_caller(state.store, credentials.credentials, state.real_now_ms())
        if caller is None:
            raise _unauthorized("token-unknown", "The token is unknown, revoked or expired.")
        if self._scope not in caller.scopes:
            raise missing_scope(caller, self._scope)
        return caller


def missing_scope(caller: Caller, scope: str) -> ApiProblem:
    return refuse(
        403,
        "missing-scope",
        "The token may not do this",
        detail=f"This needs the scope {scope!r}; the token {caller.name!r} has "
        f"{', '.join(sorted(caller.scopes)) or 'none'}.",
        hint=f"Make one with `collector api-token --name NAME --scope {scope}`.",
    )


def _unauthorized(code: str, detail: str) -> ApiProblem:
    return refuse(
        401,
        code,
        "A token is needed",
        detail=detail,
        hint="Send `Authorization: Bearer ght_…`; `collector api-token --name NAME --scope read` makes one.",
        headers={"www-authenticate": "Bearer"},
    )


reads = Requires("read")
writes_alerts = Requires("alerts:write")
writes_commands = Requires("commands:write")
writes_configurations = Requires("config:write")
writes_gateways = Requires("gateways:write")

Reads = Annotated[Caller, Depends(reads)]
WritesAlerts = Annotated[Caller, Depends(writes_alerts)]
WritesCommands = Annotated[Caller, Depends(writes_commands)]
WritesConfigurations = Annotated[Caller, Depends(writes_configurations)]
WritesGateways = Annotated[Caller, Depends(writes_gateways)]
