"""Takes configurations for gateways from people and programs, and signs each for its gateway."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import select

from collector.control import pushes
from collector.identity.gateways import ACTIVE
from collector.identity.tokens import COLLECTOR
from collector.store.engine import Store
from collector.store.schema import gateway
from models.command import ID, CommandKey
from models.configuration import (
    LONGEST_CONFIRM_S,
    LONGEST_LIFE_MS,
    MAIN,
    MAX_PUSHED_BYTES,
    SHORTEST_CONFIRM_S,
    SHORTEST_LIFE_MS,
    ConfigurationInvalid,
    Pushed,
    check_files,
    pack_files,
    sign_configuration,
)
from models.document import DocumentMistakes, parse_document
from models.errors import BadInput
from models.times import Clock

MOST_NAME: Final = 200  # characters of who pushed it
MOST_WHY: Final = 500

WHATEVER: Final = ""
"""In place of a digest: it is no change of anything, and is to be what the gateway has then."""


class PushMistake(BadInput):
    """Such a configuration cannot be pushed.

    `code` is one of: key-reused, gateway-revoked, no-such-gateway, forwarded-gateway, wrong.
    """

    def __init__(self, code: str, detail: str, hint: str) -> None:
        super().__init__(f"{detail}; {hint}")
        self.code, self.detail, self.hint = code, detail, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What somebody wants a gateway to run."""

    id: str
    gateway_id: str
    files: Mapping[str, bytes] = field(repr=False)
    base: str | None = None  # digest of what it is a change of; None: of what the gateway has told last
    why: str = ""
    confirm_s: float
    life_ms: int
    by: str


class ConfigurationDesk:
    """`wake` is called with the id of a gateway that has something to fetch."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        key: CommandKey,
        wake: Callable[[str], None] = lambda gateway_id: None,
    ) -> None:
        self._store, self._clock, self._key, self._wake = store, clock, key, wake

    async def push(self, push: Push) -> None:
        """Keep and offer it. The same again changes nothing. Raise PushMistake; then nothing was kept."""
        _check(push)
        async with self._store.read() as connection:
            query = select(gateway.c.site_id, gateway.c.state, gateway.c.kind, gateway.c.owner_site_id).where(
                gateway.c.id == push.gateway_id
            )
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            detail = f"there is no gateway {push.gateway_id!r}"
            raise PushMistake("no-such-gateway", detail, "see collector gateways, or GET /api/v1/gateways")
        if row.kind == COLLECTOR or row.owner_site_id is not None:
            detail = f"{push.gateway_id} obeys another collector, or is one"
            raise PushMistake("forwarded-gateway", detail, "push it where the gateway is enrolled")
        if row.state != ACTIVE:
            detail = f"the gateway {push.gateway_id} has been revoked"
            raise PushMistake("gateway-revoked", detail, "enrol it again")
        await self._store.bulk(partial(self._add_once, push=push, site_id=row.site_id))
        self._wake(push.gateway_id)

    def _add_once(self, connection: Any, *, push: Push, site_id: int) -> None:
        digest = self._digest(push)
        known = pushes.PUSHES.request_digest_of(connection, site_id, push.id)
        if known is not None:
            if known != digest:
                raise PushMistake(
                    "key-reused",
                    f"the key {push.id} has been used for another configuration",
                    "choose a new key for each, and the same only to send one again",
                )
            return
        now_ms, base = self._clock.now_ms(), push.base
        if base is None:
            base = pushes.active_digest(connection, site_id, push.gateway_id)
        pushed = Pushed(
            id=push.id,
            gateway_id=push.gateway_id,
            number=pushes.next_number(connection, push.gateway_id, now_ms),
            base=base,
            packed=pack_files(push.files),
            confirm_s=push.confirm_s,
            issued_ms=now_ms,
            expires_ms=now_ms + push.life_ms,
            issued_by=push.by[:MOST_NAME],
            why=push.why,
        )
        signed = sign_configuration(pushed, self._key)
        if len(signed) > MAX_PUSHED_BYTES:
            hint = f"compressed at most {MAX_PUSHED_BYTES} bytes can be pushed; do it on site"
            raise PushMistake("wrong", "the files are too large", hint)
        new = pushes.NewPush(site_id=site_id, pushed=pushed, request_digest=digest, signed=signed)
        pushes.add(connection, new)

    def _digest(self, push: Push) -> bytes:
        """Tells whether two requests are the same."""
        said = [push.gateway_id, push.base, push.confirm_s, push.life_ms, push.why, pack_files(push.files)]
        return self._key.keyed_digest(msgspec.msgpack.encode(said))


def _check(push: Push) -> None:
    """What can be seen without the gateway. The rest is checked there, by the rules of a local file."""

    def wrong(detail: str, hint: str) -> PushMistake:
        return PushMistake("wrong", detail, hint)

    if not ID.fullmatch(push.id):
        raise wrong(f"{push.id[:100]!r} is no key", "letters, digits, '.', '_', ':' and '-', at most 64")
    if not SHORTEST_LIFE_MS <= push.life_ms <= LONGEST_LIFE_MS:
        raise wrong("it is good for too short or too long", "expires_in_s is from 60 s to 7 days")
    if not SHORTEST_CONFIRM_S <= push.confirm_s <= LONGEST_CONFIRM_S:
        hint = f"confirm_within_s is from {SHORTEST_CONFIRM_S:g} to {LONGEST_CONFIRM_S:g}"
        raise wrong("the time in which this collector must be reached is none", hint)
    if len(push.why) > MOST_WHY:
        raise wrong("why is too long", f"at most {MOST_WHY} characters")
    try:
        check_files(push.files)
    except ConfigurationInvalid as err:
        hint = f"{MAIN}, its list of devices and own profiles, by their names beside it"
        raise wrong(err.detail, hint) from None
    for name, content in push.files.items():
        if name.endswith((".yaml", ".yml")):
            try:
                parse_document(content, file=name)
            except DocumentMistakes as err:
                raise wrong(str(err.problems[0]), "correct it first") from None
