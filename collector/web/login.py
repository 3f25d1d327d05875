"""Logging in with an API token, and out again."""

from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from collector.api.access import find_caller
from collector.api.problems import problem_response, refuse
from collector.web.render import page
from collector.web.session import (
    LoginNeeded,
    forget,
    read_form,
    refuse_foreign,
    remember,
    safe_next,
    session_caller,
)

router = APIRouter()


def install(app: FastAPI) -> None:
    """Show the way to the login page wherever a session is missing."""

    @app.exception_handler(LoginNeeded)
    async def login_needed(request: Request, _: LoginNeeded) -> Response:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if "text/html" not in request.headers.get("accept", ""):  # a chart or live values
            problem = refuse(
                401,
                "no-session",
                "A login is needed",
                detail="The session is missing or over.",
                hint="Log in at /login.",
            ).problem
            return problem_response(problem)
        if request.headers.get("hx-request"):  # a part of a page cannot become the login page
            return Response(status_code=204, headers={"hx-redirect": "/login"})
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # Browsers keep a strict cookie back on the way from another site, such as a mail's link to
            # an alert. Coming back from our own page, they send it.
            return page(request, "bounce.html", None, {"target": safe_next(target)})
        return RedirectResponse(f"/login?next={quote(safe_next(target), safe='/')}", 303)


@router.get("/login")
async def login_page(request: Request, next: str = "/") -> Response:
    if await session_caller(request) is not None:
        return RedirectResponse(safe_next(next), 303)
    return _form(request, next, None, 200)


@router.post("/login")
async def log_in(request: Request) -> Response:
    refuse_foreign(request)
    fields = await read_form(request)
    token, target = fields.get("token", "").strip(), safe_next(fields.get("next"))
    state = request.app.state
    caller = await find_caller(state.store, token, state.real_now_ms()) if token else None
    if caller is None:
        return _form(request, target, "login.wrong", 403)
    if "read" not in caller.scopes:
        return _form(request, target, "login.scope", 403)
    response = RedirectResponse(target, 303)
    remember(request, response, token)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    refuse_foreign(request)
    response = RedirectResponse("/login", 303)
    forget(response)
    return response


def _form(request: Request, target: str, mistake: str | None, status: int) -> HTMLResponse:
    return page(request, "login.html", None, {"next": safe_next(target), "mistake": mistake}, status=status)
