"""No card number, name or employee number is anywhere but in the controller and in memory."""

import base64
import logging
import random
import sqlite3
from pathlib import Path

import pytest

from edge_agent.sink import BufferSink
from models.times import Clock
from simulators.access.sections import DoorFault
from tests.drivers.access.test_controller import busy, streaming
from tests.support.buffers import open_buffer
from tests.support.doors import a_controller, a_section, listening, pushing, the_listener
from tests.support.items import Sealer
from tests.support.keeping_sink import KeepingSink

CARD, PIN = "0009182736", "80417236"


def spellings(secret: str) -> dict[str, bytes]:
    """All the ways in which a secret could have been written down."""
    plain = secret.encode()
    found = {"text": plain, "text backwards": plain[::-1], "hex": plain.hex().encode()}
    found["HEX"] = found["hex"].upper()
    found["utf-16"] = secret.encode("utf-16-le")
    for shift in range(3):  # what base64 makes of it depends on what stands before it
        coded = base64.b64encode(b"\0" * shift + plain + b"\0\0")
        found[f"base64 {shift}"] = coded[(0, 2, 3)[shift] : -4]
    found["base64url"] = base64.urlsafe_b64encode(plain).rstrip(b"=")[:-1]
    if secret.isdecimal():
        number, even = int(secret), secret if len(secret) % 2 == 0 else f"0{secret}"
        short = secret.lstrip("0")
        found |= {"without zeros": short.encode(), "backwards": short[::-1].encode()}
        found |= {"bcd": bytes.fromhex(even), "bcd backwards": bytes.fromhex(even)[::-1]}
        found |= {"number": number.to_bytes(4, "big"), "number, low first": number.to_bytes(4, "little")}
        found |= {"number in hex": f"{number:x}".encode(), "NUMBER": f"{number:X}".encode()}
    return {how: text for how, text in found.items() if len(text) >= 4}


def leaks(haystacks: dict[str, bytes], secrets: set[str]) -> list[str]:
    return [
        f"{secret} as {how} in {where}"
        for secret in secrets
        for how, needle in spellings(secret).items()
        for where, haystack in haystacks.items()
        if needle in haystack
    ]


def test_the_search_finds_what_it_is_to_find() -> None:
    for how, needle in spellings("0009182736").items():
        assert leaks({"x": b"..." + needle + b"..."}, {"0009182736"}), how


@pytest.mark.parametrize("form", ["json", "xml"])
async def test_no_card_number_name_or_employee_number_leaves_the_edge(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = KeepingSink()  # to know when all is there
    path = tmp_path / "buffer.db"
    async with (
        await open_buffer(path, clock, window_s=0) as buffer,
        a_controller(a_section(people=30, pictures=True, form=form), clock) as controller,
    ):
        sink = BufferSink(buffer, clock)
        real = sink.put

        async def put(items: object, marks: object = None) -> None:
            await real(items, marks)  # type: ignore[arg-type]
            await seen.put(items, marks)  # type: ignore[arg-type]

        sink.put = put  # type: ignore[method-assign]
        listener = the_listener(controller.url, clock, pushes=True, period_s=20)
        busy(controller, 60, random.Random(1))
        async with listening(listener, sink, controller):
            await streaming(controller)
            await pushing(controller, listener)
            busy(controller, 60, random.Random(2))
            controller.add(DoorFault(kind="garbage"))
            busy(controller, 20, random.Random(3))
            controller.clear_faults()
            now_ms = clock.now_ms()
            visit = {
                "key": "1",
                "pass": "v-1",
                "doors": [1],
                "from_ms": now_ms - 1000,
                "to_ms": now_ms + 10**6,
            }
            told = [await listener.act("door", "put_pass", {**visit, "card": CARD})]
            told.append(
                await listener.act(
                    "door", "put_pass", {**visit, "key": "2", "pass": "v-2", "card": None, "pin": PIN}
                )
            )
            controller.swipe(CARD, 1)
            known = controller.secrets | {CARD, PIN}
            await seen.until(
                lambda: sum("serial" in e.data for e in seen.events) == controller.state.log.last
            )
            told.append(await listener.act("door", "take_pass", {"key": "3", "pass": "v-1"}))
        outbox = await buffer.outbox("main")
        cut = await outbox.cut(10_000)
        assert cut is not None
        assert len(cut.items) > 140
        await Sealer().store_next(outbox, 10_000)
        batch = await outbox.pending()
        assert batch is not None
        haystacks = {
            file.name: file.read_bytes()
            for file in tmp_path.iterdir()  # noqa: ASYNC240
        }
        assert {"buffer.db", "buffer.db-wal"} <= set(haystacks)
        haystacks["items"] = repr(cut.items).encode()
        haystacks["envelope"] = batch.body
        haystacks["facts"] = repr(told).encode()
    haystacks["log"] = caplog.text.encode()
    connection = sqlite3.connect(path)
    haystacks["dump"] = "\n".join(connection.iterdump()).encode()
    connection.close()
    assert len(known) > 90
    assert "httpx" in caplog.text  # it logged at DEBUG, and what it logged was looked at
    assert leaks(haystacks, known) == []
