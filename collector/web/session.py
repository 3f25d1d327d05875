"""Who looks at a page: an API token, kept by the browser in a cookie that no script can read.

Nothing is kept here: each request verifies the token again, so a revoked one is out at once. The cookie is
SameSite=Strict and every change must come from our own pages, so no other site can act in a person's name.
"""

import urllib.parse
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.responses import Response

from collector.api.access import Caller, find_caller, missing_scope
from collector.api.problems import ApiProblem, refuse
from models.protocol import Code

COOKIE: Final = "gatehouse_session"
COOKIE_AGE_S: Final = 12 * 3600  # a working day; a wall display uses the browser's own way to stay
FORM_MAX_BYTES: Final = 4096


class LoginNeeded(Exception):
    """The request has no valid session; the answer is the way to the login page."""


async def session_caller(request: Request) -> Caller | None:
    """Who the session's cookie belongs to, if it is still good for reading."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    state = request.app.state
    caller = await find_caller(state.store, token, state.real_now_ms())
    return caller if caller is not None and "read" in caller.scopes else None


async def _viewer(request: Request) -> Caller:
    caller = await session_caller(request)
    if caller is None:
        raise LoginNeeded
    return caller


class _Acting:
    """A dependency: who acts on one of our own pages, and has this scope."""

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def __call__(self, request: Request) -> Caller:
        refuse_foreign(request)
        caller = await _viewer(request)
        if self._scope not in caller.scopes:
            raise missing_scope(caller, self._scope)
        return caller


Viewer = Annotated[Caller, Depends(_viewer)]
AlertKeeper = Annotated[Caller, Depends(_Acting("alerts:write"))]
GatewayKeeper = Annotated[Caller, Depends(_Acting("gateways:write"))]


def refuse_foreign(request: Request) -> None:
    """Raise unless the browser says that one of our own pages sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    else:  # over plain HTTP browsers send no Sec-Fetch-Site, except to their own machine
        origin = urllib.parse.urlsplit(request.headers.get("origin", ""))
        if origin.netloc and origin.netloc == request.headers.get("host"):
            return
    raise _foreign()


def _foreign() -> ApiProblem:
    return refuse(
        403,
        "foreign-page",
        "The request comes from elsewhere",
        detail="Only the collector's own pages may do this with a session.",
        hint="Open the page here and do it again; programs use /api/v1 with a token.",
    )


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_MAX_BYTES:
            raise refuse(
                413,
                "too-large",
                "The form is too large",
                detail=f"A form here has at most {FORM_MAX_BYTES} bytes.",
                hint="Send the login form as the page has it.",
            )
    try:
        return dict(urllib.parse.parse_qsl(body.decode(), max_num_fields=10))
    except ValueError:
        raise refuse(
            400,
            Code.MALFORMED,
            "The form cannot be read",
            detail="The body is not a form of at most 10 fields in UTF-8.",
            hint="Send the login form as the page has it.",
        ) from None


def safe_next(target: str | None) -> str:
    """`target` when it is an address of ours, else the overview."""
    if not target or not target.startswith("/") or target.startswith("//"):
        return "/"
    return "/" if any(c in target for c in "\\\r\n\t") else target


def remember(request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=COOKIE_AGE_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def forget(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
