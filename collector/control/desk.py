"""Takes commands from people and programs, and hands each to its gateway as soon as that asks.

Configurations, which `collector.control.configurations` takes, go to gateways by the same answers.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
from sqlalchemy import Select, and_, select, text

from collector.control import record
from collector.control.configurations import ConfigurationDesk
from collector.control.offers import SENT, WAITING
from collector.control.pushes import PUSHES
from collector.control.record import COMMANDS
from collector.identity.gateways import ACTIVE
from collector.intake.refusals import Refused
from collector.store.engine import Store
from collector.store.schema import command, configuration, device, gateway
from models.actions import ACTIONS, ArgumentsWrong, checked_arguments, shown_arguments
from models.command import ID, LONGEST_LIFE_MS, MAX_COMMAND_BYTES, SHORTEST_LIFE_MS, Command, CommandKey
from models.errors import BadInput
from models.protocol import Code
from models.sealing import seal_text
from models.times import Clock

LONGEST_WAIT_S: Final = 60.0  # of a gateway for a command; a proxy or firewall forgets what is silent longer
OFFERED_AT_ONCE: Final = 20
PUSHES_AT_ONCE: Final = 1  # of up to 1 MB; a gateway tries one at a time anyway
MOST_NAME: Final = 200  # characters of who gave it
MOST_OFFERED: Final = 200  # to a gateway that has forgotten what it had


class CommandMistake(BadInput):
    """Such a command cannot be given.

    `code` is one of: key-reused, no-such-device, gateway-revoked, forwarded-gateway.
    """

    def __init__(self, code: str, detail: str, hint: str) -> None:
        super().__init__(f"{detail}; {hint}")
        self.code, self.detail, self.hint = code, detail, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants done. Its arguments, which may be secret, show in no `repr`."""

    id: str
    site_id: int
    device: int  # its number in the site
    action: str
    arguments: Mapping[str, Any] = field(repr=False)
    life_ms: int
    by: str


class CommandDesk:
    """One for a running collector. `run_once` is called every second or so; `close` ends all waiting."""

    def __init__(self, store: Store, clock: Clock, key: CommandKey) -> None:
        self._store, self._clock, self._key = store, clock, key
        self.configurations = ConfigurationDesk(store, clock, key, self.wake)
        self._asking: dict[str, asyncio.Event] = {}
        self._closed = False

    async def give(self, wish: Wish) -> None:
        """Keep and offer it. The same wish again changes nothing.

        Raise ArgumentsWrong or CommandMistake; then nothing was kept.
        """
        if not ID.fullmatch(wish.id):
            raise ArgumentsWrong("id", "letters, digits, '.', '_', ':' and '-', at most 64")
        if not SHORTEST_LIFE_MS <= wish.life_ms <= LONGEST_LIFE_MS:
            raise ArgumentsWrong("expires_in_s", "from 10 s to 24 h")
        arguments = checked_arguments(wish.action, wish.arguments)
        digest = self._digest(wish, arguments)
        async with self._store.read() as connection:
            row = (await connection.execute(_addressee(wish))).one_or_none()
        if row is None:
            raise CommandMistake(
                "no-such-device", f"the site has no device {wish.device}", "GET /api/v1/devices lists them"
            )
        if row.state != ACTIVE:
            raise CommandMistake(
                "gateway-revoked", f"the gateway {row.gateway_id} has been revoked", "enrol it again"
            )
        if row.owner_site_id is not None:
            raise CommandMistake(
                "forwarded-gateway",
                f"the gateway {row.gateway_id} obeys the collector that forwards for it",
                "give the command there",
            )
        now_ms = self._clock.now_ms()
        given = Command(
            id=wish.id,
            gateway_id=row.gateway_id,
            device_id=row.device_id,
            action=wish.action,
            arguments=_sealed(wish, arguments, row.gateway_id, row.seal_key),
            issued_ms=now_ms,
            expires_ms=now_ms + wish.life_ms,
            issued_by=wish.by[:MOST_NAME],
        )
        signed = self._key.sign(given)
        if len(signed) > MAX_COMMAND_BYTES:
            raise ArgumentsWrong("arguments", "too many")
        new = record.NewCommand(
            site_id=wish.site_id,
            command=given,
            shown=shown_arguments(wish.action, arguments),
            request_digest=digest,
            signed=signed,
        )
        await self._store.bulk(partial(_add_once, new=new))
        self.wake(row.gateway_id)

    async def offers(
        self, gateway_id: str, *, got: Sequence[str], everything: bool, wait_s: float
    ) -> list[bytes]:
        """Signed commands and configurations for this gateway, as soon as there are any; none after `wait_s`.

        `got` are the ids of those that have arrived. `everything` asks also for what arrived before and has
        no outcome yet. Raise Refused for a gateway that may not ask.
        """
        if got:
            now_ms = self._clock.now_ms()
            await self._store.bulk(partial(_taken, gateway_id=gateway_id, ids=got, now_ms=now_ms))
        if (before := self._asking.get(gateway_id)) is not None:
            before.set()  # one question at a time for each gateway: the older one ends
        news = self._asking[gateway_id] = asyncio.Event()
        ends_s = asyncio.get_running_loop().time() + min(wait_s, LONGEST_WAIT_S)
        try:
            while True:
                found = await self._open(gateway_id, everything=everything)
                left_s = ends_s - asyncio.get_running_loop().time()
                if found or left_s <= 0 or self._closed or self._asking[gateway_id] is not news:
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await news.wait()
                if self._asking[gateway_id] is news:
                    news.clear()
        finally:
            if self._asking.get(gateway_id) is news:
                del self._asking[gateway_id]

    async def run_once(self) -> None:
        """Let end what nobody fetched, and offer what a command beside the collector has given."""
        now_ms = self._clock.now_ms()
        async with self._store.read() as connection:
            rows = [
                row
                for table, is_open in ((command, COMMANDS.is_open), (configuration, PUSHES.is_open))
                for row in await connection.execute(
                    select(table.c.gateway_id, table.c.state, table.c.expires_ms).where(text(is_open))
                )
            ]
        if any(row.expires_ms <= now_ms for row in rows):
            await self._store.bulk(partial(_expire, now_ms=now_ms))
        for row in rows:
            if row.state == WAITING and row.expires_ms > now_ms:
                self.wake(row.gateway_id)

    def close(self) -> None:
        """Let every question be answered at once, from now on."""
        self._closed = True
        for news in self._asking.values():
            news.set()

    def wake(self, gateway_id: str) -> None:
        """There is something for this gateway."""
        if (news := self._asking.get(gateway_id)) is not None:
            news.set()

    async def _open(self, gateway_id: str, *, everything: bool) -> list[bytes]:
        states = (WAITING, SENT) if everything else (WAITING,)
        now_ms = self._clock.now_ms()
        # What arrived is offered again also when its time is over: the gateway then says what came of it.
        still_good = (command.c.state == SENT) | (command.c.expires_ms > now_ms)
        query = (
            select(command.c.signed)
            .where(text(COMMANDS.is_open), command.c.gateway_id == gateway_id)
            .where(command.c.state.in_(states), still_good)
            .order_by(command.c.number)
            .limit(MOST_OFFERED if everything else OFFERED_AT_ONCE)
        )
        async with self._store.read() as connection:
            state = select(gateway.c.state).where(gateway.c.id == gateway_id)
            if (await connection.execute(state)).scalar_one_or_none() != ACTIVE:
                raise Refused(Code.REVOKED, f"the gateway {gateway_id} has been revoked")
            # A configuration goes last: it may change the way by which the commands come.
            commands = list((await connection.execute(query)).scalars())
            return [
                *commands,
                *(await connection.execute(_open_pushes(gateway_id, states, now_ms))).scalars(),
            ]

    def _digest(self, wish: Wish, arguments: Mapping[str, Any]) -> bytes:
        """Tells whether two requests are the same; the secrets in them cannot be found by it."""
        said = [wish.site_id, wish.device, wish.action, sorted(arguments.items()), wish.life_ms]
        return self._key.keyed_digest(msgspec.json.encode(said))


def _open_pushes(gateway_id: str, states: Sequence[str], now_ms: int) -> Select[tuple[bytes]]:
    still_good = (configuration.c.state != WAITING) | (configuration.c.expires_ms > now_ms)
    states = (*states, "tried") if SENT in states else states
    return (
        select(configuration.c.signed)
        .where(text(PUSHES.is_open), configuration.c.gateway_id == gateway_id)
        .where(configuration.c.state.in_(states), still_good)
        .order_by(configuration.c.number)
        .limit(PUSHES_AT_ONCE)
    )


def _taken(connection: Any, *, gateway_id: str, ids: Sequence[str], now_ms: int) -> None:
    COMMANDS.taken(connection, gateway_id, ids, now_ms)
    PUSHES.taken(connection, gateway_id, ids, now_ms)


def _expire(connection: Any, *, now_ms: int) -> None:
    COMMANDS.expire(connection, now_ms)
    PUSHES.expire(connection, now_ms)


def fresh_id() -> str:
    """An id for who does not choose one."""
    return f"c-{secrets.token_hex(8)}"


def _addressee(wish: Wish) -> Any:
    return (
        select(
            device.c.gateway_id,
            device.c.device_id,
            gateway.c.state,
            gateway.c.seal_key,
            gateway.c.owner_site_id,
        )
        .join_from(
            device,
            gateway,
            and_(gateway.c.id == device.c.gateway_id, gateway.c.site_id == device.c.site_id),
        )
        .where(device.c.site_id == wish.site_id, device.c.id == wish.device)
    )


def _sealed(wish: Wish, arguments: dict[str, Any], gateway_id: str, seal_key: bytes) -> dict[str, Any]:
    """The arguments as they travel and are kept: secrets for the eyes of the gateway alone."""
    return arguments | {
        name: seal_text(arguments[name], public_key=seal_key, gateway_id=gateway_id, command_id=wish.id)
        for name in ACTIONS[wish.action].secret & arguments.keys()
    }


def _add_once(connection: Any, *, new: record.NewCommand) -> None:
    known = COMMANDS.request_digest_of(connection, new.site_id, new.command.id)
    if known is None:
        record.add(connection, new)
    elif known != new.request_digest:
        raise CommandMistake(
            "key-reused",
            f"the key {new.command.id} has been used for another command",
            "choose a new key for each command, and the same only to send one again",
        )
