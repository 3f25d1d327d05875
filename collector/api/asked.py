"""What a request asks for, read after its token was checked: who has none sends at most a header."""

from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from collector.api.problems import bad_parameter, malformed, refuse

Model = TypeVar("Model", bound=BaseModel)


async def asked(request: Request, model: type[Model], *, most_bytes: int, what: str, too_large: str) -> Model:
    """The body as `model`. `what` it is, such as "a command", and what to do when it is `too_large`.

    Raise ApiProblem and RequestValidationError. No more than `most_bytes` of it are ever held.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most_bytes:
                detail = f"{what[:1].upper()}{what[1:]} has at most {most_bytes} bytes."
                raise refuse(413, "too-large", "Too large", detail=detail, hint=too_large)
    except ClientDisconnect:
        raise malformed("The connection ended before the body did.") from None
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as err:
        mistakes = err.errors(include_input=False, include_url=False)
        if mistakes[0]["type"] == "json_invalid":
            raise malformed("The body is not JSON.") from None
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in mistakes]) from None


def chosen_key(header: str | None, body: str | None, *, what: str) -> str:
    """The key that a request chose, by its header or its body. Raise ApiProblem."""
    if header is None and body is None:
        raise bad_parameter(
            "Idempotency-Key",
            "it is missing, and so is `id`",
            f"Choose a key for each {what}; send the same again when you repeat a request.",
        )
    if header is not None and body is not None and header != body:
        raise bad_parameter("id", "it is another key than the header has", "Send one of the two.")
    return header or body or ""
