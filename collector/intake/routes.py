"""The addresses that gateways use. They read, ask the intake or the enrolment, and answer."""

import base64
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from collector.api.problems import ApiProblem, refuse
from collector.control.desk import LONGEST_WAIT_S, CommandDesk
from collector.identity.ca import RequestRefused
from collector.identity.enrolment import Enrolment
from collector.identity.next_key import NextKeys
from collector.identity.peer import is_behind_tls, peer_of
from collector.identity.tokens import TokenRefused
from collector.intake.refusals import IntakeBusy, Refused
from collector.intake.service import Intake
from models.announcement import MAX_ANNOUNCEMENT_BYTES
from models.envelope import MAX_ENVELOPE_BYTES
from models.protocol import (
    CLOCK_HEADER,
    MOST_GOT,
    Code,
    CollectorKeyOffer,
    CommandOffer,
    EnrollRequest,
    EnrollResponse,
    NextKeyRequest,
    Receipt,
    RenewResponse,
    ReturnResponse,
)

T = TypeVar("T")
Asked = TypeVar("Asked", EnrollRequest, NextKeyRequest)

MAX_PACKAGE_BYTES: Final = 1 << 16
MAX_ENROLL_BYTES: Final = 1 << 15

router = APIRouter(prefix="/gateway/v1", tags=["gateways"])

# code: status, title, what to do next
_ANSWERS: Final = {
    Code.MALFORMED: (400, "This is not what belongs here", "Update edge-agent or the collector."),
    Code.NO_CERTIFICATE: (401, "Only enrolled gateways may send", "Enrol with `edge-agent enroll TOKEN`."),
    Code.CERTIFICATE_ENDED: (
        401,
        "The certificate has ended",
        "Set the clock of the gateway; or let it ask to be taken back, and approve that: "
        "`collector gateways requests`.",
    ),
    Code.RETURN_REJECTED: (
        403,
        "This gateway is not taken back",
        "If that is a mistake, `collector gateways approve CODE`, or enrol it again with a token.",
    ),
    Code.REVOKED: (
        403,
        "This gateway may no longer send",
        "If that is a mistake, make a token with `collector enrollment-token` and enrol it again.",
    ),
    Code.WRONG_SUITE: (
        403,
        "Sealed by another suite",
        "A gateway seals by the suite that it was enrolled with; to change it, enrol the gateway again.",
    ),
    Code.FOREIGN_GATEWAY: (
        403,
        "Sealed by another gateway",
        "A gateway sends only its own batches; was the state folder of another one copied here?",
    ),
    Code.TOKEN_UNKNOWN: (403, "The token is unknown", "Make one with `collector enrollment-token`."),
    Code.TOKEN_USED: (403, "The token has been used", "Make one with `collector enrollment-token`."),
    Code.TOKEN_EXPIRED: (403, "The token has expired", "Make one with `collector enrollment-token`."),
    Code.TOKEN_OTHER_KIND: (
        403,
        "The token is for another kind",
        "Make one with `collector enrollment-token --for gateway`, or `--for collector`.",
    ),
    Code.NOT_WANTED: (
        403,
        "Nothing of this gateway is taken",
        "It was revoked here, or is no gateway of the collector that sends this; others are not touched.",
    ),
    Code.UNKNOWN_GATEWAY: (
        409,
        "The gateway is not known",
        "PUT its announcement to /gateway/v1/forwarded/, then the same again.",
    ),
    Code.UNKNOWN_KEY: (
        409,
        "The content key is not known",
        "PUT its package to /gateway/v1/keys/, then again.",
    ),
    Code.CHAIN_BROKEN: (
        409,
        "The chain of batches does not hold",
        "Look into `edge-agent status`; a store that was copied or restored must begin a new epoch.",
    ),
    Code.TOO_LARGE: (413, "Too large", f"Send envelopes of at most {MAX_ENVELOPE_BYTES} bytes."),
    Code.BAD_SIGNATURE: (422, "The signature is wrong", "Send the stored envelope again, byte for byte."),
    Code.CANNOT_OPEN: (422, "Cannot be opened", "Seal it anew, or enrol the gateway again."),
}


async def _peer(request: Request) -> str:
    intake: Intake = request.app.state.intake
    with _refusals_answered():
        return await intake.check_peer(peer_of(request.scope))


Sender = Annotated[str, Depends(_peer)]


@router.post("/enroll", status_code=201)
async def enroll(request: Request) -> EnrollResponse:
    """Turn a token and a certificate request into a certificate."""
    enrolment: Enrolment = request.app.state.enrolment
    return await _identified(request, EnrollRequest, enrolment.enrol)


@router.post("/certificate")
async def renew(request: Request, sender: Sender) -> RenewResponse:
    """The certificate for the next key of a gateway whose present one is still good."""
    keys: NextKeys = request.app.state.next_keys
    return await _identified(request, NextKeyRequest, partial(keys.renew, sender=sender), sender)


@router.post("/return")
async def take_back(request: Request) -> ReturnResponse:
    """Ask to be taken back after the certificate has ended; again and again, until somebody has decided."""
    wait_s = request.app.state.strangers.wait_s(request.client.host if request.client else "")
    if wait_s > 0:
        raise _busy("more questions come from there than are answered", wait_s)
    keys: NextKeys = request.app.state.next_keys
    return await _identified(request, NextKeyRequest, keys.take_back)


async def _identified(
    request: Request, model: type[Asked], work: Callable[[Asked], Awaitable[T]], sender: str = ""
) -> T:
    """What `work` makes of a question about who somebody is. What is refused is counted for `sender`."""
    if not sender and not is_behind_tls(request.scope):
        raise _problem(Code.NO_CERTIFICATE, "gateways ask by TLS, at the address in their token")
    try:
        return await work(model.model_validate_json(await _body(request, MAX_ENROLL_BYTES, sender)))
    except ValidationError as err:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors(include_input=False)
        )
        refused = Refused(Code.MALFORMED, wrong)
    except RequestRefused as err:
        refused = Refused(Code.MALFORMED, str(err))
    except TokenRefused as err:
        refused = Refused(err.code, err.detail)
    except Refused as err:
        refused = err
    await request.app.state.intake.note_refusal(sender, refused.code, refused.detail)
    raise _problem(refused.code, refused.detail)


@router.get("/time", status_code=204)
async def tell_time(request: Request, response: Response, sender: Sender) -> None:
    """What the collector's clock shows, for gateways whose own is not kept by a time service."""
    await _check_active(request, sender)
    await request.app.state.intake.note_heard(sender)
    response.headers[CLOCK_HEADER] = str(request.app.state.clock.now_ms())


@router.get("/commands")
async def offer_commands(
    request: Request,
    response: Response,
    sender: Sender,
    wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
    got: Annotated[list[str], Query(max_length=MOST_GOT)] = [],  # noqa: B006  # never changed
    everything: bool = False,
) -> CommandOffer:
    """Commands for this gateway, as soon as there are any. They come again until they are named as `got`."""
    desk: CommandDesk = request.app.state.desk
    await _check_active(request, sender)
    with _refusals_answered():
        signed = await desk.offers(sender, got=got, everything=everything, wait_s=wait_s)
    response.headers[CLOCK_HEADER] = str(request.app.state.clock.now_ms())
    return CommandOffer(commands=[base64.b64encode(command).decode() for command in signed])


@router.get("/collector-key")
async def offer_collector_key(request: Request, sender: Sender) -> CollectorKeyOffer:
    """What the gateway is to seal content keys to from now on. Receipts name it."""
    enrolment: Enrolment = request.app.state.enrolment
    await _check_active(request, sender)
    return await enrolment.collector_key(sender)


@router.put("/keys/{key_id}", status_code=204)
async def put_key(key_id: str, request: Request, sender: Sender) -> Response:
    """Bring the package of a content key. The same again changes nothing."""
    intake: Intake = request.app.state.intake
    package = await _body(request, MAX_PACKAGE_BYTES, sender)
    try:
        number = bytes.fromhex(key_id)
    except ValueError:
        raise _problem(Code.MALFORMED, "the address must end with the key id in hexadecimal") from None
    with _refusals_answered():
        await intake.accept_key(package, number, sender)
    return Response(status_code=204)


@router.put("/forwarded/{gateway_id}", status_code=204)
async def announce(gateway_id: str, request: Request, sender: Sender) -> Response:
    """Make a gateway known for which the sender, a collector, is going to forward."""
    intake: Intake = request.app.state.intake
    body = await _body(request, MAX_ANNOUNCEMENT_BYTES, sender)
    with _refusals_answered():
        await intake.accept_announcement(body, gateway_id, sender)
    return Response(status_code=204)


@router.post("/batches")
async def post_batch(
    request: Request,
    response: Response,
    sender: Sender,
    after: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
) -> Receipt:
    """Bring a sealed batch. The receipt is given after it is stored; the same again changes nothing.

    A collector brings those of its gateways; it shares nothing between the item `after` and the batch.
    """
    intake: Intake = request.app.state.intake
    with _refusals_answered(), intake.place_for(_announced(request, MAX_ENVELOPE_BYTES)):
        receipt = await intake.accept(
            await _body(request, MAX_ENVELOPE_BYTES, sender),
            sender,
            gateway_clock_ms=_clock_ms(request),
            after=after,
        )
    request.app.state.on_receipt(receipt)
    response.headers[CLOCK_HEADER] = str(request.app.state.clock.now_ms())
    return receipt


def _clock_ms(request: Request) -> int | None:
    """What the gateway's clock shows, as it says; None when it does not."""
    said = request.headers.get(CLOCK_HEADER, "")
    return int(said) if said.isdecimal() and len(said) < 16 else None


def _announced(request: Request, limit: int) -> int:
    """How much memory the body may need. What is larger than the limit is refused while it is read."""
    length = request.headers.get("content-length", "")
    return min(int(length), limit) if length.isdecimal() and len(length) < 12 else limit


async def _body(request: Request, limit: int, sender: str = "") -> bytes:
    """The body, never more than `limit` bytes of it in memory."""
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > limit:
                break
    except ClientDisconnect as err:
        raise _problem(Code.MALFORMED, "the connection ended before the body did") from err
    if len(body) > limit:
        detail = f"more than {limit} bytes"
        await request.app.state.intake.note_refusal(sender, Code.TOO_LARGE, detail)
        raise _problem(Code.TOO_LARGE, detail)
    return bytes(body)


async def _check_active(request: Request, sender: str) -> None:
    """For what opens no transaction that would look: who was revoked is answered nothing more."""
    with _refusals_answered():
        await request.app.state.intake.check_active(sender)


@contextlib.contextmanager
def _refusals_answered() -> Iterator[None]:
    """What is refused meanwhile, and what has to wait, becomes a problem."""
    try:
        yield
    except Refused as err:
        raise _problem(err.code, err.detail) from err
    except IntakeBusy as err:
        raise _busy(str(err), err.retry_after_s) from err


def _busy(detail: str, retry_after_s: float) -> ApiProblem:
    return refuse(
        503,
        Code.BUSY,
        "The collector is busy",
        detail=detail,
        hint="Keep what you have and send it again later; nothing of it is lost.",
        headers={"retry-after": str(math.ceil(retry_after_s))},
    )


def _problem(code: str, detail: str) -> ApiProblem:
    status, title, hint = _ANSWERS[code]
    return refuse(status, code, title, detail=detail, hint=hint)
