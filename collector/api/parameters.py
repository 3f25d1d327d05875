"""What an address may carry after its `?`: times, ranges, pages; every mistake is named with a hint."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from fastapi.routing import APIRoute

from collector.api.cursors import Key, decode_cursor, encode_cursor
from collector.api.problems import ParameterProblem, bad_parameter, refuse
from models.times import DAY_MS

LIMIT_MAX: Final = 1000
LIMIT_DEFAULT: Final = 100
RANGE_MAX_DAYS: Final = 400  # a year to compare with the one before, and some weeks
_FIRST_MS: Final = 946_684_800_000  # 2000-01-01: older numbers are seconds, not milliseconds
_LAST_MS: Final = 4_102_444_800_000  # 2100-01-01
_TIME_HINT: Final = "Give 2025-11-03T08:00:00+08:00, 2025-11-03T00:00:00Z or milliseconds since 1970."
_SPACE_FOR_PLUS: Final = re.compile(r"^(\S+) (\d\d:?\d\d)$")


def parse_time(name: str, text: str) -> int:
    """Milliseconds since 1970 from ISO 8601 with zone, or from a number; raises the problem to answer."""
    text = text.strip()
    if re.fullmatch(r"[+-]?\d{1,20}", text):
        ms = int(text)
        if not _FIRST_MS <= ms < _LAST_MS:
            seconds = _FIRST_MS <= ms * 1000 < _LAST_MS
            what = "it looks like seconds" if seconds else "it lies outside the years 2000 to 2099"
            raise bad_parameter(name, what, f"Give {ms * 1000}." if seconds else _TIME_HINT)
        return ms
    if plus := _SPACE_FOR_PLUS.match(text):  # "+" means a space in an address unless written %2B
        text = f"{plus[1]}+{plus[2]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_parameter(name, "it is no time", _TIME_HINT) from None
    if moment.tzinfo is None:
        raise bad_parameter(name, "it has no zone, so it could be any of 24 hours", _TIME_HINT)
    try:
        ms = round(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        ms = 0
    if not _FIRST_MS <= ms < _LAST_MS:
        raise bad_parameter(name, "it lies outside the years 2000 to 2099", _TIME_HINT)
    return ms


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half open: `from_ms` is inside, `to_ms` is not."""

    from_ms: int
    to_ms: int


async def time_range(
    from_: Annotated[
        str,
        Query(
            alias="from",
            description="The first moment: ISO 8601 with zone, or milliseconds since 1970.",
            examples=["2025-11-03T00:00:00+08:00"],
        ),
    ],
    to: Annotated[
        str,
        Query(
            description=f"The end, itself outside; at most {RANGE_MAX_DAYS} days after `from`.",
            examples=["2025-11-04T00:00:00+08:00"],
        ),
    ],
) -> TimeRange:
    span = TimeRange(parse_time("from", from_), parse_time("to", to))
    if span.from_ms >= span.to_ms:
        raise bad_parameter("from", "it is not before `to`", "Exchange them, or move `to` later.")
    if span.to_ms - span.from_ms > RANGE_MAX_DAYS * DAY_MS:
        raise bad_parameter(
            "to", f"it is more than {RANGE_MAX_DAYS} days after `from`", "Ask for one year after the other."
        )
    return span


Range = Annotated[TimeRange, Depends(time_range)]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many items, and after which."""

    limit: int
    cursor: str | None

    def after(self, question: Sequence[object], shape: tuple[type, ...]) -> Key | None:
        """The key that the page begins after, None at the beginning."""
        return None if self.cursor is None else decode_cursor(self.cursor, question, shape)

    def cut(self, rows: Sequence[Any], question: Sequence[object], key: Sequence[str]) -> str | None:
        """The cursor of the next page, given one row more than `limit` if there is one."""
        if len(rows) <= self.limit:
            return None
        last = rows[self.limit - 1]
        return encode_cursor(question, tuple(getattr(last, name) for name in key))


async def page_request(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items a page.")] = LIMIT_DEFAULT,
    cursor: Annotated[
        str | None,
        Query(max_length=500, description="`next_cursor` of the page before; leave out for the first page."),
    ] = None,
) -> PageRequest:
    return PageRequest(limit, cursor)


Page = Annotated[PageRequest, Depends(page_request)]

SiteCode = Annotated[
    str | None, Query(max_length=130, description="Only this site (its code).", examples=["hq"])
]


async def known_parameters_only(request: Request) -> None:
    """Refuse a parameter that the route does not have: a typing mistake must not widen an answer."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute):
        return
    operation = request.app.openapi()["paths"][route.path][request.method.lower()]
    known = {part["name"] for part in operation.get("parameters", ()) if part["in"] == "query"}
    mistakes = []
    for name in request.query_params:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        known_text = ", ".join(sorted(known)) or "none at all"
        hint = f"Did you mean {near[0]}?" if near else f"This address takes {known_text}."
        mistakes.append(ParameterProblem(name=name[:100], what="there is no such parameter here", hint=hint))
    if mistakes:
        raise refuse(
            422,
            "invalid-parameter",
            "A parameter cannot be used",
            detail=f"{mistakes[0].name}: {mistakes[0].what}.",
            hint=mistakes[0].hint,
            parameters=mistakes,
        )
