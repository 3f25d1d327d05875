"""Every error is a problem that says what, where and what next, and nothing about our insides."""

import logging

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError, TimeoutError

from models.errors import RetryLater
from tests.support.collector_world import client_of


class Body(BaseModel):
    count: int


async def get_problem(app: FastAPI, method: str, path: str, **more: object) -> httpx.Response:
    async with client_of(app) as client:
        answer = await client.request(method, path, **more)  # type: ignore[arg-type]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert all(problem[part] for part in ("type", "title", "detail", "hint"))
    return answer


async def test_an_unknown_address_is_a_problem(app: FastAPI) -> None:
    answer = await get_problem(app, "GET", "/api/v1/metres")
    assert answer.status_code == 404
    assert "/api/v1/metres" in answer.json()["detail"]


async def test_a_wrong_method_is_told_the_right_one(app: FastAPI) -> None:
    answer = await get_problem(app, "DELETE", "/api/v1/sites")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["hint"] == "Use GET."


async def test_a_body_that_is_not_json_is_a_problem(app: FastAPI) -> None:
    @app.post("/api/v1/echo")
    async def echo(body: Body) -> Body:
        return body

    headers = {"content-type": "application/json"}
    answer = await get_problem(app, "POST", "/api/v1/echo", content=b'{"count": ', headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:gatehouse:problem:malformed"
    answer = await get_problem(app, "POST", "/api/v1/echo", json={"count": "x"})
    assert answer.json()["parameters"][0]["name"] == "count"


async def test_an_unforeseen_error_says_nothing_about_our_insides(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/api/v1/broken")
    async def broken() -> None:
        raise RuntimeError("password=hunter2 in /srv/secret.py")

    with caplog.at_level(logging.ERROR):
        answer = await get_problem(app, "GET", "/api/v1/broken")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "secret.py" not in answer.text
    incident = answer.json()["incident"]
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RetryLater("the disk is locked"), id="ours"),
        pytest.param(OperationalError("SELECT", {}, Exception("database is locked")), id="database"),
        pytest.param(TimeoutError("QueuePool limit, connection locked"), id="connections"),
    ],
)
async def test_busy_says_when_to_come_back(app: FastAPI, error: Exception) -> None:
    @app.get("/api/v1/busy")
    async def busy() -> None:
        raise error

    answer = await get_problem(app, "GET", "/api/v1/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "locked" not in answer.text


async def test_a_browser_gets_a_page(app: FastAPI) -> None:
    async with client_of(app, headers={"accept": "text/html"}) as client:
        answer = await client.get("/nothing-here?lang=en")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "There is no such page" in answer.text
        assert (await client.get("/api/v1/nothing")).headers["content-type"] == "application/problem+json"
