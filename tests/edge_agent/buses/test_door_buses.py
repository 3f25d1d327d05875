"""A gateway is told of its doors by its configuration, and what is wrong with one bus concerns no other."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.contract import DeviceUnreachable
from edge_agent.buses import Bus, Tools, make_buses
from edge_agent.config.load import load_config
from edge_agent.pseudonym_key import FILE, adopt_pseudonym_key, pseudonym_key
from edge_agent.secret_files import SecretUnusable, read_secret, read_secret_bytes
from models.document import DocumentMistakes
from simulators.access.controller import running_controller
from simulators.access.readers import running_line
from simulators.access.sections import OsdpLineSection, ReaderSection
from tests.support.clocks import START_MS, fast_clock
from tests.support.doors import a_section, eventually
from tests.support.keeping_sink import KeepingSink

READERS = OsdpLineSection(readers=(ReaderSection(id="reader", address=0, key="0f" * 16),))


@asynccontextmanager
async def running(buses: list[Bus]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(bus.run(), name=bus.bus) for bus in buses]
    try:
        yield
    finally:
        for bus in buses:
            bus.stop()
        await asyncio.gather(*tasks)


def configured(folder: Path, buses: list[Any], devices: list[Any], secrets: dict[str, str]) -> Path:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({"buses": buses, "devices": devices}, allow_unicode=True))
    for name, secret in secrets.items():
        (folder / name).write_text(f"{secret}\n")
    return file


async def test_what_the_simulator_says_of_itself_is_a_configuration_that_works(tmp_path: Path) -> None:
    clock, sink = fast_clock(1), KeepingSink()
    async with (
        running_controller(a_section(), clock=clock, seed=1, origin_ms=START_MS) as controller,
        running_line(READERS, clock=clock, seed=1, origin_ms=START_MS) as line,
    ):
        file = configured(
            tmp_path,
            [*controller.buses("doors"), *line.buses("readers")],
            [*controller.devices("doors"), *line.devices("readers")],
            {**controller.secret_files, **line.secret_files},
        )
        buses = make_buses(load_config(file), Tools(sink=sink, clock=clock))
        with pytest.raises(DeviceUnreachable):
            await buses[0].act("door", "open_once", {"key": "k", "door": 1})
        assert [state.id for bus in buses for state in bus.states] == ["door", "reader"]
        controller.happen("card_ok", 1, controller.people[0])
        async with running(buses):
            [granted] = await sink.has(1, "door.granted")
            await eventually(lambda: buses[1].states[0].answered_ms)
            line.readers["reader"].hold(controller.people[0].card)
            [read] = await sink.has(1, "door.card_read")
    assert granted.data["door_name"] == "Door 1"
    assert granted.data["pseudonym"] == read.data["pseudonym"]  # one card, one pseudonym, two makes of door
    assert stat.S_IMODE((tmp_path / "state" / FILE).stat().st_mode) == 0o600


async def test_a_password_that_is_missing_is_asked_for_until_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, sink = fast_clock(200), KeepingSink()
    async with running_controller(a_section(), clock=clock, seed=1, origin_ms=START_MS) as controller:
        file = configured(tmp_path, controller.buses("doors"), controller.devices("doors"), {})
        controller.happen("forced", 1)
        async with running(make_buses(load_config(file), Tools(sink=sink, clock=clock))):
            await eventually(lambda: "door.password" in caplog.text)
            (tmp_path / "door.password").write_text(controller.section.password)
            await sink.has(1, "door.forced")


def test_a_listener_without_its_secret_path_is_a_mistake_with_its_line(tmp_path: Path) -> None:
    section = {"url": "http://192.0.2.1", "username": "u", "password_file": "p", "listen_host": "0.0.0.0"}  # noqa: S104
    file = configured(tmp_path, [{"id": "d", "door_controller": section}], [], {})
    with pytest.raises(DocumentMistakes, match="listen_path_file go together"):
        load_config(file)


@pytest.mark.parametrize("url", ["ftp://x", "http://user:secret@192.0.2.1", "http://x/path", "192.0.2.1"])
def test_an_address_that_is_none_or_holds_a_password_is_a_mistake(tmp_path: Path, url: str) -> None:
    section = {"url": url, "username": "u", "password_file": "p"}
    file = configured(tmp_path, [{"id": "d", "door_controller": section}], [], {})
    with pytest.raises(DocumentMistakes, match="url"):
        load_config(file)


@pytest.mark.parametrize("path", ["short", "with space in it and long", "../../../../../../x?y"])
async def test_a_push_path_that_is_no_secret_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    section = {"url": "http://192.0.2.1", "username": "u", "password_file": "p", "listen_host": "127.0.0.1",
               "listen_port": 65_000, "listen_path_file": "path"}  # fmt: skip
    device = {"id": "door", "bus": "d", "profile": "hikvision-access", "period_s": 60}
    file = configured(tmp_path, [{"id": "d", "door_controller": section}], [device], {"p": "x", "path": path})
    async with running(make_buses(load_config(file), Tools(sink=KeepingSink(), clock=fast_clock(1)))):
        await eventually(lambda: "16 or more" in caplog.text)
    assert path not in caplog.text


def test_the_key_for_pseudonyms_is_made_once_also_by_many_at_a_time(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: pseudonym_key(tmp_path / "state"), range(32)))
    assert len(keys) == 1
    assert pseudonym_key(tmp_path / "state") in keys
    assert os.listdir(tmp_path / "state") == [FILE]  # noqa: PTH208
    assert len((tmp_path / "state" / FILE).read_bytes()) == 32


def test_a_key_that_a_person_brings_is_taken_and_can_be_adopted(tmp_path: Path) -> None:
    given = tmp_path / "institution.key"
    given.write_text(bytes(range(32)).hex() + "\n")
    assert pseudonym_key(tmp_path / "state", given) == bytes(range(32))
    assert not (tmp_path / "state").exists()
    adopt_pseudonym_key(tmp_path / "state", given)
    assert pseudonym_key(tmp_path / "state") == bytes(range(32))
    assert stat.S_IMODE((tmp_path / "state" / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 32, b"zz" * 32, b"x" * 5000])
def test_a_key_that_cannot_be_used_is_never_replaced_by_a_new_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SecretUnusable):
        pseudonym_key(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe"])
def test_a_file_that_holds_no_password_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "p"
    file.write_bytes(content)
    with pytest.raises(SecretUnusable) as caught:
        read_secret(file)
    assert "lines" not in str(caught.value).partition(":")[2].partition(";")[0].replace("one line", "")
    with pytest.raises(SecretUnusable):
        read_secret_bytes(tmp_path / "missing", 16)
