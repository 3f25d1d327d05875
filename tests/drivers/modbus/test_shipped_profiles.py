"""Each profile that is shipped decodes the frames of its sources, by the whole way from the wire."""

import json
from collections.abc import Iterator
from importlib.resources import files

import pytest

from drivers.modbus.plan import plan
from edge_agent.catalogue import Catalogue
from models.profile import profile_json_schema
from models.profile.modbus import Golden, ModbusProfile
from models.reading import Quality
from tests.drivers.modbus.conftest import Drivers
from tests.support.byte_server import Asked, ByteServer

CATALOGUE = Catalogue()
PROFILES = {
    name: profile for name in CATALOGUE.names() if isinstance(profile := CATALOGUE.load(name), ModbusProfile)
}


def goldens() -> Iterator[tuple[ModbusProfile, Golden]]:
    for profile in PROFILES.values():
        for golden in profile.golden:
            yield profile, golden


def named(profile: ModbusProfile, golden: Golden) -> str:
    return f"{profile.profile} {golden.request}"


@pytest.mark.parametrize(("profile", "golden"), [pytest.param(*pair, id=named(*pair)) for pair in goldens()])
async def test_a_golden_frame_gives_its_values(
    server: ByteServer, drivers: Drivers, profile: ModbusProfile, golden: Golden
) -> None:
    request, reply = bytes.fromhex(golden.request), bytes.fromhex(golden.reply)
    function, first, count = (
        request[0],
        int.from_bytes(request[1:3], "big"),
        int.from_bytes(request[3:], "big"),
    )
    server.set(function, first, reply[2:])
    assert server.reply(Asked(1, 1, function, first, count, b""))[7:] == reply
    readings = {r.point: r for r in await drivers(profile, parameters=golden.parameters).read()}
    for name, value in golden.values.items():
        assert readings[name].value == value
        assert readings[name].quality is (Quality.BAD if value is None else Quality.GOOD)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_has_golden_frames_and_names_its_sources(profile: ModbusProfile) -> None:
    assert profile.golden
    assert all(golden.source for golden in profile.golden)
    assert all(point.source for point in profile.points)
    assert {point.item_code for point in profile.points if point.kind == "counter"} >= {"01000"}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_takes_few_requests(profile: ModbusProfile) -> None:
    most = {"acrel-adl3000": 2, "chint-dtsu666": 2, "eastron-sdm630": 4, "schneider-iem3000": 6}
    assert len(plan(profile.points, profile.modbus)) == most[profile.profile]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_shipped_profile_is_read_as_a_whole(
    server: ByteServer, drivers: Drivers, profile: ModbusProfile
) -> None:
    readings = await drivers(profile).read()
    assert [reading.point for reading in readings] == [point.name for point in profile.points]
    assert all(reading.value == 0 for reading in readings)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((files("firmware_configs") / "profile.schema.json").read_text("utf-8"))
    assert published == profile_json_schema(), "write profile_json_schema() to the file anew, indent 2"


def test_a_profile_is_named_as_its_file() -> None:
    assert {name: profile.profile for name, profile in PROFILES.items()} == {name: name for name in PROFILES}
    assert set(PROFILES) >= {"acrel-adl3000", "chint-dtsu666", "eastron-sdm630", "schneider-iem3000"}
