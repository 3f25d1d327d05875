"""Answers what there is: sites, gateways, devices and points."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Row, Select, func, select

from collector.api import examples
from collector.api.access import Caller, Reads, WritesGateways
from collector.api.answers import answers
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, SiteCode
from collector.api.problems import not_found
from collector.api.shapes import DeviceItem, GatewayItem, PageOf, PointItem, SiteItem, moment, moment_or_none
from collector.identity.gateways import revoke_gateway
from collector.store import schema

router = APIRouter(prefix="/api/v1", tags=["inventory"])
actions = APIRouter(prefix="/api/v1", tags=["inventory"])

ONLINE_PERIODS = 3  # two batches may be late before a gateway counts as gone
ONLINE_AT_LEAST_MS = 180_000  # gateways seal a batch every some seconds; a restart takes less than this


@router.get("/sites", summary="The sites of the token", responses=answers(examples.page(examples.SITE)))
async def sites(request: Request, caller: Reads, page: Page) -> PageOf[SiteItem]:
    """Every site that this token may see, with the zone in which its days begin."""
    rows, cursor = await read_page(
        request.app.state.store,
        select(schema.site).where(caller.owns(schema.site.c.id)),
        Order((schema.site.c.id,)),
        page,
        ("sites",),
    )
    items = [SiteItem(code=row.code, name=row.name, timezone=row.timezone) for row in rows]
    return PageOf(items=items, next_cursor=cursor)


def gateways_of(caller: Caller) -> Select[Any]:
    """Gateways with the shortest period of their devices, as `is_online` wants it."""
    shortest = (
        select(func.min(schema.device.c.period_s))
        .where(
            schema.device.c.site_id == schema.gateway.c.site_id,
            schema.device.c.gateway_id == schema.gateway.c.id,
        )
        .scalar_subquery()
        .label("shortest_period_s")
    )
    return select(schema.gateway, shortest).where(caller.owns(schema.gateway.c.site_id))


def is_online(row: Row[Any], now_ms: int) -> bool:
    """Whether a row of `gateways_of` delivered lately, measured by how often it has something to say."""
    if row.state != "active" or row.last_seen_ms is None:
        return False
    allowed_ms = max(ONLINE_AT_LEAST_MS, ONLINE_PERIODS * 1000 * (row.shortest_period_s or 0))
    return bool(now_ms - row.last_seen_ms <= allowed_ms)


@router.get(
    "/gateways",
    summary="Gateways and whether they deliver",
    responses=answers(examples.page(examples.GATEWAY), 404),
)
async def gateways(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    state: Annotated[
        Literal["active", "revoked"] | None, Query(description="Only gateways in this state.")
    ] = None,
) -> PageOf[GatewayItem]:
    """The boxes in the buildings. A revoked one stays in the list: its readings keep their origin."""
    scoped = caller.narrowed(site)
    statement = gateways_of(scoped)
    if state is not None:
        statement = statement.where(schema.gateway.c.state == state)
    rows, cursor = await read_page(
        request.app.state.store,
        statement,
        Order((schema.gateway.c.site_id, schema.gateway.c.id)),
        page,
        ("gateways", site, state),
    )
    now_ms = request.app.state.clock.now_ms()
    items = [_gateway_item(row, scoped, now_ms) for row in rows]
    return PageOf(items=items, next_cursor=cursor)


def _gateway_item(row: Row[Any], caller: Caller, now_ms: int) -> GatewayItem:
    return GatewayItem(
        id=row.id,
        site=caller.sites[row.site_id].code,
        name=row.name,
        state=row.state,
        online=is_online(row, now_ms),
        enrolled_at=moment(row.enrolled_ms),
        revoked_at=moment_or_none(row.revoked_ms),
        last_seen_at=moment_or_none(row.last_seen_ms),
        clock_skew_ms=row.clock_skew_ms,
        suite=row.suite,
    )


@actions.post(
    "/gateways/{gateway_id}/revoke",
    summary="Accept nothing more of a gateway",
    responses=answers(
        examples.GATEWAY | {"state": "revoked", "online": False, "revoked_at": "2025-11-03T00:09:00.000Z"},
        404,
    ),
)
async def revoke(
    request: Request,
    caller: WritesGateways,
    gateway_id: Annotated[
        str, Path(max_length=100, description="Id of the gateway.", examples=["gw-4f1d2c9a7b30"])
    ],
) -> GatewayItem:
    """For a gateway that was lost or replaced. What it delivered stays; to come back it must be enrolled.

    A gateway that is revoked already stays as it is.
    """
    state = request.app.state
    statement = gateways_of(caller).where(schema.gateway.c.id == gateway_id)
    async with state.store.read() as connection:
        if (await connection.execute(statement)).one_or_none() is None:
            raise not_found(f"There is no gateway {gateway_id!r}.", "/api/v1/gateways lists them.")
    await revoke_gateway(state.store, gateway_id, by=caller.name, now_ms=state.real_now_ms())
    async with state.store.read() as connection:
        row = (await connection.execute(statement)).one()
    return _gateway_item(row, caller, state.clock.now_ms())


@router.get("/devices", summary="Devices", responses=answers(examples.page(examples.DEVICE), 404))
async def devices(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    gateway: Annotated[
        str | None, Query(max_length=100, description="Only devices of this gateway (its id).")
    ] = None,
) -> PageOf[DeviceItem]:
    """Meters, sensors, doors and bays, as their gateways described them."""
    scoped = caller.narrowed(site)
    statement = select(schema.device).where(scoped.owns(schema.device.c.site_id))
    if gateway is not None:
        statement = statement.where(schema.device.c.gateway_id == gateway)
    rows, cursor = await read_page(
        request.app.state.store,
        statement,
        Order((schema.device.c.site_id, schema.device.c.id)),
        page,
        ("devices", site, gateway),
    )
    items = [
        DeviceItem(
            site=scoped.sites[row.site_id].code,
            id=row.id,
            gateway_id=row.gateway_id,
            device_id=row.device_id,
            name=row.name,
            profile=row.profile or None,
            profile_version=row.profile_version or None,
            period_s=row.period_s,
            unauthenticated=bool(row.unauthenticated),
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)


@router.get("/points", summary="Points", responses=answers(examples.page(examples.POINT), 404))
async def points(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    device: Annotated[
        int | None, Query(ge=1, le=2**31, description="Only points of the devices with this number.")
    ] = None,
    kind: Annotated[
        Literal["gauge", "counter", "state"] | None, Query(description="Only points of this kind.")
    ] = None,
) -> PageOf[PointItem]:
    """The quantities that devices have: what `readings` and `consumption` are asked for by number."""
    scoped = caller.narrowed(site)
    statement = select(schema.point).where(scoped.owns(schema.point.c.site_id))
    if device is not None:
        statement = statement.where(schema.point.c.device == device)
    if kind is not None:
        statement = statement.where(schema.point.c.kind == kind)
    rows, cursor = await read_page(
        request.app.state.store,
        statement,
        Order((schema.point.c.site_id, schema.point.c.id)),
        page,
        ("points", site, device, kind),
    )
    items = [
        PointItem(
            site=scoped.sites[row.site_id].code,
            id=row.id,
            device=row.device,
            name=row.name,
            unit=row.unit,
            kind=row.kind,
            item_code=row.item_code,
            decimals=row.decimals,
            modulus=row.modulus,
            max_rate_per_h=row.max_rate_per_h,
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)
