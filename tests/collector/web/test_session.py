"""Logging in, staying in, getting out; and nobody acts in another's name."""

import httpx
import pytest
from sqlalchemy import select

from collector.identity.tokens import revoke_api_token
from collector.store.schema import alert
from collector.web.session import safe_next
from tests.support.collector_town import Town
from tests.support.collector_world import REAL_NOW_MS, World

FOREIGN = [
    pytest.param({"sec-fetch-site": "cross-site"}, id="cross-site"),
    pytest.param({"sec-fetch-site": "same-site"}, id="a-neighbour"),
    pytest.param({"sec-fetch-site": "none"}, id="typed"),
    pytest.param({"sec-fetch-site": "", "origin": "http://collector.test"}, id="no-word"),
]


async def test_a_token_opens_the_pages_and_is_out_of_reach_of_scripts(
    stranger: httpx.AsyncClient, world: World
) -> None:
    token = await world.token("wall", "read")
    answer = await stranger.post("/login", data={"token": f"  {token}\n", "next": "/devices"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/devices")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # over plain HTTP a Secure cookie would not come back
    assert (await stranger.get("/")).status_code == 200


async def test_over_tls_the_cookie_stays_on_tls(stranger: httpx.AsyncClient, world: World) -> None:
    token = await world.token("wall", "read")
    answer = await stranger.post("https://collector.test/login", data={"token": token})
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("scopes", "words"),
    [
        pytest.param(None, "unknown, revoked or expired", id="invented"),
        pytest.param(("alerts:write",), "lacks the scope read", id="cannot-read"),
    ],
)
async def test_a_token_that_opens_nothing_is_told_why(
    stranger: httpx.AsyncClient, world: World, scopes: tuple[str, ...] | None, words: str
) -> None:
    token = "ght_invented" if scopes is None else await world.token("t", *scopes)
    answer = await stranger.post("/login?lang=en", data={"token": token})
    assert answer.status_code == 403
    assert words in answer.text
    assert token not in answer.text
    assert "gatehouse_session" not in answer.headers.get("set-cookie", "")


async def test_without_a_session_every_page_leads_to_the_login_and_back(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/devices?q=meter 1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/devices%3Fq%3Dmeter%25201"
    login = await stranger.get(answer.headers["location"])
    assert 'name="next" value="/devices?q=meter%201"' in login.text


async def test_without_a_session_charts_and_parts_say_so_in_their_own_way(
    stranger: httpx.AsyncClient,
) -> None:
    chart = await stranger.get("/charts/today/hall", headers={"accept": "application/json"})
    assert (chart.status_code, chart.headers["content-type"]) == (401, "application/problem+json")
    part = await stranger.get("/parts/overview", headers={"hx-request": "true"})
    assert part.headers["hx-redirect"] == "/login"
    live = await stranger.get("/live", headers={"accept": "text/event-stream"})
    assert live.status_code == 401


async def test_a_link_from_a_mail_comes_back_with_the_strict_cookie(
    person: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """From another site the browser keeps the cookie back; the page asks for itself again, from here."""
    answer = await stranger.get("/alerts/hall/1", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/alerts/hall/1">' in answer.text
    assert "<form" not in answer.text


async def test_a_revoked_token_is_out_at_once(person: httpx.AsyncClient, world: World) -> None:
    assert (await person.get("/")).status_code == 200
    await revoke_api_token(world.store, "duty desk", now_ms=REAL_NOW_MS - 1)
    assert (await person.get("/")).headers["location"] == "/login?next=/"


async def test_logging_out_ends_the_session(person: httpx.AsyncClient) -> None:
    assert (await person.post("/logout")).headers["location"] == "/login"
    assert (await person.get("/")).status_code == 303


@pytest.mark.parametrize("headers", FOREIGN)
async def test_no_other_page_acts_with_a_session(
    person: httpx.AsyncClient, world: World, town: Town, headers: dict[str, str]
) -> None:
    sent = {k: v for k, v in headers.items() if v}
    if not headers["sec-fetch-site"]:
        del person.headers["sec-fetch-site"]
        sent["origin"] = "http://evil.test"
    for path in ("/alerts/hall/1/acknowledge", "/alerts/hall/1/resolve", "/logout", "/login"):
        answer = await person.post(path, headers={"accept": "*/*", **sent})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:gatehouse:problem:foreign-page"), (
            path
        )
    async with world.store.read() as connection:
        statement = select(alert.c.state).where(alert.c.site_id == town.hall, alert.c.id == 1)
        assert (await connection.execute(statement)).scalar_one() == "firing"


async def test_a_browser_that_says_only_its_origin_is_believed(person: httpx.AsyncClient, town: Town) -> None:
    """Over plain HTTP from another machine browsers send no Sec-Fetch-Site."""
    del person.headers["sec-fetch-site"]
    answer = await person.post("/alerts/hall/1/acknowledge", headers={"origin": "http://collector.test"})
    assert answer.status_code == 200


async def test_who_may_only_look_cannot_act(stranger: httpx.AsyncClient, world: World, town: Town) -> None:
    token = await world.token("wall", "read")
    await stranger.post("/login", data={"token": token})
    page = await stranger.get("/alerts?lang=en")
    assert "hx-post" not in page.text
    assert "needs the scope alerts:write" in page.text
    answer = await stranger.post("/alerts/hall/1/acknowledge", headers={"accept": "*/*"})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:gatehouse:problem:missing-scope")


async def test_a_session_of_one_site_sees_that_site_only(
    stranger: httpx.AsyncClient, world: World, town: Town
) -> None:
    token = await world.token("school", "read", "alerts:write", sites=["school"])
    await stranger.post("/login", data={"token": token})
    for path in ("/", "/devices", "/alerts?show=all", "/parts/overview"):
        text = (await stranger.get(path)).text
        assert "市民中心" not in text, path
        assert "meter-01" not in text, path
    for path in (
        "/?site=hall",
        f"/devices/hall/{town.meter}",
        "/alerts/hall/1",
        "/charts/today/hall",
        f"/charts/consumption/hall/{town.energy}",
        f"/charts/readings/hall/{town.power}",
    ):
        assert (await stranger.get(path)).status_code == 404, path
    assert (await stranger.post("/alerts/hall/1/acknowledge")).status_code == 404


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/devices?q=1", "/devices?q=1"),
        ("", "/"),
        (None, "/"),
        ("https://evil.test/", "/"),
        ("//evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_a_login_leads_to_our_own_pages_only(target: str | None, safe: str) -> None:
    assert safe_next(target) == safe


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"token=" + b"x" * 5000, 413, id="too-large"),
        pytest.param(b"\xff\xfe", 400, id="no-text"),
        pytest.param(b"&".join(b"a=%d" % n for n in range(50)), 400, id="too-many-fields"),
        pytest.param(b"", 403, id="empty"),
    ],
)
async def test_a_form_that_is_none_is_refused(stranger: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await stranger.post("/login", content=body)
    assert answer.status_code == status
