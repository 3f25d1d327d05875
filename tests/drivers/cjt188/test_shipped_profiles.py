"""Each CJ/T 188 profile that is shipped decodes the frames of its sources, by the whole way from the wire."""

from collections.abc import Iterator

import pytest

from edge_agent.catalogue import Catalogue
from models.profile.cjt188 import Cjt188Profile, Golden
from models.reading import Quality
from tests.drivers.cjt188.conftest import Drivers
from tests.support.scripted_line import ScriptedLine

CATALOGUE = Catalogue()
PROFILES = {
    name: profile for name in CATALOGUE.names() if isinstance(profile := CATALOGUE.load(name), Cjt188Profile)
}


def goldens() -> Iterator[tuple[Cjt188Profile, Golden]]:
    for profile in PROFILES.values():
        for golden in profile.golden:
            yield profile, golden


@pytest.mark.parametrize(
    ("profile", "golden"),
    [pytest.param(*pair, id=f"{pair[0].profile} {pair[1].request}") for pair in goldens()],
)
async def test_a_golden_frame_gives_its_values(
    port: ScriptedLine, drivers: Drivers, profile: Cjt188Profile, golden: Golden
) -> None:
    """The serial number of a golden frame is reached by asking so often before."""
    request, reply = bytes.fromhex(golden.request).lstrip(b"\xfe"), bytes.fromhex(golden.reply)

    def script(asked: bytes) -> list[bytes]:
        if asked == request:
            return [reply]
        refusal = asked[:9] + bytes((0xC1, 3, asked[13], 2, 0))
        return [refusal + bytes((sum(refusal) % 256, 0x16))]

    port.script = script
    driver = drivers(profile, request[8:1:-1].hex(), golden.parameters)
    before = request[13] if profile.cjt188.serial_number is None else 0
    for _ in range(before):
        assert all(reading.value is None for reading in await driver.read())
    readings = {reading.point: reading for reading in await driver.read()}
    for name, value in golden.values.items():
        assert readings[name].value == value
        assert readings[name].quality is (Quality.BAD if value is None else Quality.GOOD)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_has_golden_frames_and_names_its_sources(profile: Cjt188Profile) -> None:
    codes = {0x10: "02000", 0x20: "04000", 0x30: "03000"}
    assert profile.golden
    assert all(golden.source for golden in profile.golden)
    assert all(point.source for point in profile.points)
    assert all(unit.source for unit in profile.cjt188.units)
    assert all(not point.verified for point in profile.points if "from memory" in point.source)
    assert [point.item_code for point in profile.points if point.item_code] == [
        codes[profile.cjt188.meter_type]
    ]


def test_water_heat_and_gas_are_shipped_and_named_as_their_files() -> None:
    assert {name: profile.profile for name, profile in PROFILES.items()} == {name: name for name in PROFILES}
    assert {"cjt188-water", "cjt188-heat", "cjt188-gas"} <= set(PROFILES)
