"""What an address may carry after its `?`, and what is said of mistakes."""

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.api.cursors import decode_cursor
from collector.api.parameters import parse_time
from collector.api.problems import ApiProblem
from models.times import utc_text
from tests.support.collector_world import World

EVENTS = "/api/v1/events"
DAY = "from=2025-11-03T00:00:00Z&to=2025-11-04T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        pytest.param("2025-11-03T08:00:00+08:00", 1_762_128_000_000, id="zone"),
        pytest.param("2025-11-03T00:00:00Z", 1_762_128_000_000, id="utc"),
        pytest.param("2025-11-03T08:00:00 08:00", 1_762_128_000_000, id="plus-that-became-a-space"),
        pytest.param("2025-11-03T00:00:00.250Z", 1_762_128_000_250, id="fraction"),
        pytest.param("20251103T000000Z", 1_762_128_000_000, id="basic-form"),
        pytest.param("1762128000000", 1_762_128_000_000, id="milliseconds"),
    ],
)
def test_a_time_is_iso_8601_with_zone_or_milliseconds(text: str, ms: int) -> None:
    assert parse_time("from", text) == ms


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        pytest.param("2025-11-03T00:00:00", "no zone", "+08:00", id="no-zone"),
        pytest.param("2025-11-03", "no zone", "+08:00", id="date-only"),
        pytest.param("1762128000", "looks like seconds", "1762128000000", id="seconds"),
        pytest.param("yesterday", "no time", "+08:00", id="word"),
        pytest.param("1999-01-01T00:00:00Z", "outside the years", "+08:00", id="too-early"),
        pytest.param("0001-01-01T00:00:00+14:00", "outside the years", "+08:00", id="before-time"),
        pytest.param("99999999999999999999", "outside the years", "+08:00", id="too-large"),
    ],
)
def test_a_time_that_cannot_be_used_is_explained(text: str, what: str, hint: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        parse_time("from", text)
    [parameter] = caught.value.problem.parameters or []
    assert parameter.name == "from"
    assert what in parameter.what
    assert hint in parameter.hint


@given(st.integers(946_684_800_000, 4_102_444_799_999))
def test_every_time_that_the_api_answers_can_be_asked_for(ms: int) -> None:
    assert parse_time("to", utc_text(ms)) == parse_time("to", str(ms)) == ms


@given(st.text(max_size=40))
def test_no_text_is_worse_than_a_problem(text: str) -> None:
    with contextlib.suppress(ApiProblem):
        parse_time("from", text)


@pytest.mark.parametrize(
    ("query", "name", "what", "hint"),
    [
        pytest.param("to=2025-11-04T00:00:00Z", "from", "field required", "Add it", id="from-is-missing"),
        pytest.param(
            "from=2025-11-04T00:00:00Z&to=2025-11-03T00:00:00Z", "from", "not before", "Exchange", id="turned"
        ),
        pytest.param(
            "from=2025-11-03T00:00:00Z&to=2025-11-03T00:00:00Z", "from", "not before", "Exchange", id="empty"
        ),
        pytest.param(
            "from=2023-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "to", "400 days", "one year", id="long"
        ),
        pytest.param(f"{DAY}&limit=1001", "limit", "1000", "Give 1000 or less", id="limit-too-large"),
        pytest.param(f"{DAY}&limit=0", "limit", "1", "Give 1 or more", id="limit-zero"),
        pytest.param(f"{DAY}&limit=many", "limit", "integer", "whole number", id="limit-is-a-word"),
        pytest.param(f"{DAY}&cursor=nonsense", "cursor", "none of ours", "next_cursor", id="cursor-invented"),
        pytest.param(
            f"{DAY}&knd=door.forced", "knd", "no such parameter", "Did you mean kind?", id="typing-mistake"
        ),
        pytest.param(f"{DAY}&colour=red", "colour", "no such parameter", "cursor, from, kind", id="unknown"),
    ],
)
async def test_a_query_that_cannot_be_used_names_parameter_mistake_and_hint(
    reader: httpx.AsyncClient, query: str, name: str, what: str, hint: str
) -> None:
    answer = await reader.get(f"{EVENTS}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    problem = answer.json()
    assert problem["type"] == "urn:gatehouse:problem:invalid-parameter"
    [parameter] = problem["parameters"]
    assert parameter["name"] == name
    assert what in parameter["what"]
    assert hint in parameter["hint"]
    assert name in problem["detail"]


async def test_several_mistakes_are_named_together(reader: httpx.AsyncClient) -> None:
    answer = await reader.get("/api/v1/points?limit=x&device=0&kind=sum")
    assert {parameter["name"] for parameter in answer.json()["parameters"]} == {"limit", "device", "kind"}


async def test_a_cursor_fits_its_own_question_only(reader: httpx.AsyncClient, world: World) -> None:
    site = await world.site("hq", "HQ")
    await world.gateway(site, "gw-1", "One", last_seen_ms=None)
    for name in ("a", "b"):
        await world.device(site, "gw-1", name, name)
    page = (await reader.get("/api/v1/devices?limit=1")).json()
    answer = await reader.get(
        "/api/v1/devices", params={"limit": 1, "site": "hq", "cursor": page["next_cursor"]}
    )
    assert "belongs to another question" in answer.json()["parameters"][0]["what"]


@given(st.text(max_size=60))
def test_an_invented_cursor_is_refused_whatever_it_is(text: str) -> None:
    with pytest.raises(ApiProblem):
        decode_cursor(text, ("q",), (int, int))
