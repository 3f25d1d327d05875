"""Hands out style, scripts and icons."""

from typing import Final

from starlette.datastructures import URL
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


class VersionedFiles(StaticFiles):
    """Files that browsers keep for good when the address names their digest, as `static_url` does."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in (200, 304):
            versioned = "v=" in URL(scope=scope).query
            response.headers["cache-control"] = _FOR_GOOD if versioned else _ASK_AGAIN
        return response
