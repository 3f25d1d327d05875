"""Answers what needs a person, and takes what the person did about it."""

from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Path, Query, Request
from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.alerts import service
from collector.api import examples
from collector.api.access import Caller, Reads, WritesAlerts
from collector.api.answers import answers
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, SiteCode
from collector.api.problems import not_found, refuse
from collector.api.shapes import AlertItem, FindingItem, PageOf, moment, moment_or_none
from collector.store.schema import alert, finding

router = APIRouter(prefix="/api/v1", tags=["alerts"])
actions = APIRouter(prefix="/api/v1", tags=["alerts"])


@router.get(
    "/alerts", summary="Alerts, the newest first", responses=answers(examples.page(examples.ALERT), 404)
)
async def alerts(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    state: Annotated[
        Literal["open", "firing", "acknowledged", "resolved"] | None,
        Query(description="Only alerts in this state; `open` is firing or acknowledged."),
    ] = None,
) -> PageOf[AlertItem]:
    """What a person must deal with. Of each condition at most one alert is open."""
    scoped = caller.narrowed(site)
    statement = select(alert).where(scoped.owns(alert.c.site_id))
    if state is not None:
        statement = statement.where(alert.c.state.in_(service.OPEN_STATES if state == "open" else (state,)))
    order = Order((alert.c.opened_ms, alert.c.site_id, alert.c.id), newest_first=True)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, ("alerts", site, state))
    return PageOf(items=[alert_item(row, scoped) for row in rows], next_cursor=cursor)


SitePath = Annotated[str, Path(description="Code of the site.", examples=["hq"])]
AlertPath = Annotated[int, Path(ge=1, le=2**31, description="Number of the alert in its site.", examples=[7])]


@actions.post(
    "/alerts/{site}/{alert_id}/acknowledge",
    summary="Take an alert on",
    responses=answers(
        examples.ALERT
        | {
            "state": "acknowledged",
            "acknowledged_by": "duty desk",
            "acknowledged_at": "2025-11-03T00:09:00.000Z",
        },
        404,
        409,
    ),
)
async def acknowledge(
    request: Request, caller: WritesAlerts, site: SitePath, alert_id: AlertPath
) -> AlertItem:
    """Says in the token's name that somebody deals with it: no reminder goes out any more.

    An alert that is acknowledged already stays with who acknowledged it first.
    """
    row = await act(request, caller, site, alert_id, service.acknowledge)
    return alert_item(row, caller)


@actions.post(
    "/alerts/{site}/{alert_id}/resolve",
    summary="Close an alert",
    responses=answers(
        examples.ALERT
        | {"state": "resolved", "resolved_by": "duty desk", "resolved_at": "2025-11-03T01:00:00.000Z"},
        404,
        409,
    ),
)
async def resolve(request: Request, caller: WritesAlerts, site: SitePath, alert_id: AlertPath) -> AlertItem:
    """Says in the token's name that it is over. If the condition still holds, a new alert opens."""
    row = await act(request, caller, site, alert_id, service.resolve)
    return alert_item(row, caller)


class Action(Protocol):
    """`acknowledge` or `resolve` of the alert service."""

    async def __call__(
        self, connection: AsyncConnection, site_id: int, alert_id: int, *, by: str, now_ms: int
    ) -> None: ...


async def act(request: Request, caller: Caller, site: str, alert_id: int, action: Action) -> Row[Any]:
    """Do it in the caller's name, and return the alert as it is then."""
    state = request.app.state
    owner = caller.site(site)
    mine = and_(caller.owns(alert.c.site_id), alert.c.site_id == owner.id, alert.c.id == alert_id)
    try:
        async with state.store.write() as connection:
            await action(connection, owner.id, alert_id, by=caller.name, now_ms=state.clock.now_ms())
            row: Row[Any] = (await connection.execute(select(alert).where(mine))).one()
    except service.AlertUnknown:
        raise not_found(
            f"Site {site} has no alert {alert_id}.", f"/api/v1/alerts?site={site} lists them."
        ) from None
    except service.AlertIsResolved as err:
        raise refuse(
            409,
            "already-resolved",
            "The alert is closed",
            detail=f"Alert {alert_id} of {site} was closed by {err.resolved_by}.",
            hint="If the condition comes back, a new alert opens.",
        ) from None
    state.live.wake()
    return row


@router.get("/findings", summary="What analysis saw", responses=answers(examples.page(examples.FINDING), 404))
async def findings(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    detector: Annotated[str | None, Query(max_length=100, description="Only of this detector.")] = None,
) -> PageOf[FindingItem]:
    """The newest first. Most findings open an alert; those about long ago only stand here."""
    scoped = caller.narrowed(site)
    statement = select(finding).where(scoped.owns(finding.c.site_id))
    if detector is not None:
        statement = statement.where(finding.c.detector == detector)
    order = Order((finding.c.start_ms, finding.c.site_id, finding.c.id), newest_first=True)
    question = ("findings", site, detector)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    items = [
        FindingItem(
            site=scoped.sites[row.site_id].code,
            id=row.id,
            detector=row.detector,
            subject=row.subject,
            start_at=moment(row.start_ms),
            end_at=moment(row.end_ms),
            score=row.score,
            data=row.data,
            found_at=moment(row.found_ms),
        )
        for row in rows
    ]
    return PageOf(items=items, next_cursor=cursor)


def alert_item(row: Any, caller: Caller) -> AlertItem:
    """A row of the table `alert` as the API shows it."""
    return AlertItem(
        site=caller.sites[row.site_id].code,
        id=row.id,
        condition=row.condition,
        detector=row.detector,
        state=row.state,
        severity=row.severity,
        data=row.data,
        opened_at=moment(row.opened_ms),
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=moment_or_none(row.acknowledged_ms),
        resolved_by=row.resolved_by,
        resolved_at=moment_or_none(row.resolved_ms),
    )
