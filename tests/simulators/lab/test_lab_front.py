"""A front before a collector loses receipts and delivers again, and changes nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from simulators.lab.front import Front, front
from simulators.lab.plan import Fault


@asynccontextmanager
async def a_shop() -> AsyncIterator[tuple[Front, list[str], httpx.AsyncClient]]:
    """A front before a server that notes what it gets and says its number back."""
    got: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].split("\r")[0] or 0)
        got.append(f"{head.split()[0]} {(await reader.readexactly(length)).decode()}".strip())
        body = f"answer {len(got)}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nx-told: 1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with front("127.0.0.1", port, seed=1) as made:
            url = f"http://127.0.0.1:{made.port}"
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                yield made, got, client
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_is_asked_arrives_and_what_is_answered_comes_back() -> None:
    async with a_shop() as (made, got, client):
        for number in range(3):
            answer = await client.post("/batches", content=f"body {number}")
            assert (answer.status_code, answer.text) == (200, f"answer {number + 1}")
            assert answer.headers["x-told"] == "1"
        assert (await client.get("/time")).text == "answer 4"
        assert got == ["POST body 0", "POST body 1", "POST body 2", "GET"]
        assert made.done.passed == 4


async def test_a_lost_receipt_breaks_the_connection_after_the_deed() -> None:
    async with a_shop() as (made, got, client):
        fault = Fault(0, "requests.lost_receipt", 1, {"share": 1.0})
        await made.begin(fault)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/batches", content="once")
        await made.end(fault)
        assert got == ["POST once"]
        assert (await client.post("/batches", content="once")).text == "answer 2"


async def test_a_request_arrives_twice_and_a_question_does_not() -> None:
    async with a_shop() as (made, got, client):
        await made.begin(Fault(0, "requests.twice", 1, {"share": 1.0}))
        assert (await client.post("/batches", content="a")).text == "answer 2"
        await client.get("/time")
        assert got == ["POST a", "POST a", "GET"]


async def test_a_request_arrives_again_after_later_ones() -> None:
    async with a_shop() as (made, got, client):
        late = Fault(0, "requests.late_again", 1, {"share": 1.0})
        await made.begin(late)
        await client.post("/batches", content="a")
        await made.end(late)
        assert (await client.post("/batches", content="b")).text == "answer 2"
        assert got == ["POST a", "POST b", "POST a"]


@pytest.mark.parametrize(
    ("kind", "statuses"), [("requests.busy", {429, 503}), ("requests.failing", {500, 502, 504})]
)
async def test_who_is_sent_away_has_not_been_heard(kind: str, statuses: set[int]) -> None:
    async with a_shop() as (made, got, client):
        fault = Fault(0, kind, 1, {"pause_s": 3.2})
        await made.begin(fault)
        answers = [await client.post("/batches", content="a") for _ in range(20)]
        assert {answer.status_code for answer in answers} == statuses
        assert {answer.headers.get("retry-after") for answer in answers} == {"3" if "busy" in kind else None}
        assert got == []
        await made.end(fault)
        assert (await client.post("/batches", content="a")).status_code == 200


async def test_a_collector_that_is_not_there_breaks_the_connection() -> None:
    async with front("127.0.0.1", 1) as made, httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"http://127.0.0.1:{made.port}/", content="a")
