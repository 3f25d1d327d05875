"""A site with one alert's worth of facts, and receivers that really listen."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from collector.alerts.service import Opening
from collector.store.engine import Store
from tests.support.collector import NOW_MS, add_site
from tests.support.sinks import MailSink, WebSink, open_mail_sink, web_sinks

TITLE = {"zh": "电表卡死", "en": "Stuck meter"}
TEXT = {"zh": "读数六小时不变。", "en": "Its readings have not changed for six hours."}


@pytest.fixture
async def site_id(store: Store) -> int:
    return await add_site(store, "hq", "市民中心")


@pytest.fixture
def opening(site_id: int) -> Opening:
    return Opening(
        site_id=site_id,
        condition="stuck:device:3",
        detector="stuck",
        severity="warning",
        opened_ms=NOW_MS - 3_600_000,
        data={"title": TITLE, "text": TEXT},
    )


@pytest.fixture
async def web_sink() -> AsyncIterator[Callable[[], Awaitable[WebSink]]]:
    async with web_sinks() as open_sink:
        yield open_sink


@pytest.fixture
async def mail_sink() -> AsyncIterator[MailSink]:
    async with open_mail_sink() as sink:
        yield sink
