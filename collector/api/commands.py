"""Takes commands to devices, and answers what came of them."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row, Select, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from collector.api import examples
from collector.api.access import Caller, Reads, WritesCommands
from collector.api.answers import answers
from collector.api.asked import asked, chosen_key
from collector.api.pages import Order, read_page
from collector.api.parameters import Page, SiteCode
from collector.api.problems import ApiProblem, bad_parameter, not_found, refuse
from collector.api.shapes import CommandChangeItem, CommandItem, CommandRecord, PageOf, moment
from collector.control.desk import CommandDesk, CommandMistake, Wish
from collector.store.schema import command, command_change, device
from models.actions import ACTIONS, ArgumentsWrong
from models.command import LONGEST_LIFE_MS, MAX_COMMAND_BYTES, SHORTEST_LIFE_MS

router = APIRouter(prefix="/api/v1", tags=["commands"])
actions = APIRouter(prefix="/api/v1", tags=["commands"])

MAX_BODY: Final = MAX_COMMAND_BYTES
_JSON: Final = "application/json"


class CommandRequest(BaseModel):
    """What is to be done, and until when it may begin."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None, max_length=64, description="the key, when the header Idempotency-Key is not sent"
    )
    action: str = Field(max_length=60, description=f"one of: {', '.join(ACTIONS)}")
    arguments: dict[str, Any] = Field(
        default={},
        description="of `write`: point, value; of `open_once`, `lock`, `unlock`: door; of `put_pass`: pass, "
        "doors, from_ms, to_ms, card or pin; of `take_pass`: pass; of `set_time`: none",
        repr=False,
    )
    expires_in_s: float = Field(
        default=60,
        ge=SHORTEST_LIFE_MS / 1000,
        le=LONGEST_LIFE_MS / 1000,
        description="after this it is not begun any more",
    )


SitePath = Annotated[str, Path(max_length=100, description="Code of the site.", examples=["hq"])]
DevicePath = Annotated[int, Path(ge=1, le=2**31, description="Number of the device in its site.")]
CommandPath = Annotated[str, Path(max_length=64, description="Key of the command.", examples=["open-4711"])]


@actions.post(
    "/devices/{site}/{device}/commands",
    summary="Tell a device to do something",
    responses=answers(examples.COMMAND_RECORD, 400, 404, 409),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": CommandRequest.model_json_schema(), "example": examples.WISH}},
        }
    },
)
async def give(
    request: Request,
    caller: WritesCommands,
    site: SitePath,
    device: DevicePath,
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=64,
            description="A key of your choice, new for each command: letters, digits, '.', '_', ':' and '-'. "
            "The same request with the same key is carried out once, however often it is sent.",
        ),
    ] = None,
) -> CommandRecord:
    """Offers the command to the device's gateway, and answers at once; ask again for what came of it.

    The gateway carries out what its own configuration allows, once, and nothing after its time. Card numbers
    and PINs are sealed for the gateway; they are not kept and not shown.
    """
    owner = caller.site(site)
    wanted = await asked(
        request,
        CommandRequest,
        most_bytes=MAX_BODY,
        what="a command",
        too_large="Give each command by itself.",
    )
    key = chosen_key(idempotency_key, wanted.id, what="command")
    desk: CommandDesk = request.app.state.desk
    wish = Wish(
        id=key,
        site_id=owner.id,
        device=device,
        action=wanted.action,
        arguments=wanted.arguments,
        life_ms=round(wanted.expires_in_s * 1000),
        by=caller.name,
    )
    try:
        await desk.give(wish)
    except ArgumentsWrong as err:
        raise bad_parameter(err.where, err.what, "/openapi.json says what each action takes.") from None
    except CommandMistake as err:
        raise _refusal(err) from None
    return await _record(request, caller, owner.id, key)


@router.get(
    "/commands",
    summary="Commands, the newest first",
    responses=answers(examples.page(examples.COMMAND), 404),
)
async def list_commands(
    request: Request,
    caller: Reads,
    page: Page,
    site: SiteCode = None,
    device: Annotated[
        int | None, Query(ge=1, le=2**31, description="Only to the devices with this number.")
    ] = None,
    state: Annotated[
        Literal["waiting", "sent", "done", "refused", "failed", "expired"] | None,
        Query(description="Only commands in this state."),
    ] = None,
) -> PageOf[CommandItem]:
    """Who told what to which device, and what came of it; also what technicians did on site."""
    scoped = caller.narrowed(site)
    statement = commands_of(scoped)
    if device is not None:
        statement = statement.where(_device_number == device)
    if state is not None:
        statement = statement.where(command.c.state == state)
    order = Order((command.c.issued_ms, command.c.site_id, command.c.number), newest_first=True)
    question = ("commands", site, device, state)
    rows, cursor = await read_page(request.app.state.store, statement, order, page, question)
    return PageOf(items=[_item(row, scoped) for row in rows], next_cursor=cursor)


@router.get(
    "/commands/{site}/{command_id}",
    summary="One command with its history",
    responses=answers(examples.COMMAND_RECORD, 404),
)
async def one_command(
    request: Request, caller: Reads, site: SitePath, command_id: CommandPath
) -> CommandRecord:
    """Every change is kept, with who made it: who gave the command, the gateway, or the collector itself."""
    return await _record(request, caller, caller.site(site).id, command_id)


_device_number = device.c.id


def commands_of(caller: Caller) -> Select[Any]:
    """Commands with the number and the name of their device, where the collector knows it."""
    return (
        select(command, _device_number.label("device"), device.c.name.label("device_name"))
        .join_from(
            command,
            device,
            and_(
                device.c.site_id == command.c.site_id,
                device.c.gateway_id == command.c.gateway_id,
                device.c.device_id == command.c.device_id,
            ),
            isouter=True,
        )
        .where(caller.owns(command.c.site_id))
    )


async def _record(request: Request, caller: Caller, site_id: int, command_id: str) -> CommandRecord:
    statement = commands_of(caller).where(command.c.site_id == site_id, command.c.id == command_id)
    async with request.app.state.store.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
        if row is None:
            code = caller.sites[site_id].code
            raise not_found(f"Site {code} has no command {command_id!r}.", "/api/v1/commands lists them.")
        history = await _history(connection, row)
    return CommandRecord(**_item(row, caller).model_dump(), history=history)


async def _history(connection: AsyncConnection, row: Row[Any]) -> list[CommandChangeItem]:
    changes = (
        select(command_change)
        .where(command_change.c.site_id == row.site_id, command_change.c.command_id == row.id)
        .order_by(command_change.c.number)
    )
    return [
        CommandChangeItem(state=change.state, by=change.by, at=moment(change.at_ms), detail=change.detail)
        for change in (await connection.execute(changes)).all()
    ]


def _item(row: Row[Any], caller: Caller) -> CommandItem:
    return CommandItem(
        site=caller.sites[row.site_id].code,
        id=row.id,
        gateway_id=row.gateway_id,
        device=row.device,
        device_id=row.device_id,
        action=row.action,
        arguments=row.arguments,
        origin=row.origin,
        issued_by=row.issued_by,
        issued_at=moment(row.issued_ms),
        expires_at=moment(row.expires_ms),
        state=row.state,
        result=row.outcome.get("result"),
        code=row.outcome.get("code"),
        detail=row.outcome.get("detail"),
    )


def _refusal(err: CommandMistake) -> ApiProblem:
    detail, hint = f"{err.detail[:1].upper()}{err.detail[1:]}.", f"{err.hint[:1].upper()}{err.hint[1:]}."
    if err.code == "no-such-device":
        return not_found(detail, hint)
    return refuse(409, err.code, "The command cannot be given", detail=detail, hint=hint)
