"""Takes configurations for gateways, and answers what came of them and what runs where."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, Select, select

from collector.api import examples
from collector.api.access import Caller, Reads, WritesConfigurations
from collector.api.answers import answers
from collector.api.asked import asked, chosen_key
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, SiteCode
from collector.api.problems import ApiProblem, bad_parameter, not_found, refuse
from collector.api.shapes import (
    ActiveItem,
    ActiveRecord,
    PageOf,
    PushChangeItem,
    PushItem,
    PushRecord,
    PushState,
    moment,
)
from collector.control.configurations import ConfigurationDesk, Push, PushMistake
from collector.store.schema import active_configuration, configuration, configuration_change, gateway
from models.configuration import (
    CONFIRM_S,
    LONGEST_CONFIRM_S,
    LONGEST_LIFE_MS,
    MOST_BYTES,
    SHORTEST_CONFIRM_S,
    SHORTEST_LIFE_MS,
    unpack_files,
)
from models.times import DAY_MS

router = APIRouter(prefix="/api/v1", tags=["configurations"])
actions = APIRouter(prefix="/api/v1", tags=["configurations"])

MAX_BODY: Final = MOST_BYTES
_JSON: Final = "application/json"


class PushRequest(BaseModel):
    """The files that the gateway is to have; those that it has beside them stay as they are."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None, max_length=64, description="the key, when the header Idempotency-Key is not sent"
    )
    files: dict[str, str] = Field(
        description="by name, such as gateway.yaml, its devices_csv, or profiles in its profiles_dir",
        repr=False,
    )
    why: str = Field(default="", max_length=500, description="for the record")
    base: str | None = Field(
        default=None,
        max_length=64,
        description="digest of the configuration that this is a change of; if another one runs by then, the "
        "gateway refuses it. null: what the gateway has told last; empty: whatever it has",
    )
    confirm_within_s: float = Field(
        default=CONFIRM_S,
        ge=SHORTEST_CONFIRM_S,
        le=LONGEST_CONFIRM_S,
        description="unless this collector is reached with it within this, the gateway takes it back",
    )
    expires_in_s: float = Field(
        default=DAY_MS / 1000,
        ge=SHORTEST_LIFE_MS / 1000,
        le=LONGEST_LIFE_MS / 1000,
        description="after this the gateway does not begin with it any more",
    )


GatewayPath = Annotated[
    str, Path(max_length=100, description="Id of the gateway.", examples=["gw-4f1d2c9a7b30"])
]
SitePath = Annotated[str, Path(max_length=100, description="Code of the site.", examples=["hq"])]
PushPath = Annotated[
    str, Path(max_length=64, description="Key of the configuration.", examples=["converter-2"])
]


@actions.post(
    "/gateways/{gateway_id}/configuration",
    summary="Give a gateway another configuration",
    responses=answers(examples.PUSH_RECORD, 400, 404, 409),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": PushRequest.model_json_schema(), "example": examples.PUSH_WISH}},
        }
    },
)
async def push(
    request: Request,
    caller: WritesConfigurations,
    gateway_id: GatewayPath,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=64,
            description="A key of your choice, new for each configuration: letters, digits, '.', '_', ':' "
            "and '-'. The same request with the same key is pushed once, however often it is sent.",
        ),
    ] = None,
) -> PushRecord:
    """Offers it to the gateway, and answers at once; ask again for what came of it.

    A gateway takes configurations only where a technician has allowed it (`configuration.allow_push`). It
    checks each as a whole, tries it, and keeps it once this collector is reached with it; else it takes
    it back.
    """
    site_id = await _site_of(request, caller, gateway_id)
    wanted = await asked(
        request,
        PushRequest,
        most_bytes=MAX_BODY,
        what="a configuration",
        too_large="Bring it to the gateway on site.",
    )
    key = chosen_key(idempotency_key, wanted.id, what="configuration")
    desk: ConfigurationDesk = request.app.state.configurations
    wish = Push(
        id=key,
        gateway_id=gateway_id,
        files={name: text.encode() for name, text in wanted.files.items()},
        base=wanted.base,
        why=wanted.why,
        confirm_s=wanted.confirm_within_s,
        life_ms=round(wanted.expires_in_s * 1000),
        by=caller.name,
    )
    try:
        await desk.push(wish)
    except PushMistake as err:
        raise _refusal(err) from None
    return await _record(request, caller, site_id, key)


@router.get(
    "/gateways/{gateway_id}/configuration",
    summary="What runs at a gateway",
    responses=answers(examples.ACTIVE_RECORD, 404),
)
async def active(request: Request, caller: Reads, gateway_id: GatewayPath) -> ActiveRecord:
    """Its files, and who has made it so: on site, by a collector, or the gateway when it took one back."""
    site_id = await _site_of(request, caller, gateway_id)
    statement = _active_at(site_id, gateway_id).order_by(
        active_configuration.c.active_ms.desc(), active_configuration.c.number.desc()
    )
    async with request.app.state.store.read() as connection:
        row = (await connection.execute(statement.limit(1))).one_or_none()
    if row is None:
        raise not_found(f"The gateway {gateway_id} has not told what it runs.", "Update edge-agent there.")
    files = None if row.packed is None else unpack_files(row.packed)
    texts = None if files is None else {name: text.decode(errors="replace") for name, text in files.items()}
    return ActiveRecord(**_active_item(row).model_dump(), gateway_id=gateway_id, files=texts)


@router.get(
    "/gateways/{gateway_id}/configurations",
    summary="What was active at a gateway, the newest first",
    responses=answers(examples.page(examples.ACTIVE), 404),
)
async def history(request: Request, caller: Reads, page: Page, gateway_id: GatewayPath) -> PageOf[ActiveItem]:
    """Each configuration since when it was active, who made it so, and why."""
    site_id = await _site_of(request, caller, gateway_id)
    columns = active_configuration.c
    order = Order((columns.active_ms, columns.number), newest_first=True)
    question = ("active", gateway_id)
    statement = _active_at(site_id, gateway_id)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    return PageOf(items=[_active_item(row) for row in rows], next_cursor=cursor)


@router.get(
    "/configurations",
    summary="Pushed configurations, the newest first",
    responses=answers(examples.page(examples.PUSH), 404),
)
async def pushed(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    gateway_id: Annotated[str | None, Query(max_length=100, description="Only to this gateway.")] = None,
    state: Annotated[PushState | None, Query(description="Only configurations in this state.")] = None,
) -> PageOf[PushItem]:
    """Who pushed what to which gateway, and what came of it."""
    scoped = caller.narrowed(site)
    statement = select(configuration).where(scoped.owns(configuration.c.site_id))
    if gateway_id is not None:
        statement = statement.where(configuration.c.gateway_id == gateway_id)
    if state is not None:
        statement = statement.where(configuration.c.state == state)
    columns = configuration.c
    order = Order((columns.issued_ms, columns.site_id, columns.id), newest_first=True)
    question = ("configurations", site, gateway_id, state)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    return PageOf(items=[_item(row, scoped) for row in rows], next_cursor=cursor)


@router.get(
    "/configurations/{site}/{configuration_id}",
    summary="One pushed configuration with its history",
    responses=answers(examples.PUSH_RECORD, 404),
)
async def one_pushed(
    request: Request, caller: Reads, site: SitePath, configuration_id: PushPath
) -> PushRecord:
    """Every change is kept, with who made it: who pushed it, the gateway, or the collector itself."""
    return await _record(request, caller, caller.site(site).id, configuration_id)


async def _site_of(request: Request, caller: Caller, gateway_id: str) -> int:
    statement = select(gateway.c.site_id).where(gateway.c.id == gateway_id, caller.owns(gateway.c.site_id))
    async with request.app.state.store.read() as connection:
        site_id: int | None = (await connection.execute(statement)).scalar_one_or_none()
    if site_id is None:
        raise not_found(f"There is no gateway {gateway_id!r}.", "/api/v1/gateways lists them.")
    return site_id


def _active_at(site_id: int, gateway_id: str) -> Select[Any]:
    return select(active_configuration).where(
        active_configuration.c.site_id == site_id, active_configuration.c.gateway_id == gateway_id
    )


def _active_item(row: Row[Any]) -> ActiveItem:
    return ActiveItem(
        version=row.version,
        digest=row.digest,
        origin=row.origin,
        by=row.by,
        why=row.why,
        push_id=row.push_id or None,
        active_at=moment(row.active_ms),
    )


async def _record(request: Request, caller: Caller, site_id: int, push_id: str) -> PushRecord:
    statement = select(configuration).where(
        configuration.c.site_id == site_id,
        configuration.c.id == push_id,
        caller.owns(configuration.c.site_id),
    )
    changes = (
        select(configuration_change)
        .where(configuration_change.c.site_id == site_id, configuration_change.c.configuration_id == push_id)
        .order_by(configuration_change.c.number)
    )
    async with request.app.state.store.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
        if row is None:
            code = caller.sites[site_id].code
            hint = "/api/v1/configurations lists them."
            raise not_found(f"Site {code} has no pushed configuration {push_id!r}.", hint)
        found = (await connection.execute(changes)).all()
    told = [
        PushChangeItem(state=change.state, by=change.by, at=moment(change.at_ms), detail=change.detail)
        for change in found
    ]
    return PushRecord(**_item(row, caller).model_dump(), history=told)


def _item(row: Row[Any], caller: Caller) -> PushItem:
    return PushItem(
        site=caller.sites[row.site_id].code,
        id=row.id,
        gateway_id=row.gateway_id,
        files=sorted(unpack_files(row.packed)),
        base=row.base or None,
        why=row.why,
        issued_by=row.issued_by,
        issued_at=moment(row.issued_ms),
        expires_at=moment(row.expires_ms),
        confirm_within_s=row.confirm_s,
        state=row.state,
        code=row.outcome.get("code"),
        detail=row.outcome.get("detail"),
        problems=row.outcome.get("problems"),
    )


def _refusal(err: PushMistake) -> ApiProblem:
    detail, hint = f"{err.detail[:1].upper()}{err.detail[1:]}.", f"{err.hint[:1].upper()}{err.hint[1:]}."
    if err.code == "wrong":
        return bad_parameter("files", err.detail, hint)
    if err.code == "no-such-gateway":
        return not_found(detail, hint)
    return refuse(409, err.code, "The configuration cannot be pushed", detail=detail, hint=hint)
