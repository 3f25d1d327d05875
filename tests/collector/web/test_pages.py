"""What the pages say, in both languages, at the site's own time, and safely."""

import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from collector.insight.keep import CONSUMPTION, STUCK
from collector.insight.late import LATE
from collector.insight.refused import REFUSED
from collector.insight.returning import RETURNING
from collector.insight.silence import SILENT
from collector.store.schema import (
    alert,
    command,
    device,
    event,
    gateway,
    gateway_change,
    gateway_return,
)
from collector.web.point_names import point_title
from collector.web.render import Words
from collector.web.texts import _TEXTS
from models.profile import Profile
from models.reading import Reason
from models.vocabulary import NAMES
from simulators.profiles import profile_names, profile_of
from tests.support.collector import StandingClock
from tests.support.collector_town import Town
from tests.support.collector_world import REAL_NOW_MS, World, client_of

PAGE = {"accept": "text/html", "sec-fetch-site": "same-origin"}
ADDRESSES = ("/", "/devices", "/alerts?show=all", "/login", "/nothing-here")


class Elements(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def pages_of(town: Town) -> list[str]:
    return [
        *ADDRESSES,
        f"/devices/hall/{town.meter}",
        f"/devices/school/{town.evil}",
        "/alerts/hall/1",
        "/alerts/school/1",
        "/parts/overview",
    ]


async def test_chinese_is_spoken_first_and_english_on_request(person: httpx.AsyncClient, town: Town) -> None:
    first = await person.get("/")
    assert '<html lang="zh-CN">' in first.text
    assert "在线网关" in first.text
    english = await person.get("/?lang=en")
    assert '<html lang="en">' in english.text
    assert "Gateways online" in english.text
    remembered = await person.get("/alerts")
    assert "Canteen water meter has stopped counting" in remembered.text
    assert (await person.get("/?lang=xx")).text.count("Gateways online") == 1


async def test_the_overview_counts_gateways_devices_consumption_and_alerts(
    person: httpx.AsyncClient, town: Town
) -> None:
    page = " ".join((await person.get("/?lang=en")).text.split())
    assert '<p class="big">2<small>/ 4</small></p>' in page
    assert "2 not online" in page
    assert "1 without fresh data" in page
    assert "metering points summed: 1" in page  # the meters of the parts are in the main meter already
    assert "water 27.1 m3" in page
    assert re.search(r"1\d\d\.\d kgce · 5\d\d\.\d kg CO₂", page)
    assert "1 critical" in page
    assert "Clock offset +42 s" in page


async def test_an_overview_of_one_site_shows_that_site(person: httpx.AsyncClient, town: Town) -> None:
    page = (await person.get("/?site=school")).text
    assert "gw-90ff00e1d2c3" in page
    assert "gw-4f1d2c9a7b30" not in page
    assert (await person.get("/?site=nowhere")).status_code == 404


async def test_devices_are_found_by_name_and_id(person: httpx.AsyncClient, town: Town) -> None:
    assert "食堂水表" in (await person.get("/devices", params={"q": "食堂"})).text
    found = (await person.get("/devices", params={"q": "METER-03"})).text
    assert "3号楼照明插座" in found
    assert "1号楼总表" not in found
    assert "没有符合条件的设备" in (await person.get("/devices", params={"q": "100%_"})).text


async def test_a_device_shows_each_point_with_value_quality_and_reason(
    person: httpx.AsyncClient, town: Town
) -> None:
    page = (await person.get(f"/devices/hall/{town.meter}")).text
    assert "48,213.25" in page
    assert "有功功率" in page
    assert "存疑" in page
    assert 'data-quality="bad"' in page
    assert "60 秒" in page


async def happens(
    world: World, site: int, device_id: str, kind: str, data: dict[str, object], *, seq: int
) -> None:
    await world.add(
        event, site_id=site, epoch_id=1, seq=seq, gateway_id="gw-00000000d001", device_id=device_id,
        kind=kind, data=data, measured_ms=world.now_ms - seq, received_ms=world.now_ms,
    )  # fmt: skip


async def test_a_door_shows_what_has_happened_there_in_words(person: httpx.AsyncClient, world: World) -> None:
    site = await world.site("court", "法院", "Asia/Shanghai")
    await world.gateway(site, "gw-00000000d001", "门卫网关", last_seen_ms=world.now_ms)
    door = await world.device(site, "gw-00000000d001", "door-1", "东门")
    facts = {"door": 1, "credential": "card", "last4": "4711", "reason": "no_right", "history": True}
    told: list[tuple[str, dict[str, object]]] = [
        ("device.described", {"name": "东门"}),
        ("door.denied", facts),
        ("<i>door</i>", {"<u>x</u>": "<script>alert(1)</script>", "at_ms": 5, "nested": {"a": 1}}),
    ]
    for seq, (kind, data) in enumerate(told, 1):
        await happens(world, site, "door-1", kind, data, seq=seq)
    await happens(world, site, "door-2", "door.forced", {}, seq=9)
    page = (await person.get(f"/devices/court/{door}")).text
    assert "拒绝开门" in page
    assert "补传" in page
    for fact in ("<small>卡号末四位</small> 4711", "<small>原因</small> 无权限"):
        assert fact in page
    assert "门被强行打开" not in page  # that is another door
    assert "<script>alert(1)" not in page
    assert "&lt;i&gt;door&lt;/i&gt;" in page
    assert "Denied" in (await person.get(f"/devices/court/{door}?lang=en")).text


async def test_a_device_shows_who_told_it_what_and_what_came_of_it(
    person: httpx.AsyncClient, world: World, town: Town
) -> None:
    def a_command(number: int, **changed: Any) -> dict[str, Any]:
        row = {
            "site_id": town.hall, "id": f"c-{number}", "number": number, "origin": "collector",
            "gateway_id": "gw-4f1d2c9a7b30", "device_id": "meter-01", "action": "open_once",
            "arguments": {"door": 3}, "issued_by": "前台", "issued_ms": world.now_ms,
            "expires_ms": world.now_ms, "state": "done", "outcome": {}, "changed_ms": world.now_ms,
        }  # fmt: skip
        return row | changed

    refused = {"detail": "<script>alert(3)</script>"}
    await world.add_all(
        command,
        [
            a_command(1),
            a_command(2, origin="on-site", issued_by="li (uid 1000)", state="failed"),
            a_command(3, action="<b>", arguments={"card": "•••", "doors": [1, 2]}, outcome=refused),
            a_command(4, device_id="meter-02", issued_by="somebody else"),
        ],
    )
    page = (await person.get(f"/devices/hall/{town.meter}")).text
    for words in (
        "开门一次",
        "前台",
        "li (uid 1000)",
        "现场",
        "失败，是否执行未知",
        "•••",
        "1, 2",
        "&lt;b&gt;",
    ):
        assert words in page
    assert "somebody else" not in page
    assert "<script>alert(3)" not in page
    assert "may have been done or not" in (await person.get(f"/devices/hall/{town.meter}?lang=en")).text


async def test_an_old_value_does_not_look_fresh(person: httpx.AsyncClient, town: Town) -> None:
    fresh = (await person.get(f"/devices/hall/{town.meter}")).text
    old = (await person.get(f"/devices/school/{town.evil}")).text
    assert " data-stale" not in fresh
    assert " data-stale" in old


async def test_an_alert_says_what_was_expected_seen_and_lost(person: httpx.AsyncClient, town: Town) -> None:
    page = (await person.get("/alerts/hall/1?lang=en")).text
    for words in (
        *("61.0 kWh", "182.4 kWh", "121.4 kWh", "14.9 kgce", "64.4 kg"),
        *("national average grid factor 2023", "consumption unlike its past", "Building 1 main meter"),
    ):
        assert words in page
    assert f'href="/devices/hall/{town.meter}?point={town.energy}"' in page
    assert "the collector" in page
    assert f'data-chart="/charts/consumption/hall/{town.energy}?' in page
    silent = (await person.get("/alerts/school/1")).text
    assert "实验小学" in silent


@pytest.mark.parametrize(
    ("condition", "data", "shown", "linked"),
    [
        ("consumption:device:1", {"point": "energy_import_kwh"}, "1号楼总表 · 正向电能", True),
        ("stuck:device:1", {}, "1号楼总表", True),
        ("stuck:device:1", {"point": "no_such_point"}, "1号楼总表", True),
        ("counter:point:2", {}, "1号楼总表 · 正向电能", True),
        ("silent:gateway:gw-77aa01b2c3d4", {}, "食堂网关", False),
        ("stuck:device:999", {}, "stuck:device:999", False),
        ("stuck:point:²", {}, "stuck:point:²", False),
        ("something else", {}, "something else", False),
    ],
)
async def test_an_alert_names_what_it_is_about(
    person: httpx.AsyncClient,
    world: World,
    town: Town,
    condition: str,
    data: dict[str, object],
    shown: str,
    linked: bool,
) -> None:
    number = await world.alert(town.hall, condition, data, state="resolved")
    page = (await person.get(f"/alerts/hall/{number}")).text
    subject = re.search(r"<dt>对象</dt><dd>(<a [^>]+>)?([^<]+)<", page)
    assert subject is not None
    assert (subject[2], subject[1] is not None) == (shown, linked)


async def test_an_alert_is_taken_on_and_closed_on_the_page(person: httpx.AsyncClient, town: Town) -> None:
    taken = await person.post("/alerts/hall/1/acknowledge")
    assert taken.headers["hx-trigger"] == "alerts-changed"
    assert "duty desk 处理中" in taken.text
    assert "/resolve" in taken.text
    closed = await person.post("/alerts/hall/1/resolve")
    assert 'data-state="resolved"' in closed.text
    assert "hx-post" not in closed.text
    assert (await person.post("/alerts/hall/1/resolve")).status_code == 409


async def test_nothing_that_came_from_a_device_becomes_part_of_a_page(
    person: httpx.AsyncClient, town: Town, world: World
) -> None:
    evil = "</p><script>alert(1)</script><img src=x onerror=alert(1)>"
    await world.alert(town.hall, f"stuck:{evil}", {"title": {"zh": evil, "en": evil}, "text": {"zh": evil}})
    await world.gateway(town.hall, "gw-evil", evil, last_seen_ms=world.now_ms, clock_skew_ms=99_000)
    known = {
        "/static/charts.js",
        "/static/live.js",
        "/static/vendor/htmx.min.js",
        "/static/vendor/uPlot.iife.min.js",
    }
    for path in [*pages_of(town), "/alerts/hall/4", f"/devices?q={evil}"]:
        html = (await person.get(path)).text
        for tag, attributes in Elements(html).found:
            assert tag not in ("img", "u", "b") or attributes.get("src") is None, path
            assert not any(name.startswith(("on", "style")) for name in attributes), (path, tag, attributes)
            if tag == "script":
                assert str(attributes["src"]).partition("?")[0] in known, path
        assert "<script>alert" not in html, path


async def test_pages_ask_nothing_of_anybody_else(person: httpx.AsyncClient, town: Town) -> None:
    for path in pages_of(town):
        for _, attributes in Elements((await person.get(path)).text).found:
            for name in ("src", "href", "action", "hx-get", "hx-post", "data-chart"):
                value = attributes.get(name)
                assert value is None or value.startswith(("/", "?", "#")), (path, value)
                assert value is None or not value.startswith("//"), (path, value)


async def test_static_files_are_kept_for_good_under_their_digest(person: httpx.AsyncClient) -> None:
    page = (await person.get("/login")).text
    for address in re.findall(r'(?:src|href)="(/static/[^"#]+)', page):
        answer = await person.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]
    assert (await person.get("/static/style.css")).headers["cache-control"] == "no-cache"
    for escape in ("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fpages.py"):
        assert (await person.get(escape)).status_code == 404


async def test_times_are_those_of_the_site(
    person: httpx.AsyncClient, world: World, standing: StandingClock
) -> None:
    opened_ms = round(datetime(2026, 9, 20, 16, 30, tzinfo=UTC).timestamp() * 1000)
    for code, zone, shown in (("cn", "Asia/Shanghai", "09-21 00:30"), ("de", "Europe/Berlin", "09-20 18:30")):
        site = await world.site(code, code, zone)
        await world.alert(site, "stuck:point:1", {}, opened_ms=opened_ms)
        assert shown in (await person.get(f"/alerts/{code}/1")).text


async def test_a_collector_without_anything_says_what_to_do_first(
    person: httpx.AsyncClient, world: World
) -> None:
    page = (await person.get("/")).text
    assert "collector site add CODE NAME" in page
    await world.site("hq", "HQ")
    page = (await person.get("/")).text
    assert "collector enrollment-token --site hq --name NAME" in page
    assert "edge-agent enroll TOKEN" in page
    assert "没有未关闭的告警" in page
    devices = (await person.get("/devices?lang=en")).text
    assert "No device yet" in devices
    assert "edge-agent check" in devices
    assert "No alert so far" in (await person.get("/alerts?show=all")).text


async def test_a_device_that_was_never_described_has_a_page(person: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    await world.add(device, site_id=site, id=1, gateway_id="gw-1", device_id="m", name="m")
    page = await person.get("/devices/hq/1?lang=en")
    assert page.status_code == 200
    assert "This device has no point yet" in page.text
    assert "not described yet" in page.text


async def test_a_device_whose_gateway_is_gone_is_still_shown(
    person: httpx.AsyncClient, town: Town, world: World
) -> None:
    async with world.store.write() as connection:
        await connection.execute(delete(alert))
        await connection.execute(delete(gateway).where(gateway.c.id == "gw-77aa01b2c3d4"))
    assert "gw-77aa01b2c3d4" in (await person.get("/devices")).text


async def test_long_lists_have_pages(person: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    for number in range(45):
        await world.device(site, "gw-1", f"m{number:02}", f"Meter {number:02}")
        await world.alert(site, f"stuck:point:{number}", {"title": {"zh": f"第{number}号"}})
    for path, more in (("/devices?site=hq", "Meter 44"), ("/alerts?show=all&site=hq", "第0号")):
        first = (await person.get(path)).text
        assert more not in first
        following = re.search(r'href="(\?[^"]*cursor=[^"]+)"', first)
        assert following is not None
        second = await person.get(path.partition("?")[0] + following[1].replace("&amp;", "&"))
        assert second.status_code == 200
        assert more in second.text
        assert "回到第一页" in second.text


@pytest.mark.parametrize(
    "path", ["/devices?cursor=x", "/devices/hall/x", "/devices/hall/999", "/alerts?show=no"]
)
async def test_a_mistaken_address_gives_a_page_that_leads_back(
    person: httpx.AsyncClient, town: Town, path: str
) -> None:
    answer = await person.get(path)
    assert answer.status_code in (404, 422)
    assert "回到总览" in answer.text


def test_every_text_is_there_in_both_languages_with_the_same_parts() -> None:
    for key, (chinese, english) in _TEXTS.items():
        assert chinese, key
        assert english, key
        assert set(re.findall(r"{(\w+)}", chinese)) == set(re.findall(r"{(\w+)}", english)), key
    for reason in Reason:
        assert reason is Reason.NONE or f"reason.{reason.name.lower().replace('_', '-')}" in _TEXTS
    for detector in (CONSUMPTION, STUCK, SILENT, REFUSED, RETURNING, LATE):
        assert f"detector.{detector}" in _TEXTS


@pytest.mark.parametrize(
    ("name", "chinese", "english"),
    [
        ("active_power_kw", "有功功率", "Active power"),
        ("voltage_l12_v", "电压 L1-L2", "Voltage L1-L2"),
        ("energy_import_peak_kwh", "正向电能 峰", "Energy import peak"),
        ("power_factor", "功率因数", "Power factor"),
        ("water_level_m", "Water level M", "Water level M"),
        ("v", "V", "V"),
        ("", "", ""),
    ],
)
def test_a_point_is_named_in_words(name: str, chinese: str, english: str) -> None:
    assert (point_title(name, "zh"), point_title(name, "en")) == (chinese, english)


def test_every_usual_point_has_a_chinese_name() -> None:
    shipped = [point.name for name in profile_names() for point in profile_of(name, Profile).points]
    for name in (*NAMES, *shipped):
        left = re.sub(r"L[123](-L[123])?|\b[A-D]\b", "", point_title(name, "zh"))
        assert not re.search(r"[A-Za-z]", left), name


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (40, "40 s ago"),
        (600, "10 min ago"),
        (7200, "2 h ago"),
        (90_000, "25 h ago"),
        (4e5, "4 d ago"),
    ],
)
def test_how_long_ago_is_told_in_round_words(seconds: float, words: str) -> None:
    assert Words("en", 10**12).ago(10**12 - round(seconds * 1000)) == words


def test_what_others_wrote_is_what_they_published() -> None:
    folder = files("collector.web").joinpath("static", "vendor")
    table = folder.joinpath("VENDORED.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", table, re.MULTILINE))
    present = {entry.name for entry in folder.iterdir() if entry.name.endswith((".js", ".css"))}
    assert set(listed) == present
    for name, digest in listed.items():
        assert hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest, name


async def test_a_gateway_that_asks_to_come_back_is_approved_on_the_page_by_who_may(
    app: FastAPI, person: httpx.AsyncClient, town: Town, world: World
) -> None:
    for gateway_id, code in (("gw-90ff00e1d2c3", "AAAA-BBBB-CCCC"), ("gw-0000000000aa", "DDDD-EEEE-FFFF")):
        await world.add(
            gateway_return,
            gateway_id=gateway_id,
            code=code,
            public_key=b"",
            state="waiting",
            asked_ms=REAL_NOW_MS,
            last_asked_ms=REAL_NOW_MS,
        )
    seen = (await person.get("/")).text
    assert "AAAA-BBBB-CCCC" in seen
    assert "/gateway-returns/" not in seen  # this person may not decide
    assert (await person.post("/gateway-returns/AAAA-BBBB-CCCC/approve")).status_code == 403
    token = await world.token("admission", "read", "gateways:write")
    async with client_of(app, headers=PAGE) as keeper:
        await keeper.post("/login", data={"token": token})
        assert "/gateway-returns/AAAA-BBBB-CCCC/approve" in (await keeper.get("/")).text
        assert "已批准" in (await keeper.post("/gateway-returns/AAAA-BBBB-CCCC/approve")).text
        assert "已拒绝" in (await keeper.post("/gateway-returns/DDDD-EEEE-FFFF/reject")).text
        assert (await keeper.post("/gateway-returns/GGGG-HHHH-IIII/approve")).status_code == 404
    async with world.store.read() as connection:
        rows = (await connection.execute(gateway_change.select().order_by(gateway_change.c.id))).all()
    assert [(row.gateway_id, row.change, row.by) for row in rows] == [
        ("gw-90ff00e1d2c3", "approved", "admission"),
        ("gw-0000000000aa", "rejected", "admission"),
    ]
