"""The payloads of each shipped sensor say what their sources say, and no bytes at all do any harm."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.parking.codec import PayloadRefused, SensorDecoder, unpack
from edge_agent.catalogue import Catalogue
from models.profile.parking_sensor import ParkingSensorProfile, SensorGolden
from models.reading import Quality, Reading, Reason

CATALOGUE = Catalogue()
PROFILES = {
    name: profile
    for name in CATALOGUE.names()
    if isinstance(profile := CATALOGUE.load(name), ParkingSensorProfile)
}
BOSCH, MILESIGHT = PROFILES["bosch-parking-lot-sensor"], PROFILES["milesight-em310-udl"]
T = 1_790_000_000_000


def decoded(
    profile: ParkingSensorProfile,
    port: int,
    payload: str,
    *,
    parameters: dict[str, float] | None = None,
    was_occupied: bool | None = None,
) -> dict[str, Reading]:
    decoder = SensorDecoder(profile, parameters or {}, "bay-1")
    unpacked = unpack(profile.lorawan, port, bytes.fromhex(payload))
    return {reading.point: reading for reading in decoder.readings(unpacked, was_occupied, T, T + 40)}


def goldens() -> Iterator[tuple[ParkingSensorProfile, SensorGolden]]:
    for profile in PROFILES.values():
        for golden in profile.golden:
            yield profile, golden


@pytest.mark.parametrize(
    ("profile", "golden"),
    [pytest.param(*pair, id=f"{pair[0].profile} {pair[1].payload}") for pair in goldens()],
)
def test_a_golden_payload_gives_its_values(profile: ParkingSensorProfile, golden: SensorGolden) -> None:
    readings = decoded(profile, golden.port, golden.payload, parameters=golden.parameters)
    assert {name: readings[name].value for name in golden.values} == golden.values
    for reading in readings.values():
        assert (reading.value is None) is (reading.quality is Quality.BAD)
        assert (reading.measured_ms, reading.received_ms) == (T, T + 40)


def test_at_least_two_real_sensors_ship_with_payloads_from_their_makers() -> None:
    assert len(PROFILES) >= 2
    for profile in PROFILES.values():
        assert profile.golden
        assert all(golden.source for golden in profile.golden)
        assert all(point.source for point in profile.points)


def test_a_start_up_tells_firmware_and_cause() -> None:
    payload = unpack(BOSCH.lorawan, 3, bytes.fromhex("24030000 75030000 00000000 001d02 03 01"))
    assert payload.event == "sensor.started"
    assert payload.facts["firmware"] == "0.29.2"
    assert payload.facts["reset_cause"] == 3


def test_a_heartbeat_has_the_same_payload_as_a_status() -> None:
    assert decoded(BOSCH, 2, "00 f6")["occupied"].value == 0.0
    assert decoded(BOSCH, 2, "00 f6")["temperature_c"].value == -10.0


@pytest.mark.parametrize(
    ("distance_mm", "was", "occupied"),
    [
        pytest.param(1699, None, 1.0, id="a car"),
        pytest.param(1700, None, None, id="between, and nobody knows how it was"),
        pytest.param(1700, True, 1.0, id="between, and it was taken"),
        pytest.param(1849, False, 0.0, id="between, and it was free"),
        pytest.param(1850, True, 0.0, id="far enough to be free again"),
        pytest.param(2500, None, 0.0, id="the floor"),
    ],
)
def test_a_distance_tells_of_the_bay_against_its_height_with_hysteresis(
    distance_mm: int, was: bool | None, occupied: float | None
) -> None:
    payload = "03 82 " + distance_mm.to_bytes(2, "little").hex()
    readings = decoded(MILESIGHT, 85, payload, was_occupied=was)
    assert readings["distance_mm"].value == distance_mm
    assert ("occupied" in readings) is (occupied is not None)
    if occupied is not None:
        assert readings["occupied"].value == occupied


def test_the_height_of_a_bay_is_a_parameter() -> None:
    low = decoded(MILESIGHT, 85, "03 82 78 05", parameters={"floor_mm": 2000})
    assert low["occupied"].value is None or low["occupied"].value == 0.0
    assert decoded(MILESIGHT, 85, "03 82 78 05", parameters={"floor_mm": 3000})["occupied"].value == 1.0


@pytest.mark.parametrize("distance", ["e4 0c", "00 00", "ff ff"])  # 3300 + 0: just possible; below and far
def test_a_distance_that_is_no_bay_is_never_free(distance: str) -> None:
    reading = decoded(MILESIGHT, 85, f"03 82 {distance}")["occupied"]
    if distance == "e4 0c":
        assert reading.value == 0.0
    else:
        assert (reading.value, reading.reason) == (None, Reason.NOT_AVAILABLE)


def test_a_tilted_sensor_cannot_tell_whatever_it_measures() -> None:
    reading = decoded(MILESIGHT, 85, "03 82 c4 09 04 00 01")["occupied"]
    assert (reading.value, reading.reason) == (None, Reason.NOT_AVAILABLE)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param("01 75", "truncated", id="ends in a channel"),
        pytest.param("01 75 64 03 82 44", "truncated", id="ends in the second channel"),
        pytest.param("09 09 01", "unknown-channel", id="another sensor"),
    ],
)
def test_a_chain_that_breaks_off_gives_nothing_at_all(payload: str, reason: str) -> None:
    with pytest.raises(PayloadRefused) as refused:
        unpack(MILESIGHT.lorawan, 85, bytes.fromhex(payload))
    assert refused.value.reason == reason


def test_what_follows_an_unknown_channel_is_left_and_said_to_be_left() -> None:
    payload = unpack(MILESIGHT.lorawan, 85, bytes.fromhex("01 75 5c 20 ce 01 02 03"))
    assert payload.raws == {"battery_pct": 92}
    assert payload.unread == 5


def test_a_port_that_the_sensor_does_not_have_is_refused() -> None:
    with pytest.raises(PayloadRefused) as refused:
        unpack(BOSCH.lorawan, 9, b"\x01")
    assert refused.value.reason == "unknown-frame"


@given(st.sampled_from(sorted(PROFILES)), st.integers(0, 255), st.binary(max_size=242))
def test_no_payload_does_harm_or_invents_a_point(name: str, port: int, data: bytes) -> None:
    profile = PROFILES[name]
    try:
        payload = unpack(profile.lorawan, port, data)
    except PayloadRefused:
        return
    readings = SensorDecoder(profile, {}, "bay-1").readings(payload, None, T, T)
    names = [reading.point for reading in readings]
    assert len(names) == len(set(names))
    for reading in readings:
        assert (reading.value is None) is (reading.quality is Quality.BAD)
        if reading.point == "occupied":
            assert reading.value in (None, 0.0, 1.0)
