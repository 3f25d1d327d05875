"""Answers which gateways ask to be taken back, and lets people decide."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request

from collector.api import examples
from collector.api.access import Caller, Reads, WritesGateways
from collector.api.answers import answers
from collector.api.parameters import SiteCode
from collector.api.problems import not_found, refuse
from collector.api.shapes import ReturnDecision, ReturnItem, ReturnList, moment, moment_or_none
from collector.identity.next_key import (
    APPROVED,
    REJECTED,
    GatewayRevoked,
    NoSuchRequest,
    decide,
    open_requests,
)

router = APIRouter(prefix="/api/v1", tags=["gateways that come back"])
actions = APIRouter(prefix="/api/v1", tags=["gateways that come back"])

Code = Annotated[str, Path(max_length=100, description="Code of the request.", examples=["HWQE-DP24-COAR"])]


@router.get(
    "/gateway-returns",
    summary="Gateways that ask to be taken back",
    responses=answers({"items": [examples.RETURN]}, 404),
)
async def requests(request: Request, caller: Reads, site: SiteCode = None) -> ReturnList:
    """Their certificate has ended. Each has proved to have had its last key; compare the code with the one
    that `edge-agent status` shows on the gateway before you approve. There is one at most of each gateway.
    """
    scoped = caller.narrowed(site)
    state = request.app.state
    async with state.store.read() as connection:
        rows = await open_requests(connection, state.real_now_ms(), scoped.sites)
    items = [
        ReturnItem(
            code=row.code,
            gateway_id=row.gateway_id,
            site=row.site,
            name=row.name,
            state=row.state,
            asked_at=moment(row.asked_ms),
            last_asked_at=moment(row.last_asked_ms),
            last_seen_at=moment_or_none(row.last_seen_ms),
        )
        for row in rows
    ]
    return ReturnList(items=items)


@actions.post(
    "/gateway-returns/{code}/approve",
    summary="Take a gateway back",
    responses=answers({"gateway_id": "gw-4f1d2c9a7b30", "state": "approved"}, 404, 409),
)
async def approve(request: Request, caller: WritesGateways, code: Code) -> ReturnDecision:
    """It goes on under its old id, with what it has kept meanwhile, within two minutes."""
    return await decided(request, caller, code, APPROVED)


@actions.post(
    "/gateway-returns/{code}/reject",
    summary="Do not take a gateway back",
    responses=answers({"gateway_id": "gw-4f1d2c9a7b30", "state": "rejected"}, 404, 409),
)
async def reject(request: Request, caller: WritesGateways, code: Code) -> ReturnDecision:
    """For now: it may be approved later. To refuse all of it for good, revoke the gateway."""
    return await decided(request, caller, code, REJECTED)


async def decided(
    request: Request, caller: Caller, code: str, wanted: Literal["approved", "rejected"]
) -> ReturnDecision:
    """Decide in the name of the caller. Raise a problem for a code that nobody of his sites has."""
    state = request.app.state
    try:
        gateway_id = await decide(
            state.store,
            code,
            state=wanted,
            by=caller.name,
            now_ms=state.real_now_ms(),
            site_ids=caller.sites,
        )
    except NoSuchRequest:
        raise not_found(
            f"No gateway asks to be taken back with the code {code!r}.",
            "/api/v1/gateway-returns lists them; a gateway that asks anew has another code.",
        ) from None
    except GatewayRevoked as err:
        raise refuse(
            409,
            "gateway-revoked",
            "The gateway has been revoked",
            detail=str(err),
            hint="Make one with `collector enrollment-token`, and enrol the gateway again.",
        ) from None
    return ReturnDecision(gateway_id=gateway_id, state=wanted)
