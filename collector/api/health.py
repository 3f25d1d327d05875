"""Says whether the process lives, and whether it can do its work."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from collector.api.answers import refusals
from collector.api.problems import refuse
from collector.store.engine import Store

router = APIRouter(tags=["health"])

WRITE_LIMIT_S: Final = 5.0  # a write that waits longer keeps gateways waiting too


class Health(BaseModel):
    status: str


@router.get(
    "/healthz",
    summary="Does the process live",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
)
async def healthz() -> Health:
    """Answers as long as the process runs; needs no token and looks at nothing."""
    return Health(status="alive")


@router.get(
    "/readyz",
    summary="Can it do its work",
    responses=refusals(503)
    | {200: {"content": {"application/json": {"example": {"status": "ready"}}}, "description": "It can."}},
)
async def readyz(request: Request) -> Health:
    """Whether the database takes a write now and every job runs; needs no token."""
    stopped = sorted(name for name, alive in request.app.state.jobs().items() if not alive)
    if stopped:
        raise refuse(
            503,
            "not-ready",
            "The collector is not ready",
            detail=f"Jobs that have stopped: {', '.join(stopped)}.",
            hint="See the collector's log for the reason, then start it again.",
        )
    if not await _takes_writes(request.app.state.store):
        raise refuse(
            503,
            "not-ready",
            "The collector is not ready",
            detail="The database does not take a write now.",
            hint="See whether its disk is full or another program holds it; the log has the reason.",
        )
    return Health(status="ready")


async def _takes_writes(store: Store) -> bool:
    try:
        async with asyncio.timeout(WRITE_LIMIT_S), store.write() as connection:
            # A real page to the disk, and no change: a full or read-only disk shows here.
            await connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
    except (TimeoutError, SQLAlchemyError):
        return False
    return True
