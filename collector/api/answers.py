"""How a route's answers are described in OpenAPI: an example of success, and each refusal it may give."""

from typing import Any

from fastapi import FastAPI

from collector.api.problems import MEDIA_TYPE, Problem
from models.protocol import PROBLEM

_TIME_HINT = "Give 2025-11-03T08:00:00+08:00, 2025-11-03T00:00:00Z or milliseconds since 1970."

_REFUSALS: dict[int, tuple[str, dict[str, Any]]] = {
    400: (
        "The request cannot be read.",
        {
            "type": PROBLEM + "malformed",
            "title": "The request cannot be read",
            "status": 400,
            "detail": "The body is not JSON: Expecting value at character 0.",
            "hint": "Send what /openapi.json describes for this address.",
        },
    ),
    401: (
        "No token, or one that is unknown, revoked or expired.",
        {
            "type": PROBLEM + "no-token",
            "title": "A token is needed",
            "status": 401,
            "detail": "The request carries no token.",
            "hint": "Send `Authorization: Bearer ght_…`.",
        },
    ),
    403: (
        "The token has not the scope that this needs.",
        {
            "type": PROBLEM + "missing-scope",
            "title": "The token may not do this",
            "status": 403,
            "detail": "This needs the scope 'alerts:write'; the token 'wall display' has read.",
            "hint": "Make one with `collector api-token --name NAME --scope alerts:write`.",
        },
    ),
    404: (
        "There is no such thing among the sites of the token.",
        {
            "type": PROBLEM + "not-found",
            "title": "Not found",
            "status": 404,
            "detail": "There is no site 'hq2'.",
            "hint": "Known to this token: hq.",
        },
    ),
    409: (
        "It is no longer in a state in which this can be done.",
        {
            "type": PROBLEM + "already-resolved",
            "title": "The alert is closed",
            "status": 409,
            "detail": "Alert 7 of hq was closed by duty desk.",
            "hint": "If the condition comes back, a new alert opens.",
        },
    ),
    422: (
        "A parameter cannot be used.",
        {
            "type": PROBLEM + "invalid-parameter",
            "title": "A parameter cannot be used",
            "status": 422,
            "detail": "from: it has no zone, so it could be any of 24 hours.",
            "hint": _TIME_HINT,
            "parameters": [
                {
                    "name": "from",
                    "what": "it has no zone, so it could be any of 24 hours",
                    "hint": _TIME_HINT,
                }
            ],
        },
    ),
    503: (
        "The collector is busy; Retry-After says when to ask again.",
        {
            "type": PROBLEM + "busy",
            "title": "The collector is busy",
            "status": 503,
            "detail": "The collector cannot answer just now.",
            "hint": "Send the same request again in 5 s.",
        },
    ),
}


def answers(example: object, *refused: int, media_type: str = "application/json") -> dict[int | str, Any]:
    """The `responses` of a route: `example` of its 200, and 401, 403, 422, 503 beside `refused`."""
    described: dict[int | str, Any] = {
        200: {"content": {media_type: {"example": example}}, "description": "As asked."}
    }
    return described | refusals(401, 403, 422, 503, *refused)


def refusals(*statuses: int) -> dict[int | str, Any]:
    """The `responses` of a route for these statuses, each with an example of its problem."""
    described: dict[int | str, Any] = {}
    for status in sorted(set(statuses)):
        words, problem = _REFUSALS[status]
        described[status] = {
            "model": Problem,
            "description": words,
            "content": {MEDIA_TYPE: {"example": problem}},
        }
    return described


class DescribedApi(FastAPI):
    """An application whose description says what the problems are sent as.

    FastAPI describes every model of a response under the media type of the route's success.
    """

    def openapi(self) -> dict[str, Any]:
        description = super().openapi()
        for operations in description["paths"].values():
            for operation in operations.values():
                for response in operation["responses"].values():
                    content = response.get("content", {})
                    for media_type in set(content) - {MEDIA_TYPE} if MEDIA_TYPE in content else ():
                        content[MEDIA_TYPE]["schema"] = content.pop(media_type)["schema"]
        return description
