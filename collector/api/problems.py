"""Every refusal as problem+json (RFC 9457): what is wrong, where, and what to do next."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as DatabaseTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import BadInput, RetryLater
from models.protocol import PROBLEM, Code

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 5
"""What a caller is asked to wait when the collector cannot answer just now: a lock is gone by then."""

_log = logging.getLogger(__name__)

PageForProblem = Callable[[Request, "Problem"], Awaitable[Response]]
"""Shows a problem to a person; programs get the JSON."""


class ParameterProblem(BaseModel):
    """One parameter that cannot be used."""

    name: str = Field(description="as it stands in the address, or the field of the body")
    what: str = Field(description="what is wrong with it")
    hint: str = Field(description="what to send instead")


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(description="urn:gatehouse:problem:… — what a program acts on")
    title: str
    status: int
    detail: str = Field(description="what is wrong with this request")
    hint: str = Field(description="what to do next")
    parameters: list[ParameterProblem] | None = None
    incident: str | None = Field(default=None, description="names the entry in the collector's log")


class ApiProblem(BadInput):
    """A refusal with its problem; raise it anywhere below a route."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{problem.detail} {problem.hint}")
        self.problem, self.headers = problem, dict(headers or {})


def refuse(
    status: int,
    code: str,
    title: str,
    *,
    detail: str,
    hint: str,
    parameters: Sequence[ParameterProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ApiProblem:
    """The error to raise for a refusal with these words."""
    return ApiProblem(
        Problem(
            type=PROBLEM + code,
            title=title,
            status=status,
            detail=detail,
            hint=hint,
            parameters=list(parameters) if parameters else None,
        ),
        headers,
    )


def bad_parameter(name: str, what: str, hint: str) -> ApiProblem:
    """One parameter of the address cannot be used."""
    return refuse(
        422,
        "invalid-parameter",
        "A parameter cannot be used",
        detail=f"{name}: {what}.",
        hint=hint,
        parameters=[ParameterProblem(name=name, what=what, hint=hint)],
    )


def not_found(what: str, hint: str) -> ApiProblem:
    """There is no such thing, or the caller may not know of it: the answer is the same."""
    return refuse(404, "not-found", "Not found", detail=what, hint=hint)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def install_problems(app: FastAPI, page: PageForProblem) -> None:
    """Make every error of `app` a problem, and a page where a browser asked for one."""

    async def answer(request: Request, error: ApiProblem) -> Response:
        if _wants_page(request):
            return await page(request, error.problem)
        return problem_response(error.problem, error.headers)

    @app.exception_handler(ApiProblem)
    async def api_problem(request: Request, error: ApiProblem) -> Response:
        return await answer(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        return await answer(request, _from_http(request, error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return await answer(request, _from_validation(error))

    @app.exception_handler(RetryLater)
    @app.exception_handler(OperationalError)  # such as a database that another program holds
    @app.exception_handler(DatabaseTimeout)  # every connection is in use
    async def busy(request: Request, error: Exception) -> Response:
        _log.warning("%s %s: busy: %s", request.method, request.url.path, error)
        return await answer(request, _busy())


def _wants_page(request: Request) -> bool:
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(("/api/", "/gateway/"))


def _busy() -> ApiProblem:
    return refuse(
        503,
        Code.BUSY,
        "The collector is busy",
        detail="The collector cannot answer just now.",
        hint=f"Send the same request again in {RETRY_AFTER_S} s.",
        headers={"retry-after": str(RETRY_AFTER_S)},
    )


def _from_http(request: Request, error: HTTPException) -> ApiProblem:
    path = request.url.path
    if error.status_code == 404:
        return not_found(f"There is nothing at {path}.", "All addresses of the API stand in /openapi.json.")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return refuse(
            405,
            "method-not-allowed",
            "This method is not possible here",
            detail=f"{path} does not take {request.method}.",
            hint=f"Use {allowed}." if allowed else "All addresses of the API stand in /openapi.json.",
            headers=error.headers,
        )
    if error.status_code == 400:
        return malformed(str(error.detail))
    return refuse(
        error.status_code,
        f"http-{error.status_code}",
        "The request was refused",
        detail=str(error.detail),
        hint="All addresses of the API stand in /openapi.json.",
        headers=error.headers,
    )


def malformed(what: str) -> ApiProblem:
    """The request is not what the address takes."""
    return refuse(
        400,
        Code.MALFORMED,
        "The request cannot be read",
        detail=what,
        hint="Send what /openapi.json describes for this address.",
    )


def _from_validation(error: RequestValidationError) -> ApiProblem:
    mistakes = list(error.errors())
    for mistake in mistakes:
        if mistake["type"] in {"json_invalid", "json_type"}:
            where = mistake["loc"][-1]
            return malformed(f"The body is not JSON: {_reason(mistake)} at character {where}.")
    parameters = [
        ParameterProblem(
            name=".".join(str(part) for part in mistake["loc"][1:]) or str(mistake["loc"][0]),
            what=mistake["msg"][:1].lower() + mistake["msg"][1:],
            hint=_hint(mistake),
        )
        for mistake in mistakes
    ]
    first = parameters[0]
    return refuse(
        422,
        "invalid-parameter",
        "A parameter cannot be used",
        detail=f"{first.name}: {first.what}.",
        hint=first.hint,
        parameters=parameters,
    )


def _reason(mistake: Mapping[str, Any]) -> str:
    return str(mistake.get("ctx", {}).get("error", mistake["msg"]))


def _hint(mistake: Mapping[str, Any]) -> str:
    ctx: Mapping[str, Any] = mistake.get("ctx", {})
    match mistake["type"]:
        case "missing":
            return "Add it; /openapi.json has an example."
        case "int_parsing" | "int_type" | "int_from_float":
            return "Give a whole number."
        case "greater_than_equal":
            return f"Give {ctx['ge']} or more."
        case "less_than_equal":
            return f"Give {ctx['le']} or less."
        case "literal_error" | "enum":
            return f"Give {ctx['expected']}."
        case _:
            return "/openapi.json has an example."


class UnexpectedErrors:
    """Turns an error that nobody foresaw into a problem that says nothing about our insides."""

    def __init__(self, app: ASGIApp, page: PageForProblem) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            incident = secrets.token_hex(4)
            _log.exception("incident %s: %s %s", incident, scope["method"], scope["path"])
            if started:
                raise  # the answer has begun; cutting the connection is all that is left
            problem = Problem(
                type=PROBLEM + "internal",
                title="The collector made a mistake",
                status=500,
                detail="The request could not be carried out.",
                hint="Try again; if it stays, give the incident to whoever runs the collector.",
                incident=incident,
            )
            await (await self._answer(Request(scope), problem))(scope, receive, send)

    async def _answer(self, request: Request, problem: Problem) -> Response:
        if _wants_page(request):
            try:
                return await self._page(request, problem)
            except Exception:
                _log.exception("the page for incident %s could not be made", problem.incident)
        return problem_response(problem)
