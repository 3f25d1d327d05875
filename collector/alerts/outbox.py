"""Delivers what the outbox holds, at least once: one job for each receiver, so a dead one delays no other."""

import asyncio
import logging
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from sqlalchemy import Row, select, update

from collector.alerts.email import EmailSender
from collector.alerts.receivers import EmailReceiver, Receiver
from collector.alerts.sender import NotDelivered, Sender
from collector.alerts.webhook import WebhookSender
from collector.store.engine import Store
from collector.store.schema import outbox
from models.times import Clock

BATCH: Final = 20
MAX_TRIES: Final = 16
"""With the waits below: 8 to 16 hours, so that a night without a mail server loses nothing."""
FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 7200.0
SEND_LIMIT_S: Final = 30.0
"""The end of a message whose every step is in time, yet which does not come to an end."""

_log = logging.getLogger(__name__)


class OutboxJob:
    """The messages for one receiver. A message is marked as sent after it was, so a crash sends it twice."""

    def __init__(
        self, store: Store, clock: Clock, name: str, sender: Sender, *, random: Random | None = None
    ) -> None:
        self.name = name
        self._store = store
        self._clock = clock
        self._sender = sender
        self._random = random or Random()  # noqa: S311  # spreads retries, keeps no secret
        self._is_down = False

    async def run_once(self) -> int:
        """Send what is due, the oldest first; how many messages were delivered."""
        due = (
            select(outbox)
            .where(
                outbox.c.receiver == self.name,
                outbox.c.state == "waiting",
                outbox.c.next_try_ms <= self._clock.now_ms(),
            )
            .order_by(outbox.c.id)
            .limit(BATCH)
        )
        async with self._store.read() as connection:
            rows = (await connection.execute(due)).all()
        sent = 0
        for index, row in enumerate(rows):
            try:
                await self._send(row)
            except NotDelivered as err:
                await self._failed(row, err)
                if err.down:
                    await self._put_off(rows[index + 1 :])
                    break
            else:
                await self._sent(row)
                sent += 1
        return sent

    async def close(self) -> None:
        await self._sender.close()

    async def _send(self, row: Row[Any]) -> None:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._sender.send(row.message, key=row.idempotency_key, now_ms=self._clock.now_ms())
        except TimeoutError as err:
            raise NotDelivered(f"not done within {SEND_LIMIT_S:g} s", down=True) from err

    async def _sent(self, row: Row[Any]) -> None:
        values = {"state": "sent", "sent_ms": self._clock.now_ms(), "tries": row.tries + 1}
        async with self._store.write() as connection:
            await connection.execute(update(outbox).where(outbox.c.id == row.id).values(values))
        if self._is_down:
            _log.info("%s: takes messages again", self.name)
            self._is_down = False

    async def _failed(self, row: Row[Any], err: NotDelivered) -> None:
        tries = row.tries + 1
        dead = tries >= MAX_TRIES
        values = {
            "state": "dead" if dead else "waiting",
            "tries": tries,
            "last_error": err.why,
            "next_try_ms": self._clock.now_ms() + round(1000 * self._wait_s(tries)),
        }
        async with self._store.write() as connection:
            await connection.execute(update(outbox).where(outbox.c.id == row.id).values(values))
        if dead:
            _log.error("%s: message %d given up after %d tries: %s", self.name, row.id, tries, err.why)
        elif err.down and not self._is_down:
            _log.warning("%s: takes no messages: %s", self.name, err.why)
        self._is_down = self._is_down or err.down

    async def _put_off(self, rows: Sequence[Row[Any]]) -> None:
        """The receiver is down: the next messages wait as well, and were not tried."""
        if not rows:
            return
        later_ms = self._clock.now_ms() + round(1000 * self._wait_s(1))
        statement = update(outbox).where(outbox.c.id.in_([row.id for row in rows]))
        async with self._store.write() as connection:
            await connection.execute(statement.values(next_try_ms=later_ms))

    def _wait_s(self, tries: int) -> float:
        """Doubles with each try; half of it is jitter, so that receivers that share a fault part ways."""
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (tries - 1))
        return longest * (0.5 + 0.5 * self._random.random())


def outbox_jobs(store: Store, clock: Clock, receivers: Sequence[Receiver]) -> list[OutboxJob]:
    """One job for each receiver of the settings; whoever runs them closes them."""
    return [OutboxJob(store, clock, receiver.name, _sender(receiver)) for receiver in receivers]


def _sender(receiver: Receiver) -> Sender:
    if isinstance(receiver, EmailReceiver):
        return EmailSender(receiver)
    return WebhookSender(receiver)
