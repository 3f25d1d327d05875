"""The stream of a page: values as they are shown, and that alerts have changed."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Row
from starlette.responses import StreamingResponse

from collector.api.access import Caller
from collector.api.live import PointKey
from collector.api.problems import bad_parameter
from collector.api.shapes import quality_word, reason_word
from collector.api.stream import open_stream
from collector.web.render import Words, language_of
from collector.web.session import Viewer, session_caller

router = APIRouter()

POINTS_MAX = 500  # more than the longest page shows


class _ForPages:
    def __init__(self, request: Request, caller: Caller) -> None:
        self._clock, self._language, self._caller = (
            request.app.state.clock,
            language_of(request),
            caller,
        )

    def value(self, row: Row[Any]) -> str:
        words = Words(self._language, self._clock.now_ms())
        shown = live_value(row, words, self._caller.sites[row.site_id].timezone)
        return json.dumps({"key": f"{row.site_id}.{row.point_id}", **shown}, ensure_ascii=False)

    def alert(self, row: Row[Any]) -> str:
        return "{}"  # the page asks for the parts that it shows


def live_value(row: Any, words: Words, zone: str) -> dict[str, Any]:
    """A value as pages show it, at first and in each change."""
    quality = quality_word(row.quality)
    reason = reason_word(row.reason)
    return {
        "text": words.number(row.value, row.decimals),
        "quality": quality,
        "quality_text": words(f"quality.{quality}"),
        "reason": "" if reason is None else words(f"reason.{reason}"),
        "time": words.clock(row.measured_ms, zone),
        "age_s": words.age_s(row.measured_ms),
    }


@router.get("/live")
async def live(
    request: Request, caller: Viewer, points: Annotated[str, Query(max_length=20_000)] = ""
) -> StreamingResponse:
    """`points` are the ones that the page shows, as SITE.POINT with commas between."""
    state = request.app.state

    async def is_valid() -> bool:
        return await session_caller(request) == caller

    return open_stream(
        state.live,
        state.store,
        caller,
        _ForPages(request, caller),
        is_valid,
        alerts_after=None,
        points=_keys(points),
        heartbeat_s=state.heartbeat_s,
    )


def _keys(points: str) -> frozenset[PointKey]:
    keys = set()
    for part in filter(None, points.split(",")):
        site, _, point = part.partition(".")
        if not (site.isascii() and site.isdigit() and point.isascii() and point.isdigit()) or len(part) > 30:
            raise bad_parameter(
                "points", f"{part[:30]!r} is no point", "Give SITE.POINT, with commas between."
            )
        keys.add((int(site), int(point)))
    if len(keys) > POINTS_MAX:
        raise bad_parameter("points", f"there are more than {POINTS_MAX}", "Open one stream for each page.")
    return frozenset(keys)
