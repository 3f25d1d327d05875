"""Answers what was measured: readings with their origin, latest values, events, and what is kept aside."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import ColumnElement, and_, select

from collector.api import examples
from collector.api.access import Caller, Reads
from collector.api.answers import answers
from collector.api.live import latest_points
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, Range, SiteCode
from collector.api.problems import not_found
from collector.api.shapes import (
    EventItem,
    LatestItem,
    PageOf,
    Provenance,
    QuarantineItem,
    ReadingItem,
    moment,
    quality_word,
    reason_word,
)
from collector.store.schema import envelope, epoch, event, latest, point, quarantine, reading

router = APIRouter(prefix="/api/v1", tags=["readings"])


@router.get(
    "/points/{site}/{point_id}/readings",
    summary="The readings of a point, each with its origin",
    responses=answers(examples.page(examples.READING), 404),
)
async def point_readings(
    request: Request,
    caller: Reads,
    site: Annotated[str, Path(description="Code of the site.", examples=["hq"])],
    point_id: Annotated[int, Path(ge=1, le=2**31, description="Number of the point.", examples=[12])],
    span: Range,
    page: Page,
) -> PageOf[ReadingItem]:
    """In the order in which they were measured. A reading names the sealed envelope that brought it."""
    store = request.app.state.store
    owner = caller.site(site)
    known = select(point.c.id).where(point.c.site_id == owner.id, point.c.id == point_id)
    async with store.read() as connection:
        if (await connection.execute(known)).first() is None:
            raise not_found(
                f"Site {site} has no point {point_id}.", f"/api/v1/points?site={site} lists its points."
            )
    carried_by = (
        select(envelope.c.number)
        .where(
            envelope.c.site_id == reading.c.site_id,
            envelope.c.epoch_id == reading.c.epoch_id,
            envelope.c.last_seq >= reading.c.seq,
            envelope.c.first_seq <= reading.c.seq,
        )
        .order_by(envelope.c.last_seq)
        .limit(1)
        .scalar_subquery()
        .label("envelope")
    )
    statement = (
        select(reading, epoch.c.gateway_id, epoch.c.epoch, carried_by)
        .join_from(reading, epoch, _of_epoch(reading))
        .where(reading.c.site_id == owner.id, reading.c.point_id == point_id)
        .where(reading.c.measured_ms >= span.from_ms, reading.c.measured_ms < span.to_ms)
    )
    question = ("readings", owner.id, point_id, span)
    rows, cursor = await read_page(store, statement, Order((reading.c.measured_ms,)), page, question)
    items = [
        ReadingItem(
            measured_at=moment(row.measured_ms),
            received_at=moment(row.received_ms),
            value=row.value,
            quality=quality_word(row.quality),
            reason=reason_word(row.reason),
            provenance=Provenance(
                gateway_id=row.gateway_id, epoch=row.epoch.hex(), seq=row.seq, envelope=row.envelope
            ),
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)


@router.get(
    "/readings/latest",
    summary="The newest reading of each point",
    responses=answers(examples.page(examples.LATEST), 404),
)
async def latest_readings(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    device: Annotated[
        int | None, Query(ge=1, le=2**31, description="Only points of the devices with this number.")
    ] = None,
) -> PageOf[LatestItem]:
    """What every point shows now. A late reading never replaces a newer one here."""
    scoped = caller.narrowed(site)
    statement = latest_points().where(scoped.owns(latest.c.site_id))
    if device is not None:
        statement = statement.where(point.c.device == device)
    order = Order((latest.c.site_id, latest.c.point_id))
    question = ("latest", site, device)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    return PageOf(items=[latest_item(row, scoped) for row in rows], next_cursor=cursor)


def latest_item(row: Any, caller: Caller) -> LatestItem:
    """A row of `latest_points` as the API shows it."""
    return LatestItem(
        site=caller.sites[row.site_id].code,
        point=row.point_id,
        device=row.device,
        name=row.name,
        unit=row.unit,
        measured_at=moment(row.measured_ms),
        received_at=moment(row.received_ms),
        value=row.value,
        quality=quality_word(row.quality),
        reason=reason_word(row.reason),
    )


@router.get("/events", summary="What happened", responses=answers(examples.page(examples.EVENT), 404))
async def events(
    request: Request,
    caller: Reads,
    span: Range,
    page: Page,
    site: SiteCode = None,
    kind: Annotated[
        str | None, Query(max_length=100, description="Only this kind.", examples=["device.described"])
    ] = None,
) -> PageOf[EventItem]:
    """Events of devices and gateways in the order in which they happened."""
    scoped = caller.narrowed(site)
    statement = (
        select(event, epoch.c.epoch)
        .join_from(event, epoch, _of_epoch(event))
        .where(scoped.owns(event.c.site_id))
        .where(event.c.measured_ms >= span.from_ms, event.c.measured_ms < span.to_ms)
    )
    if kind is not None:
        statement = statement.where(event.c.kind == kind)
    order = Order((event.c.measured_ms, event.c.site_id, event.c.epoch_id, event.c.seq))
    question = ("events", site, kind, span)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    items = [
        EventItem(
            site=scoped.sites[row.site_id].code,
            gateway_id=row.gateway_id,
            device_id=row.device_id,
            kind=row.kind,
            data=row.data,
            measured_at=moment(row.measured_ms),
            received_at=moment(row.received_ms),
            epoch=row.epoch.hex(),
            seq=row.seq,
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)


@router.get(
    "/quarantine",
    summary="What was delivered and cannot be right",
    responses=answers(examples.page(examples.QUARANTINE), 404),
)
async def quarantined(
    request: Request, caller: Reads, page: Page, site: SiteCode = None
) -> PageOf[QuarantineItem]:
    """Items that the collector keeps aside unchanged, such as readings from the future."""
    scoped = caller.narrowed(site)
    statement = (
        select(quarantine, epoch.c.gateway_id, epoch.c.epoch)
        .join_from(quarantine, epoch, _of_epoch(quarantine))
        .where(scoped.owns(quarantine.c.site_id))
    )
    order = Order((quarantine.c.site_id, quarantine.c.epoch_id, quarantine.c.seq))
    rows, cursor = await read_page(request.app.state.store, statement, order, page, ("quarantine", site))
    items = [
        QuarantineItem(
            site=scoped.sites[row.site_id].code,
            gateway_id=row.gateway_id,
            epoch=row.epoch.hex(),
            seq=row.seq,
            reason=row.reason,
            item=row.item,
            quarantined_at=moment(row.quarantined_ms),
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)


def _of_epoch(table: Any) -> ColumnElement[bool]:
    return and_(epoch.c.site_id == table.c.site_id, epoch.c.id == table.c.epoch_id)
