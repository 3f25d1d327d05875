"""Messages reach their receivers at least once, as mail and as signed posts, whatever the others do."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from collector.alerts import service
from collector.alerts.outbox import MAX_TRIES, OutboxJob, outbox_jobs
from collector.alerts.receivers import Receiver, WebhookReceiver
from collector.alerts.service import Opening
from collector.alerts.webhook import WebhookSender, signature
from collector.store.engine import Store
from collector.store.schema import outbox
from tests.support.collector import StandingClock
from tests.support.sinks import MailSink, WebSink

Sinks = Callable[[], Awaitable[WebSink]]
SECRET = "sixteen letters!"
DAY_MS = 86_400_000


def email(sink: MailSink, **more: Any) -> Receiver:
    return TypeAdapter[Receiver](Receiver).validate_python(
        {
            "kind": "email",
            "name": "duty",
            "host": "127.0.0.1",
            "port": sink.port,
            "security": "none",
            "sender": "gatehouse@example.org",
            "to": ["li@example.org", "wang@example.org"],
        }
        | more
    )


def webhook(url: str, name: str = "platform") -> WebhookReceiver:
    return WebhookReceiver.model_validate({"kind": "webhook", "name": name, "url": url, "secret": SECRET})


async def fire(store: Store, opening: Opening, now_ms: int, *receivers: str) -> None:
    async with store.write() as connection:
        await service.open_alert(connection, opening, receivers, now_ms=now_ms)


async def messages(store: Store) -> list[Any]:
    async with store.read() as connection:
        return list((await connection.execute(select(outbox).order_by(outbox.c.id))).all())


@pytest.fixture
async def start(store: Store, standing: StandingClock) -> Any:
    """Makes the job of a receiver, and closes it in the end."""
    jobs: list[OutboxJob] = []

    def make(receiver: Receiver) -> OutboxJob:
        [job] = outbox_jobs(store, standing.clock, [receiver])
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        await job.close()


async def test_a_mail_says_it_in_chinese_first_and_then_in_english(
    store: Store, opening: Opening, standing: StandingClock, mail_sink: MailSink, start: Any
) -> None:
    await fire(store, opening, standing.now_ms, "duty")
    assert await start(email(mail_sink)).run_once() == 1
    [mail] = mail_sink.mails
    assert mail["Subject"] == "[告警] 市民中心: 电表卡死"
    assert mail["To"] == "li@example.org, wang@example.org"
    assert parsedate_to_datetime(mail["Date"]) == datetime.fromtimestamp(standing.now_ms / 1000, UTC)
    text = mail.get_content()
    assert text.index("读数六小时不变。") < text.index("Its readings have not changed")
    assert "Since: 2026-09-21 21:13 (Asia/Shanghai)" in text
    [row] = await messages(store)
    assert (row.state, row.sent_ms, row.tries) == ("sent", standing.now_ms, 1)
    assert row.idempotency_key in mail["Message-ID"]


async def test_the_mail_that_it_is_over_says_since_when_and_by_whom(
    store: Store, opening: Opening, standing: StandingClock, mail_sink: MailSink, start: Any
) -> None:
    await fire(store, opening, standing.now_ms, "duty")
    async with store.write() as connection:
        await service.resolve(connection, opening.site_id, 1, by="li", now_ms=standing.now_ms)
    assert await start(email(mail_sink, language="en")).run_once() == 2
    assert [m["Subject"] for m in mail_sink.mails] == [
        "[Alert] 市民中心: Stuck meter",
        "[Resolved] 市民中心: Stuck meter",
    ]
    assert "Closed by: li" in mail_sink.mails[1].get_content()


async def test_a_recipient_that_is_refused_does_not_make_the_others_get_it_twice(
    store: Store, opening: Opening, standing: StandingClock, mail_sink: MailSink, start: Any
) -> None:
    mail_sink.refused = {"li@example.org": "550 no such person"}
    await fire(store, opening, standing.now_ms, "duty")
    assert await start(email(mail_sink)).run_once() == 1
    assert len(mail_sink.mails) == 1


@pytest.mark.parametrize("answer", ["451 try later", "554 no spam"])
async def test_a_mail_that_is_not_taken_is_tried_again(
    store: Store, opening: Opening, standing: StandingClock, mail_sink: MailSink, start: Any, answer: str
) -> None:
    mail_sink.answer = answer
    await fire(store, opening, standing.now_ms, "duty")
    job = start(email(mail_sink))
    assert await job.run_once() == 0
    [row] = await messages(store)
    assert (row.state, row.last_error) == ("waiting", f"the mail server answered {answer[:3]}")
    mail_sink.answer = "250 OK"
    assert await job.run_once() == 0, "not before its time"
    standing.now_ms = row.next_try_ms
    assert await job.run_once() == 1


async def test_a_post_is_signed_over_its_time_and_its_bytes(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    sink = await web_sink()
    await fire(store, opening, standing.now_ms, "platform")
    assert await start(webhook(sink.url)).run_once() == 1
    [post] = sink.posts
    timestamp = post.headers["gatehouse-timestamp"]
    assert timestamp == str(standing.now_ms // 1000)
    assert post.headers["gatehouse-signature"] == signature(SECRET, timestamp, post.body)
    assert post.headers["gatehouse-signature"] != signature(SECRET, timestamp, post.body + b" ")
    said = json.loads(post.body)
    assert (said["site"], said["alert"], said["state"], said["data"]) == ("hq", 1, "firing", opening.data)


def test_the_signature_is_the_one_that_any_hmac_tool_gives() -> None:
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac 'sixteen letters!'
    expected = "v1=96ab549f48d71fa3a81fbfdfb376da52cdeb76225c3f435cd504edf342c1cf8c"
    assert signature(SECRET, "1700000000", b"{}") == expected


async def test_a_message_whose_answer_was_lost_is_repeated_under_the_same_key(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    sink = await web_sink()
    sink.silent = True
    await fire(store, opening, standing.now_ms, "platform")
    killed = asyncio.create_task(start(webhook(sink.url)).run_once())
    await sink.posted.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    sink.silent = False
    assert await start(webhook(sink.url)).run_once() == 1
    first, second = (post.headers["idempotency-key"] for post in sink.posts)
    assert first == second


async def test_a_receiver_that_is_down_gets_everything_in_order_when_it_is_back(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    sink = await web_sink()
    sink.status = 503
    for number in range(5):
        await fire(store, replace(opening, condition=f"c{number}"), standing.now_ms, "platform")
    job = start(webhook(sink.url))
    assert await job.run_once() == 0
    assert len(sink.posts) == 1, "one try is enough to see that it is down"
    assert await job.run_once() == 0
    assert len(sink.posts) == 1
    sink.status, sink.posts = 204, []
    standing.now_ms += 60_000
    assert await job.run_once() == 5
    assert [json.loads(post.body)["condition"] for post in sink.posts] == [f"c{n}" for n in range(5)]


async def test_a_message_that_is_refused_holds_up_no_other(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    sink = await web_sink()
    sink.status = 400
    for number in range(3):
        await fire(store, replace(opening, condition=f"c{number}"), standing.now_ms, "platform")
    await start(webhook(sink.url)).run_once()
    assert len(sink.posts) == 3


async def test_a_message_is_given_up_after_so_many_tries_with_ever_longer_waits(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    sink = await web_sink()
    sink.status = 500
    await fire(store, opening, standing.now_ms, "platform")
    job, began_ms = start(webhook(sink.url)), standing.now_ms
    waits = []
    for _ in range(MAX_TRIES - 1):
        await job.run_once()
        [row] = await messages(store)
        waits.append(row.next_try_ms - standing.now_ms)
        standing.now_ms = row.next_try_ms
    assert row.state == "waiting"
    await job.run_once()
    [row] = await messages(store)
    assert (row.state, row.tries, row.last_error) == ("dead", MAX_TRIES, "the receiver answered 500")
    assert waits[0] < 31_000
    assert max(waits) <= 7_200_000
    assert 8 * 3_600_000 <= standing.now_ms - began_ms <= 17 * 3_600_000
    standing.now_ms += DAY_MS
    await job.run_once()
    assert len(sink.posts) == MAX_TRIES


async def test_two_receivers_with_the_same_fault_do_not_come_back_together(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks
) -> None:
    sink = await web_sink()
    sink.status = 503
    await fire(store, opening, standing.now_ms, "a", "b")
    for name, seed in (("a", 1), ("b", 2)):
        sender = WebhookSender(webhook(sink.url, name))
        job = OutboxJob(store, standing.clock, name, sender, random=Random(seed))
        await job.run_once()
        await job.close()
    first, second = await messages(store)
    assert first.next_try_ms != second.next_try_ms


async def test_a_receiver_that_never_answers_delays_no_other(
    store: Store, opening: Opening, standing: StandingClock, web_sink: Sinks, start: Any
) -> None:
    dead, alive = await web_sink(), await web_sink()
    dead.silent = True
    await fire(store, opening, standing.now_ms, "dead", "alive")
    stuck = asyncio.create_task(start(webhook(dead.url, "dead")).run_once())
    await dead.posted.wait()
    assert await start(webhook(alive.url, "alive")).run_once() == 1
    assert not stuck.done()
    stuck.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stuck
    assert [(m.receiver, m.state) for m in await messages(store)] == [("dead", "waiting"), ("alive", "sent")]


async def test_no_secret_and_no_address_of_a_receiver_is_ever_told(
    store: Store, opening: Opening, standing: StandingClock, start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = webhook("http://127.0.0.1:9/hook?token=not-for-logs")
    await fire(store, opening, standing.now_ms, "platform")
    await start(receiver).run_once()
    [row] = await messages(store)
    assert row.last_error == "no connection: ConnectError"
    for text in (repr(receiver), str(row), caplog.text):
        assert "not-for-logs" not in text
        assert SECRET not in text


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"user": "gatehouse", "password": "p"}, "in clear"),
        ({"security": "tls", "user": "gatehouse"}, "belong together"),
        ({"to": ["nobody"]}, "no mail address"),
        ({"sender": "a@b\nBcc: all@example.org"}, "no mail address"),
    ],
)
def test_a_mail_receiver_that_cannot_be_meant_is_refused(more: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        email(MailSink(port=25), **more)


def test_a_webhook_without_a_web_address_is_refused() -> None:
    with pytest.raises(ValidationError, match="no address"):
        webhook("ftp://platform.example/hook")
