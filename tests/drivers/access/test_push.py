"""What is pushed comes from the controller and by the secret path, and everything else is told nothing."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.access.controller import DoorController
from drivers.access.push import MOST_BODY, MOST_CONNECTIONS
from models.times import Clock
from tests.support.doors import SECRET_PATH, listening, push_port, the_listener
from tests.support.keeping_sink import KeepingSink
from tests.support.pushes import exchange, post, request, status_of

JPEG = b"\xff\xd8\xff\xe0" + b"FACE-OF-SOMEBODY" * 20_000 + b"\xff\xd9"


def body(serial: int = 1, **more: Any) -> bytes:
    fields = {"majorEventType": 5, "subEventType": 27, "serialNo": serial, "doorNo": 1, "currentEvent": True}
    document = {"dateTime": "2026-09-21T22:13:20+08:00", "eventType": "AccessControllerEvent"}
    return json.dumps({**document, "AccessControllerEvent": fields | more}).encode()


def multipart(*texts: bytes) -> tuple[str, bytes]:
    parts = [b"--xx\r\nContent-Type: application/json\r\n\r\n" + text + b"\r\n" for text in texts]
    picture = b"--xx\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(JPEG) + JPEG + b"\r\n"
    return "multipart/form-data; boundary=xx", b"".join([*parts, picture]) + b"--xx--\r\n"


@pytest.fixture
async def listener(clock: Clock, sink: KeepingSink) -> AsyncIterator[DoorController]:
    """For a controller that is at this machine's address, and does not answer."""
    listener = the_listener("http://127.0.0.1:9", clock, pushes=True, isapi={"stream": False})
    async with listening(listener, sink):
        await push_port(listener)
        await listener._tried.wait()
        yield listener


async def test_an_event_is_stored_before_it_is_acknowledged(
    listener: DoorController, sink: KeepingSink
) -> None:
    assert await post(await push_port(listener), SECRET_PATH, body()) == 200
    assert [event.kind for event in sink.events] == ["door.forced"]


async def test_several_requests_may_come_on_one_connection(
    listener: DoorController, sink: KeepingSink
) -> None:
    first = request(SECRET_PATH, body(1)).replace(b"Connection: close\r\n", b"")
    answer = await exchange(await push_port(listener), [first + request(SECRET_PATH, body(2), method="PUT")])
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [event.data["serial"] for event in sink.events] == [1, 2]


async def test_a_body_in_chunks_that_waits_to_be_asked_for_is_taken(
    listener: DoorController, sink: KeepingSink
) -> None:
    text = body()
    head = (
        f"POST {SECRET_PATH} HTTP/1.1\r\nHost: g\r\nConnection: close\r\nExpect: 100-continue\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = [
        f"{len(text[:50]):x}\r\n".encode() + text[:50] + b"\r\n",
        b"%x\r\n" % len(text[50:]) + text[50:],
    ]
    answer = await exchange(await push_port(listener), [head.encode(), *chunks, b"\r\n0\r\n\r\n"])
    assert b"HTTP/1.1 100" in answer
    assert b"HTTP/1.1 200" in answer
    assert len(sink.events) == 1


async def test_pictures_are_dropped_and_touch_neither_disk_nor_event(
    listener: DoorController, sink: KeepingSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Path.open

    def watched(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        opened.append(f"{self} {mode}")
        return real(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", watched)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kind, content = multipart(body(1), body(2))
    assert await post(await push_port(listener), SECRET_PATH, content, kind=kind) == 200
    assert [event.data["serial"] for event in sink.events] == [1, 2]
    assert "FACE-OF-SOMEBODY" not in repr(sink.events)
    assert opened == []
    assert os.listdir(tmp_path) == []  # noqa: PTH208  # Path is being watched


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        pytest.param("/", "POST", 404, id="no-path"),
        pytest.param(SECRET_PATH[:-1], "POST", 404, id="nearly"),
        pytest.param(f"{SECRET_PATH}/x", "POST", 404, id="more"),
        pytest.param(f"http://x{SECRET_PATH}", "POST", 404, id="absolute"),
        pytest.param(SECRET_PATH, "GET", 405, id="get"),
    ],
)
async def test_whoever_does_not_know_the_path_is_told_nothing(
    listener: DoorController, sink: KeepingSink, path: str, method: str, status: int
) -> None:
    answer = await exchange(await push_port(listener), [request(path, body(), method=method)])
    assert status_of(answer) in (status, 0)
    assert SECRET_PATH.encode() not in answer
    assert sink.events == []


async def test_another_address_than_the_controllers_is_closed_without_a_word(
    clock: Clock, sink: KeepingSink
) -> None:
    listener = the_listener("http://192.0.2.1:80", clock, pushes=True, isapi={"stream": False})
    async with listening(listener, sink):
        answer = await exchange(await push_port(listener), [request(SECRET_PATH, body())])
        assert answer == b""
        assert listener.push is not None
        assert listener.push.refused == 1
    assert sink.events == []


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([request(SECRET_PATH, b'{"AccessCon')], id="half-a-message"),
        pytest.param([request(SECRET_PATH, b"x" * 300_000)], id="long-text"),
        pytest.param([request(SECRET_PATH, b"--xx", kind="multipart/mixed")], id="no-boundary"),
        pytest.param(
            [
                f"POST {SECRET_PATH} HTTP/1.1\r\nHost: g\r\nContent-Type: multipart/mixed; boundary=q\r\n"
                f"Content-Length: {2 * MOST_BODY}\r\n\r\n".encode(),
                *[b"y" * 65_536] * (MOST_BODY // 65_536 + 2),
            ],
            id="endless-picture",
        ),
        pytest.param([b"GET / HTTP/9\r\n\r\n"], id="no-http"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50], id="tls"),
        pytest.param([b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000], id="endless-head"),
        pytest.param([b"\x00" * 100_000], id="zeros"),
        pytest.param(
            [f"POST {SECRET_PATH} HTTP/1.1\r\nHost: g\r\nContent-Length: -1\r\n\r\n".encode()], id="minus"
        ),
    ],
)
async def test_hostile_bytes_end_their_own_connection_and_nothing_else(
    listener: DoorController, sink: KeepingSink, chunks: list[bytes]
) -> None:
    answer = await exchange(await push_port(listener), chunks)
    assert status_of(answer) in (400, 404, 0)
    assert sink.events == []
    assert await post(await push_port(listener), SECRET_PATH, body()) == 200
    assert len(sink.events) == 1


async def test_many_who_say_nothing_do_not_keep_the_controller_out_for_ever(
    listener: DoorController, sink: KeepingSink
) -> None:
    port = await push_port(listener)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS + 4)]
    for _, writer in silent:
        writer.transport.abort()
    for _, writer in silent:
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    async with asyncio.timeout(5):
        while await post(port, SECRET_PATH, body()) != 200:
            pass
    assert len(sink.events) == 1


async def test_the_path_is_in_no_repr_and_no_log(
    listener: DoorController, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await post(await push_port(listener), f"{SECRET_PATH}x", body())
    assert SECRET_PATH[8:] not in caplog.text
