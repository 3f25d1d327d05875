"""The pages: overview, devices, one device, alerts, one alert."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request
from sqlalchemy import Select, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import HTMLResponse, Response

from collector.alerts import service
from collector.api.access import Caller
from collector.api.alerts import act
from collector.api.pages import Order, read_page
from collector.api.parameters import PageRequest
from collector.api.problems import Problem, not_found
from collector.api.returns import decided
from collector.identity.next_key import APPROVED, REJECTED, open_requests
from collector.store.schema import alert, device
from collector.web import alerts as alert_words
from collector.web import charts, devices, live, login, overview
from collector.web.happened import newest_events
from collector.web.render import Words, language_of, page
from collector.web.session import AlertKeeper, GatewayKeeper, Viewer, session_caller
from collector.web.static_files import VersionedFiles
from collector.web.texts import has_text
from collector.web.told import newest_commands
from models.times import HOUR_MS

router = APIRouter()

ALERTS_A_PAGE: Final = 30

SiteFilter = Annotated[str | None, Query(max_length=100)]
SitePath = Annotated[str, Path(max_length=100)]
NumberPath = Annotated[int, Path(ge=1, le=2**31)]
CursorQuery = Annotated[str | None, Query(max_length=500)]


def install_pages(app: FastAPI) -> None:
    """Serve pages, their charts and live values, and static files."""
    app.mount("/static", VersionedFiles(packages=[("collector.web", "static")]))
    for part in (router, charts.router, live.router, login.router):
        app.include_router(part, include_in_schema=False)
    login.install(app)


@router.get("/")
async def overview_page(request: Request, caller: Viewer, site: SiteFilter = None) -> HTMLResponse:
    return page(request, "overview.html", caller, await _overview(request, caller, site))


@router.get("/parts/overview")
async def overview_part(request: Request, caller: Viewer, site: SiteFilter = None) -> HTMLResponse:
    """What of the overview changes by itself."""
    return page(request, "_overview.html", caller, await _overview(request, caller, site))


async def _overview(request: Request, caller: Caller, site: str | None) -> dict[str, Any]:
    scoped = caller.narrowed(site or None)
    now_ms = request.app.state.clock.now_ms()
    words = Words(language_of(request), now_ms)
    async with request.app.state.store.read() as connection:
        open_alerts = await overview.open_alerts(connection, scoped)
        return {
            "site": site or None,
            "gateways": await overview.gateways(connection, scoped, now_ms),
            "devices": await overview.devices(connection, scoped, now_ms),
            "returns": await open_requests(connection, request.app.state.real_now_ms(), scoped.sites),
            "amounts": await overview.today(connection, scoped, request.app.state.factors, now_ms),
            "open_alerts": open_alerts,
            "alerts": [_alert_card(row, caller, words) for row in open_alerts.shown],
        }


@router.post("/gateway-returns/{code}/{decision}")
async def decide_return(
    request: Request,
    caller: GatewayKeeper,
    code: Annotated[str, Path(max_length=100)],
    decision: Annotated[Literal["approve", "reject"], Path()],
) -> HTMLResponse:
    """What has been decided, in the place of the request."""
    told = await decided(request, caller, code, APPROVED if decision == "approve" else REJECTED)
    return page(request, "_return.html", caller, {"code": code, "told": told})


@router.get("/devices")
async def devices_page(
    request: Request,
    caller: Viewer,
    site: SiteFilter = None,
    q: Annotated[str, Query(max_length=100)] = "",
    cursor: CursorQuery = None,
) -> HTMLResponse:
    scoped = caller.narrowed(site or None)
    search = q.strip()
    store = request.app.state.store
    rows, next_cursor = await read_page(
        store,
        devices.devices_of(scoped, search),
        Order((device.c.site_id, device.c.id)),
        PageRequest(devices.DEVICES_A_PAGE, cursor),
        ("device pages", site, search),
    )
    async with store.read() as connection:
        values = {
            "site": site or None,
            "search": search,
            "cursor": cursor,
            "next_cursor": next_cursor,
            "total": await devices.count_devices(connection, scoped, search),
            "devices": await devices.with_headlines(connection, rows),
        }
    return page(request, "devices.html", caller, values)


@router.get("/devices/{site}/{number}")
async def device_page(
    request: Request,
    caller: Viewer,
    site: SitePath,
    number: NumberPath,
    point: Annotated[int | None, Query(ge=1, le=2**31)] = None,
    hours: Annotated[Literal["6", "24", "168"], Query()] = "24",
    end: Annotated[int | None, Query(ge=0, le=2**52)] = None,
) -> HTMLResponse:
    owner = caller.site(site)
    async with request.app.state.store.read() as connection:
        found = await devices.one_device(connection, caller, owner.id, number)
        words = Words(language_of(request), request.app.state.clock.now_ms())
        events = [] if found is None else await newest_events(connection, found.row, words)
        commands = [] if found is None else await newest_commands(connection, found.row, words)
    if found is None:
        raise not_found(f"Site {site} has no device {number}.", "/devices lists them.")
    counters = [row for row in found.points if row.kind == "counter"]
    headline = devices.headline_points(found.points)
    chosen = next((row for row in found.points if row.id == point), headline[0] if headline else None)
    counter = next((row for row in counters if row.id == point), None) or next(
        (row for row in headline if row.kind == "counter"), None
    )
    now_ms = request.app.state.clock.now_ms()
    span_ms = int(hours) * HOUR_MS
    at_ms = min(end or now_ms, now_ms)
    values = {
        "owner": owner,
        "device": found.row,
        "points": found.points,
        "counters": counters,
        "chosen": chosen,
        "counter": counter,
        "headline": headline,
        "events": events,
        "commands": commands,
        "hours": hours,
        "end": None if end is None or end >= now_ms else end,
        "older": at_ms - span_ms,
        "newer": at_ms + span_ms,
    }
    return page(request, "device.html", caller, values)


@router.get("/alerts")
async def alerts_page(
    request: Request,
    caller: Viewer,
    site: SiteFilter = None,
    show: Annotated[Literal["open", "all"], Query()] = "open",
    cursor: CursorQuery = None,
) -> HTMLResponse:
    scoped = caller.narrowed(site or None)
    statement: Select[Any] = select(alert).where(scoped.owns(alert.c.site_id))
    if show == "open":
        statement = statement.where(alert.c.state.in_(service.OPEN_STATES))
    rows, next_cursor = await read_page(
        request.app.state.store,
        statement,
        Order((alert.c.opened_ms, alert.c.site_id, alert.c.id), newest_first=True),
        PageRequest(ALERTS_A_PAGE, cursor),
        ("alert pages", site, show),
    )
    words = Words(language_of(request), request.app.state.clock.now_ms())
    values = {
        "site": site or None,
        "show": show,
        "cursor": cursor,
        "next_cursor": next_cursor,
        "alerts": [_alert_card(row, caller, words) for row in rows],
    }
    return page(request, "alerts.html", caller, values)


@router.get("/alerts/{site}/{alert_id}")
async def alert_page(request: Request, caller: Viewer, site: SitePath, alert_id: NumberPath) -> HTMLResponse:
    owner = caller.site(site)
    words = Words(language_of(request), request.app.state.clock.now_ms())
    async with request.app.state.store.read() as connection:
        row = await alert_words.one_alert(connection, caller, owner.id, alert_id)
        if row is None:
            raise not_found(f"Site {site} has no alert {alert_id}.", "/alerts lists them.")
        values = {
            "owner": owner,
            "alert": _alert_card(row, caller, words),
            "facts": alert_words.facts(row.data, words),
            "subject": await alert_words.subject(connection, caller, row, words),
            "history": await alert_words.history(connection, caller, row),
            "detector": alert_words.detector(row.detector, words),
            "who": lambda by: alert_words.who(by, words),
        }
    return page(request, "alert.html", caller, values)


@router.post("/alerts/{site}/{alert_id}/acknowledge")
async def acknowledge(
    request: Request, caller: AlertKeeper, site: SitePath, alert_id: NumberPath
) -> HTMLResponse:
    return await _acted(request, caller, await act(request, caller, site, alert_id, service.acknowledge))


@router.post("/alerts/{site}/{alert_id}/resolve")
async def resolve(
    request: Request, caller: AlertKeeper, site: SitePath, alert_id: NumberPath
) -> HTMLResponse:
    return await _acted(request, caller, await act(request, caller, site, alert_id, service.resolve))


async def _acted(request: Request, caller: Caller, row: Any) -> HTMLResponse:
    """The alert as it is now; the parts of the page that count alerts hear of it and fetch themselves."""
    words = Words(language_of(request), request.app.state.clock.now_ms())
    response = page(request, "_alert.html", caller, {"alert": _alert_card(row, caller, words)})
    response.headers["hx-trigger"] = "alerts-changed"
    return response


def _alert_card(row: Any, caller: Caller, words: Words) -> dict[str, Any]:
    site = caller.sites[row.site_id]
    return {
        "row": row,
        "site": site,
        "url": f"/alerts/{site.code}/{row.id}",
        "title": alert_words.title(row, words),
        "text": alert_words.body(row, words),
        "facts": alert_words.facts(row.data, words),
    }


async def problem_page(request: Request, problem: Problem) -> Response:
    """A problem for a person."""
    try:
        caller = await session_caller(request)
    except SQLAlchemyError:  # the page must come even when the database does not answer
        caller = None
    key = f"problem.{problem.status}"
    if not has_text(key):
        key = "problem.other"
    return page(request, "problem.html", caller, {"problem": problem, "key": key}, status=problem.status)
