"""The simulated frames are those of the published vectors and of the reference libraries."""

import pytest
from victron_ble.devices.battery_monitor import BatteryMonitor, BatteryMonitorData

from simulators.ble import frames

KEY = bytes.fromhex("231d39c1d7cc1ab1aee224cd096db932")
ADDRESS = "54:48:E6:8F:80:A5"


def test_bthome_is_sealed_as_in_the_published_frame() -> None:
    sealed = frames.bthome_sealed({0x02: 2506, 0x03: 5055}, address=ADDRESS, key=KEY, counter=0x33221100)
    assert sealed.hex() == "41a47266c95f730011223378237214"


def test_the_meter_frame_is_made_byte_for_byte() -> None:
    objects = {0x5C: -123_456, 0x4D: 12_345_678, 0x00: 1}
    sealed = frames.bthome_sealed(objects, address=ADDRESS, key=KEY, counter=1000)
    assert sealed.hex() == "415942dc4350c9235e59805c61e8030000716c6f65"


def test_bthome_of_version_1_is_sealed_as_in_the_published_frame() -> None:
    payload = bytes.fromhex("2302ca090303bf13")
    sealed = frames.bthome_v1_sealed(payload, address=ADDRESS, key=KEY, counter=0x33221100)
    assert sealed.hex() == "fba435e4d3c312fb0011223357d90a99"


def test_bthome_is_plain_as_on_the_page() -> None:
    assert frames.bthome_plain({0x03: 5055, 0x02: 2500}).hex() == "4002c40903bf13"


def test_mibeacon_is_sealed_as_by_the_real_device() -> None:
    payload = frames.mibeacon_object(0x1006, (467).to_bytes(2, "little"))
    sealed = frames.mibeacon_sealed(
        payload, address="A4:C1:38:02:83:F4", product=0x055B,
        key=bytes.fromhex("e9ea895fac7cca6d30532432a516f3a8"), counter=0x2650,
    )  # fmt: skip
    assert sealed.hex() == "58585b0550f4830238c1a495ef58763c26000097e2abb5"


def test_a_ruuvitag_sends_the_vector_of_its_document() -> None:
    data = frames.ruuvi_df5(
        temperature=4860, humidity=21_396, pressure=100_044, battery=2977, movements=66, sequence=205,
        address="CB:B8:33:4C:88:4F",
    )  # fmt: skip
    assert data.hex().upper() == "0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"


def test_a_victron_is_read_by_the_reference_library() -> None:
    data = frames.victron_bmv(
        key=KEY, counter=7, remaining=600, voltage=1280, alarm=0, current=-1500, consumed=146, charge=854
    )
    read = BatteryMonitor(KEY.hex()).parse(data)
    assert isinstance(read, BatteryMonitorData)
    assert (read.get_voltage(), read.get_current(), read.get_soc()) == (12.8, -1.5, 85.4)
    assert (read.get_consumed_ah(), read.get_remaining_mins()) == (-14.6, 600)


def test_an_atorch_sends_the_recorded_report() -> None:
    report = frames.atorch_ac(
        voltage=2308, current=14, power=4, energy=0, frequency=500, power_factor=133, temperature=47, on_s=609
    )
    assert report.hex().upper() == "FF55010100090400000E0000040000000000006401F40085002F00000A093C0000000039"


def test_a_battery_sends_the_recorded_answer() -> None:
    answer = frames.jbd_basic(
        voltage=1560,
        current=0,
        remaining=498,
        capacity=500,
        cycles=0,
        charge=100,
        temperatures=[224, 223, 217],
    )
    assert answer.hex().upper() == "DD03001D0618000001F201F400002C7C00000000000080640304030B8B0B8A0B84FA8D77"


@pytest.mark.parametrize("number", [0x0A, 0x0B])
def test_three_bytes_are_the_lowest_first(number: int) -> None:
    assert frames.bthome_objects({number: 0x030201}) == bytes([number, 1, 2, 3])
