"""Each profile that is shipped decodes the frames of its sources, by the whole way from the wire."""

import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import combinations

import pytest
import yaml

from drivers.modbus.golden import golden_mistakes
from drivers.modbus.plan import plan
from edge_agent.catalogue import Catalogue
from models.profile import profile_json_schema
from models.profile.modbus import Golden, ModbusProfile
from models.reading import Quality, Reason
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


def asked_for(golden: Golden) -> tuple[int, int, int]:
    """Function, first address, count."""
    request = bytes.fromhex(golden.request)
    return request[0], int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:], "big")


FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


@pytest.mark.parametrize(("profile", "golden"), [pytest.param(*pair, id=named(*pair)) for pair in goldens()])
async def test_a_golden_frame_gives_its_values(
    server: ByteServer, drivers: Drivers, profile: ModbusProfile, golden: Golden
) -> None:
    function, first, count = asked_for(golden)
    reply = bytes.fromhex(golden.reply)
    if function < 3:
        for index in range(count):
            server.words[function, first + index] = reply[2 + index // 8] >> index % 8 & 1
    else:
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
    assert list(golden_mistakes(profile)) == []


@pytest.mark.parametrize("name", PROFILES)
def test_a_shipped_profile_says_itself_whether_it_is_checked_and_by_what(name: str) -> None:
    [file] = (files("firmware_configs") / "profiles").glob(f"*/{name}.yaml")  # type: ignore[attr-defined]  # a Path
    said = yaml.safe_load(file.read_text("utf-8"))
    assert {"version", "title", "verified", "source", "golden"} <= set(said)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_golden_frames_touch_at_least_two_requests_where_there_are_so_many(profile: ModbusProfile) -> None:
    touched = set()
    requests = plan(profile.points, profile.modbus)
    for golden in profile.golden:
        for name in golden.values:
            index = profile.points.index(profile.point(name))
            touched |= {number for number, request in enumerate(requests) if index in request.points}
    assert len(touched) >= min(2, len(requests))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_only_what_a_building_uses_has_an_item_code(profile: ModbusProfile) -> None:
    """Totals that add export to import have none: the building would use what it sells."""
    counted = [point.name for point in profile.points if point.item_code]
    measures_energy = any(point.unit == "kWh" for point in profile.points)
    assert counted == (["energy_import_kwh"] if measures_energy else [])
    assert all(profile.point(name).item_code == "01000" for name in counted)


REQUESTS = {
    "abb-a-b-series": 3,
    "acrel-adl3000": 2,
    "aqualeak-10k": 1,
    "carlo-gavazzi-em24": 7,  # at most 11 registers each
    "carlo-gavazzi-em24-e1": 2,
    "chint-dtsu666": 2,
    "dry-contacts-16": 1,
    "dry-contacts-16-register": 1,
    "eastron-sdm120": 3,
    "eastron-sdm220": 3,
    "eastron-sdm230": 3,
    "eastron-sdm630": 4,
    "eastron-sdm72d-m": 4,
    "eastron-sdm72d-m-v2": 5,
    "janitza-umg96rm-e": 2,
    "parking-zone-modbus": 1,
    "renke-rs-ws-n01": 1,
    "schneider-iem3000": 6,
    "schneider-pm5000": 4,
    "siemens-pac2200": 2,
    "xy-md02": 1,
}


def test_a_shipped_profile_takes_exactly_so_many_requests() -> None:
    taken = {name: len(plan(profile.points, profile.modbus)) for name, profile in PROFILES.items()}
    assert taken == REQUESTS, "a profile is new or has changed: correct the number here"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_shipped_profile_is_read_as_a_whole(
    server: ByteServer, drivers: Drivers, profile: ModbusProfile
) -> None:
    server.longest = profile.modbus.max_registers
    readings = await drivers(profile).read()
    assert [reading.point for reading in readings] == [point.name for point in profile.points]
    assert all(reading.value == 0 for reading in readings)
    assert len(server.asked) == REQUESTS[profile.profile]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_device_that_shows_zeros_is_not_taken_for_this_model(profile: ModbusProfile) -> None:
    """Many devices read zero where they have nothing, so one read at least must rule that out."""
    for read in profile.fingerprints:
        point = profile.point(read.point) if read.point else None
        if read.equals and any(bytes.fromhex(read.equals)):
            return
        if point is not None and point.min is not None and point.min > 0:
            return
    assert not profile.fingerprints


MAPS_OF_THEIR_OWN = (
    ("eastron-sdm120", "eastron-sdm230"),
    ("eastron-sdm230", "eastron-sdm220"),
    ("eastron-sdm120", "eastron-sdm72d-m"),
    ("eastron-sdm630", "eastron-sdm72d-m-v2"),
    ("schneider-iem3000", "schneider-pm5000"),
    ("carlo-gavazzi-em24", "carlo-gavazzi-em24-e1"),
)


@pytest.mark.parametrize(("parent", "child"), MAPS_OF_THEIR_OWN)
def test_a_profile_that_extends_another_one_has_a_map_of_its_own(parent: str, child: str) -> None:
    def map_of(name: str) -> set[tuple[str, str, int]]:
        return {(point.name, point.table, point.address) for point in PROFILES[name].points}

    assert PROFILES[child].extends == parent
    assert map_of(child) != map_of(parent)
    assert map_of(child) & map_of(parent)


def test_meters_whose_frequency_is_elsewhere_are_told_apart_by_it() -> None:
    """Otherwise a search would take an EM24 for its sister with other addresses."""
    places = {
        name: {(read.table, read.address) for read in PROFILES[name].fingerprints}
        for name in ("carlo-gavazzi-em24", "carlo-gavazzi-em24-e1", "janitza-umg96rm-e", "abb-a-b-series")
    }
    assert all(not one & two for one, two in combinations(places.values(), 2))


async def test_what_an_abb_meter_does_not_have_is_not_available_and_no_number(
    server: ByteServer, drivers: Drivers
) -> None:
    """A B21 has one phase; its other registers are all ones, or the largest number with a sign."""
    profile = PROFILES["abb-a-b-series"]
    for point in profile.points:
        is_signed = point.type.startswith("int")
        server.set(3, point.address, ("7F" if is_signed else "FF") + "FF" * (2 * point.width - 1))
    readings = await drivers(profile).read()
    assert {reading.reason for reading in readings} == {Reason.NOT_AVAILABLE}
    assert all(reading.value is None for reading in readings)


@pytest.mark.parametrize(
    ("name", "data", "kwh"),
    [
        pytest.param("schneider-iem3000", "000000E8D4A50FFF", 999999999.999, id="int64 Wh"),
        pytest.param("siemens-pac2200", "426D1A94A1FFE000", 999999999.999, id="float64 Wh"),
        pytest.param("abb-a-b-series", "000000174876E7FF", 999999999.99, id="uint64 of 10 Wh"),
        pytest.param("carlo-gavazzi-em24", "FFFF7FFE", 214741811.1, id="int32 of 100 Wh, low word first"),
        pytest.param("acrel-adl3000", "FFFFFFFF", 42949672.95, id="uint32 of 10 Wh"),
        pytest.param("eastron-sdm630", "47C35001", 100000.008, id="float32 kWh, one step above 100000"),
        pytest.param(
            "janitza-umg96rm-e", "4E6E6B29", 1000000.064, id="float32 Wh, one step above 1000000 kWh"
        ),
    ],
)
async def test_a_large_counter_is_exact_to_its_last_digit(
    server: ByteServer, drivers: Drivers, name: str, data: str, kwh: float
) -> None:
    profile = PROFILES[name]
    [point] = [one for one in profile.points if one.name == "energy_import_kwh"]
    server.set(FUNCTIONS[point.table], point.address, data)
    [reading] = [one for one in await drivers(profile).read() if one.point == "energy_import_kwh"]
    assert (reading.value, reading.quality) == (kwh, Quality.GOOD)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = json.loads((files("firmware_configs") / "profile.schema.json").read_text("utf-8"))
    assert published == profile_json_schema(), "write profile_json_schema() to the file anew, indent 2"


def test_a_profile_is_named_as_its_file() -> None:
    assert {name: profile.profile for name, profile in PROFILES.items()} == {name: name for name in PROFILES}
