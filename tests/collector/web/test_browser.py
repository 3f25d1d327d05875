"""The pages in a real browser: what a person sees, touches and waits for."""

import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from collector.api.live import LiveHub
from models.times import HOUR_MS
from tests.support.collector_town import Town
from tests.support.collector_world import World, serving
from tests.support.needs import needs_chromium

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PATIENCE_MS = 15_000  # the machine may be busy; nothing here waits longer than it must

pytestmark = needs_chromium


class Visitor:
    """Somebody at a browser. What the browser complains of is kept."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    async def log_in(self, token: str) -> None:
        await self.page.goto(self.url)
        await self.page.get_by_label("API").fill(token)
        await self.page.locator("button.primary").click()
        await expect(self.page.locator("#tile-gateways")).to_be_visible()

    async def is_live(self) -> None:
        await expect(self.page.locator("#live-state")).to_have_attribute("data-state", "on")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        await opened.close()


@pytest.fixture
async def url(app: FastAPI, live: LiveHub, town: Town) -> AsyncIterator[str]:
    async with serving(app, live) as address:
        yield address


async def visit(browser: Browser, url: str, **options: Any) -> Visitor:
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    return Visitor(context, await context.new_page(), url)


@pytest.fixture
async def visitor(browser: Browser, url: str, world: World) -> AsyncIterator[Visitor]:
    """Somebody who has logged in; at the end the browser must have had nothing to complain of."""
    somebody = await visit(browser, url, viewport={"width": 1360, "height": 900})
    await somebody.log_in(await world.token("duty desk", "read", "alerts:write"))
    yield somebody
    await somebody.context.close()
    assert somebody.complaints == []
    assert [request for request in somebody.requests if not request.startswith(url)] == []


async def test_a_person_logs_in_and_sees_the_gateways(visitor: Visitor) -> None:
    page = visitor.page
    await expect(page.locator("#gateways tbody tr")).to_have_count(4)
    await expect(page.locator("#gateways")).to_contain_text("配电室网关")
    await expect(page.locator("#tile-gateways .big")).to_have_text("2/ 4")
    [cookie] = [one for one in await visitor.context.cookies() if one["name"] == "gatehouse_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


async def test_a_wrong_token_is_refused_with_words(browser: Browser, url: str) -> None:
    visitor = await visit(browser, url)
    await visitor.page.goto(f"{url}/login")
    await visitor.page.get_by_label("API").fill("ght_wrong")
    await visitor.page.locator("button.primary").click()
    await expect(visitor.page.locator("#mistake")).to_have_text("令牌未知、已吊销或已过期。")
    await visitor.context.close()


async def test_a_live_value_changes_in_place(
    visitor: Visitor, world: World, town: Town, live: LiveHub
) -> None:
    page = visitor.page
    await page.goto(f"{visitor.url}/devices/hall/{town.meter}")
    row = page.locator("#points tr", has_text="active_power_kw")
    await expect(row.locator(".value b")).to_have_text("118.42")
    await visitor.is_live()
    before = await page.locator("#points").element_handle()
    await world.latest(town.hall, town.power, 121.07, measured_ms=world.now_ms - 1000)
    live.wake()
    await expect(row.locator(".value b")).to_have_text("121.07")
    await expect(row.locator("[data-time-of]")).to_have_text("22:13:19")
    await expect(page.locator(".tiles.three .value b").first).to_have_text("121.07")
    await world.latest(town.hall, town.power, None, quality=2, reason=1, measured_ms=world.now_ms)
    live.wake()
    await expect(row.locator(".quality")).to_have_text("无效 · 设备未应答")
    await expect(row.locator(".value b")).to_have_text("—")
    assert before is not None
    assert await before.evaluate("table => table.isConnected")  # the page itself was not loaded again


async def test_values_live_in_the_list_too(visitor: Visitor, world: World, town: Town, live: LiveHub) -> None:
    await visitor.page.goto(f"{visitor.url}/devices")
    value = visitor.page.locator(f'[data-point="{town.school}.1"]')
    await expect(value.locator(".stale")).to_be_visible()
    await visitor.is_live()
    await world.latest(town.school, 1, 2.5, measured_ms=world.now_ms)
    live.wake()
    await expect(value.locator("b")).to_have_text("2.500")
    await expect(value.locator(".stale")).to_be_hidden()


async def test_charts_are_drawn_with_gaps_and_estimates(visitor: Visitor, town: Town) -> None:
    page = visitor.page
    await page.goto(f"{visitor.url}/devices/hall/{town.meter}")
    for name in ("consumption", "readings"):
        await expect(page.locator(f"#{name}")).to_have_attribute("data-drawn", "yes")
        canvas = page.locator(f"#{name} canvas")
        painted = await canvas.evaluate(
            "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v !== 0)"
        )
        assert painted
    legend = page.locator("#consumption .chart-legend")
    for word in ("实测", "部分覆盖", "估算", "存疑", "缺失"):
        await expect(legend).to_contain_text(word)
    await page.locator("#consumption summary").click()
    rows = page.locator("#consumption .chart-table tbody tr")
    await expect(rows.filter(has_text="09-21 09:00")).to_contain_text("缺失")
    await expect(rows.filter(has_text="09-21 12:00")).to_contain_text("估算")
    await page.locator("#consumption .u-over").hover(position={"x": 400, "y": 60})
    await expect(page.locator("#consumption .chart-readout")).to_contain_text("09-21")
    await page.locator("#choose-point").select_option(label="正向电能")
    await expect(page.locator("#readings .chart-note")).to_have_text("这段时间没有数据")


async def test_an_alert_is_acknowledged_and_everybody_sees_it(
    visitor: Visitor, browser: Browser, world: World, town: Town
) -> None:
    other = await visit(browser, visitor.url)
    await other.log_in(await world.token("wall display", "read"))
    await other.is_live()
    await visitor.is_live()
    alert = visitor.page.locator("#open-alerts .alert", has_text="1号楼总表夜间用电异常偏高")
    await alert.get_by_role("button", name="确认接手").click()
    await expect(alert.locator(".alert-who")).to_contain_text("duty desk 处理中")
    await expect(alert.get_by_role("button")).to_have_text("关闭")
    theirs = other.page.locator("#open-alerts .alert", has_text="1号楼总表夜间用电异常偏高")
    await expect(theirs.locator(".alert-who")).to_contain_text("duty desk 处理中")
    await expect(theirs.get_by_role("button")).to_have_count(0)
    await alert.get_by_role("button", name="关闭").click()
    await expect(other.page.locator("#tile-alerts .big")).to_have_text("2")
    await expect(visitor.page.locator("#tile-alerts .big")).to_have_text("2")
    await other.context.close()
    assert other.complaints == []


async def test_a_new_alert_appears_by_itself(
    visitor: Visitor, world: World, town: Town, live: LiveHub
) -> None:
    await visitor.is_live()
    data = {"title": {"zh": "夜间用水", "en": "Water at night"}, "text": {"zh": "", "en": ""}}
    await world.alert(town.hall, "leak:point:1", data, severity="critical", opened_ms=world.now_ms - HOUR_MS)
    live.wake()
    await expect(visitor.page.locator("#open-alerts")).to_contain_text("夜间用水")
    await expect(visitor.page.locator("#tile-alerts .big")).to_have_text("4")


async def test_the_language_is_switched_and_stays(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_role("link", name="English").click()
    await expect(page.locator("#tile-gateways h2")).to_have_text("Gateways online")
    await page.get_by_role("link", name="Alerts", exact=True).click()
    await expect(page.locator("h1")).to_have_text("Alerts")
    await expect(page.get_by_text("Canteen water meter has stopped counting")).to_be_visible()
    await page.get_by_role("link", name="中文").click()
    await expect(page.locator("h1")).to_have_text("告警")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_fits_a_phone(
    browser: Browser, url: str, world: World, town: Town, scheme: Any
) -> None:
    visitor = await visit(
        browser,
        url,
        viewport={"width": 360, "height": 740},
        device_scale_factor=2,
        is_mobile=True,
        has_touch=True,
        color_scheme=scheme,
    )
    await visitor.log_in(await world.token("phone", "read", "alerts:write"))
    page = visitor.page
    for path in (
        "/",
        "/?site=hall",
        "/devices",
        f"/devices/hall/{town.meter}",
        "/alerts?show=all",
        "/alerts/hall/1",
    ):
        await page.goto(url + path)
        for chart in await page.locator("[data-chart]").all():
            await expect(chart).to_have_attribute("data-drawn", "yes")
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, path
    await page.goto(f"{url}/alerts")
    await page.get_by_role("button", name="确认接手").first.tap()
    await expect(page.locator(".alert-who").filter(has_text="phone")).to_be_visible()
    await visitor.context.close()
    assert visitor.complaints == []


async def test_a_device_that_was_named_to_do_harm_does_none(visitor: Visitor, town: Town) -> None:
    dialogs: list[str] = []
    visitor.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await visitor.page.goto(f"{visitor.url}/devices/school/{town.evil}")
    await expect(visitor.page.locator("h1")).to_have_text("<script>alert(1)</script>")
    await visitor.page.goto(f"{visitor.url}/devices")
    await expect(visitor.page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    assert dialogs == []


async def test_a_failed_action_is_told(visitor: Visitor, world: World, town: Town) -> None:
    await visitor.page.route("**/acknowledge", lambda route: route.fulfill(status=503, body="{}"))
    await visitor.page.get_by_role("button", name="确认接手").first.click()
    await expect(visitor.page.locator("#toast")).to_have_text("操作没有成功，请重试。")
    assert len(visitor.complaints) == 1  # the browser's own line about the 503
    visitor.complaints.clear()


async def test_logging_out_closes_the_pages(visitor: Visitor) -> None:
    await visitor.page.get_by_role("button", name="退出").click()
    await expect(visitor.page.locator("#token")).to_be_visible()
    await visitor.page.goto(f"{visitor.url}/devices")
    await expect(visitor.page.locator("#token")).to_be_visible()
