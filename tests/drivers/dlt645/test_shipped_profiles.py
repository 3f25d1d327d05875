"""Each DL/T 645 profile that is shipped decodes the frames of its sources, by the whole way from the wire."""

from collections.abc import Iterator

import pytest

from edge_agent.catalogue import Catalogue
from models.profile.dlt645 import Dlt645Profile, Golden
from models.reading import Quality
from tests.drivers.dlt645.conftest import Drivers
from tests.support.scripted_line import ScriptedLine

CATALOGUE = Catalogue()
PROFILES = {
    name: profile for name in CATALOGUE.names() if isinstance(profile := CATALOGUE.load(name), Dlt645Profile)
}


def goldens() -> Iterator[tuple[Dlt645Profile, Golden]]:
    for profile in PROFILES.values():
        for golden in profile.golden:
            yield profile, golden


def bare(text: str) -> bytes:
    return bytes.fromhex(text).lstrip(b"\xfe")


@pytest.mark.parametrize(
    ("profile", "golden"),
    [pytest.param(*pair, id=f"{pair[0].profile} {pair[1].request}") for pair in goldens()],
)
async def test_a_golden_frame_gives_its_values(
    port: ScriptedLine, drivers: Drivers, profile: Dlt645Profile, golden: Golden
) -> None:
    """The meter has this one frame; everything else it refuses, so that blocks are read apart as well."""
    request, reply = bare(golden.request), bytes.fromhex(golden.reply)
    read = request[8]

    def script(asked: bytes) -> list[bytes]:
        if asked == request:
            return [reply]
        refusal = asked[:8] + bytes((read | 0xC0, 1, 0x35))
        return [refusal + bytes((sum(refusal) % 256, 0x16))]

    port.script = script
    address = request[6:0:-1].hex()
    readings = {r.point: r for r in await drivers(profile, address, golden.parameters).read()}
    assert request in port.asked
    for name, value in golden.values.items():
        assert readings[name].value == value
        assert readings[name].quality is (Quality.BAD if value is None else Quality.GOOD)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_has_golden_frames_and_names_its_sources(profile: Dlt645Profile) -> None:
    assert profile.golden
    assert all(golden.source for golden in profile.golden)
    assert all(point.source for point in profile.points)
    assert all(not point.verified for point in profile.points if "from memory" in point.source)
    assert [point.item_code for point in profile.points if point.item_code] == ["01000"]


@pytest.mark.parametrize(
    ("name", "most"),
    [("dlt645-single-phase", 9), ("dlt645-three-phase", 11), ("dlt645-1997-single-phase", 8)],
)
async def test_a_shipped_profile_takes_few_requests(
    port: ScriptedLine, drivers: Drivers, name: str, most: int
) -> None:
    points = {point.di: point for point in PROFILES[name].points}
    blocks = {block.di: block.points for block in PROFILES[name].dlt645.blocks}

    def script(asked: bytes) -> list[bytes]:
        data = bytes((byte - 0x33) % 256 for byte in asked[10:-2])
        di = int.from_bytes(data, "little")
        names = blocks.get(di) or (points[di].name,)
        told = data + bytes(sum(point.length for point in PROFILES[name].points if point.name in names))
        head = asked[:8] + bytes((asked[8] | 0x80, len(told))) + bytes((byte + 0x33) % 256 for byte in told)
        return [head + bytes((sum(head) % 256, 0x16))]

    port.script = script
    readings = await drivers(PROFILES[name]).read()
    assert [reading.point for reading in readings] == [point.name for point in PROFILES[name].points]
    assert len(port.asked) == most
    with_value = {reading.point for reading in readings if reading.value is not None}
    assert {point.name for point in PROFILES[name].points} - with_value == {
        "clock_date_d"
    }  # there is no day 0


def test_a_profile_is_named_as_its_file() -> None:
    assert {name: profile.profile for name, profile in PROFILES.items()} == {name: name for name in PROFILES}
