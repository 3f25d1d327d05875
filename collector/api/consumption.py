"""Answers what was used: the consumption of counters for each hour, with coverage and state."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy import and_, select

from collector.api import examples
from collector.api.access import Reads
from collector.api.answers import answers
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, Range, SiteCode
from collector.api.shapes import ConsumptionItem, PageOf, moment
from collector.store.schema import consumption_hour, point

router = APIRouter(prefix="/api/v1", tags=["energy"])


@router.get(
    "/consumption",
    summary="Consumption for each hour",
    responses=answers(examples.page(examples.CONSUMPTION), 404),
)
async def consumption(
    request: Request,
    caller: Reads,
    span: Range,
    page: Page,
    site: SiteCode = None,
    point_id: Annotated[
        int | None, Query(alias="point", ge=1, le=2**31, description="Only points with this number.")
    ] = None,
) -> PageOf[ConsumptionItem]:
    """Hours that begin within the range, point by point. A late reading changes the hours it lies in.

    `estimated` hours share what a counter gained over a gap; in `suspect` ones the value leaves out what
    the counter cannot be believed in; `missing` ones have no value.
    """
    scoped = caller.narrowed(site)
    hour = consumption_hour
    statement = (
        select(hour, point.c.unit)
        .join_from(hour, point, and_(point.c.site_id == hour.c.site_id, point.c.id == hour.c.point_id))
        .where(scoped.owns(hour.c.site_id))
        .where(hour.c.hour_ms >= span.from_ms, hour.c.hour_ms < span.to_ms)
    )
    if point_id is not None:
        statement = statement.where(hour.c.point_id == point_id)
    order = Order((hour.c.site_id, hour.c.point_id, hour.c.hour_ms))
    question = ("consumption", site, point_id, span)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    items = [
        ConsumptionItem(
            site=scoped.sites[row.site_id].code,
            point=row.point_id,
            hour=moment(row.hour_ms),
            value=row.value,
            unit=row.unit,
            coverage=row.coverage,
            state=row.state,
            computed_at=moment(row.computed_ms),
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)
