"""Each profile that is shipped reads the frames of its sources."""

from collections.abc import Iterator
from importlib.resources import files

import pytest

from drivers.ble.bthome import V2
from drivers.ble.device import BleDevice
from drivers.ble.mibeacon import UUID
from drivers.ble.ruuvi import COMPANY as RUUVI
from drivers.ble.victron import COMPANY as VICTRON
from models.profile import describe
from models.profile.ble import BleGolden, BleProfile
from models.reading import Quality, Reading
from tests.support.ble import a_device, a_profile, maker, service

NAMES = sorted(
    file.name.removesuffix(".yaml") for file in (files("firmware_configs") / "profiles" / "ble").iterdir()
)
PROFILES = {name: a_profile(name) for name in NAMES}
WHERE = {"bthome": V2, "mibeacon": UUID, "ruuvi_df5": RUUVI, "victron_bmv": VICTRON}


def goldens() -> Iterator[tuple[BleProfile, BleGolden]]:
    for profile in PROFILES.values():
        for golden in profile.golden:
            yield profile, golden


def readings(device: BleDevice, golden: BleGolden) -> list[Reading]:
    """What the whole way from the radio makes of a golden frame."""
    data = bytes.fromhex(golden.frame)
    if device.conversation is not None:
        frame = device.conversation.take(bytearray(data))
        assert frame == data
        return device.answered(device.conversation.decode(frame), 0, 0)
    where = golden.uuid or WHERE[device.profile.ble.format]
    send = maker if device.profile.ble.format in ("ruuvi_df5", "victron_bmv") else service
    heard = device.hear(send(where, data, address=golden.address), 0, 0.0)
    assert heard.refusals == []
    return [item for item in heard.items if isinstance(item, Reading)]


@pytest.mark.parametrize(
    ("profile", "golden"),
    [pytest.param(*pair, id=f"{pair[0].profile} {pair[1].frame}") for pair in goldens()],
)
def test_a_golden_frame_gives_its_values(profile: BleProfile, golden: BleGolden) -> None:
    key = None if golden.key is None else bytes.fromhex(golden.key)
    found = {r.point: r for r in readings(a_device(profile, key=key, address=golden.address), golden)}
    for name, value in golden.values.items():
        assert found[name].value == value
        assert found[name].quality is (Quality.BAD if value is None else Quality.GOOD)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_a_shipped_profile_has_golden_frames_and_names_its_sources(profile: BleProfile) -> None:
    assert profile.golden
    assert all(golden.source for golden in profile.golden)
    assert all(point.source for point in profile.points)
    energy = [point for point in profile.points if point.unit == "kWh"]
    assert all(point.item_code == "01000" for point in energy)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_the_description_says_whether_a_device_proves_what_it_says(profile: BleProfile) -> None:
    told = describe(profile, device_id="d", name="d", period_s=60)
    assert told.unauthenticated is not profile.ble.authenticated


def test_the_families_formats_are_all_shipped() -> None:
    assert {profile.ble.format for profile in PROFILES.values()} == {
        "bthome", "mibeacon", "ruuvi_df5", "victron_bmv", "atorch", "jbd",
    }  # fmt: skip
    assert all(profile.profile == name for name, profile in PROFILES.items())
