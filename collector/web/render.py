"""Turns templates into pages: language, numbers, times in the site's zone, and addresses of static files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from collector.api.access import Caller
from collector.api.inventory import ONLINE_AT_LEAST_MS, ONLINE_PERIODS
from collector.web.point_names import point_title
from collector.web.texts import LANGUAGES, Language, text

LANGUAGE_COOKIE: Final = "gatehouse_lang"
_YEAR_S: Final = 365 * 86_400
_NO_VALUE: Final = "—"

_environment = Environment(
    loader=PackageLoader("collector.web"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def language_of(request: Request) -> Language:
    """What the address says, else the cookie, else Chinese."""
    for wanted in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if wanted == language:
                return language
    return "zh"


@dataclass(frozen=True, slots=True)
class Words:
    """What templates and streams say things with: one language, and the time now."""

    language: Language
    now_ms: int

    def __call__(self, key: str, **parts: object) -> str:
        return text(self.language, key, **parts)

    def point(self, name: str) -> str:
        return point_title(name, self.language)

    def number(self, value: float | None, decimals: int = 2) -> str:
        return _NO_VALUE if value is None else f"{value:,.{max(0, decimals)}f}"

    def unit(self, unit: str) -> str:
        """As people see it: a plain number has none."""
        return "" if unit == "1" else unit

    def amount(self, value: float | None, unit: str) -> str:
        """A sum, with as many digits as a person reads at a glance."""
        if value is None:
            return _NO_VALUE
        decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{decimals}f} {unit}".rstrip()

    def moment(self, ms: int | None, zone: str) -> str:
        """Date and time at the site; the year only when it is another one."""
        if ms is None:
            return _NO_VALUE
        then = local(ms, zone)
        same_year = then.year == local(self.now_ms, zone).year
        return then.strftime("%m-%d %H:%M" if same_year else "%Y-%m-%d %H:%M")

    def clock(self, ms: int | None, zone: str) -> str:
        """The time of a live value: the time of day, and the date when it is not of today."""
        if ms is None:
            return _NO_VALUE
        then, now = local(ms, zone), local(self.now_ms, zone)
        if then.date() == now.date():
            return then.strftime("%H:%M:%S")
        return then.strftime("%m-%d %H:%M" if then.year == now.year else "%Y-%m-%d %H:%M")

    def ago(self, ms: int | None) -> str:
        if ms is None:
            return self("gateway.never")
        seconds = max(0, self.now_ms - ms) // 1000
        for limit, size, key in ((5, 1, "now"), (90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
            if seconds < limit:
                return self(f"ago.{key}", n=seconds // size)
        return self("ago.d", n=seconds // 86_400)

    def age_s(self, ms: int) -> int:
        return max(0, self.now_ms - ms) // 1000

    def stale_after_s(self, period_s: float | None) -> int:
        """A value older than this is shown as old; it may still be the newest there is."""
        return max(ONLINE_AT_LEAST_MS // 1000, round(ONLINE_PERIODS * (period_s or 0)))

    def is_stale(self, ms: int, period_s: float | None) -> bool:
        return self.age_s(ms) > self.stale_after_s(period_s)

    def every(self, seconds: float | None) -> str:
        if seconds is None:
            return _NO_VALUE
        if seconds >= 120 and seconds % 60 == 0:
            return self("every.min", n=int(seconds // 60))
        return self("every.s", n=f"{seconds:g}")

    def iso(self, ms: int, zone: str) -> str:
        return local(ms, zone).isoformat(timespec="seconds")


def local(ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone))


def page(
    request: Request,
    template: str,
    caller: Caller | None,
    values: Mapping[str, Any],
    *,
    status: int = 200,
) -> HTMLResponse:
    """The page, in the language that the request asks for; a `lang` in the address is remembered."""
    words = Words(language_of(request), request.app.state.clock.now_ms())
    other = LANGUAGES[1 - LANGUAGES.index(words.language)]
    html = _environment.get_template(template).render(
        t=words,
        viewer=caller,
        path=request.url.path,
        other_language=other,
        other_language_url=_with_language(request, other),
        static=static_url,
        **values,
    )
    response = HTMLResponse(html, status)
    if request.query_params.get("lang") == words.language:
        response.set_cookie(
            LANGUAGE_COOKIE, words.language, max_age=_YEAR_S, path="/", samesite="lax", httponly=True
        )
    return response


def _with_language(request: Request, language: Language) -> str:
    kept = [(k, v) for k, v in parse_qsl(request.url.query) if k != "lang"]
    return f"?{urlencode([*kept, ('lang', language)])}"


@cache
def static_url(name: str) -> str:
    """The address of a static file with its digest, so that browsers may keep it for good."""
    content = files("collector.web").joinpath("static", *name.split("/")).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"
