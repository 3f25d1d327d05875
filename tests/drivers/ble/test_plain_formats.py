"""RuuviTag, Victron, Atorch and JBD: vectors of their sources, and any bytes."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from victron_ble.devices.battery_monitor import BatteryMonitor, BatteryMonitorData

from drivers.ble import atorch, jbd, ruuvi, victron
from drivers.ble.frames import Advert, Frame, FrameRefused, Refusal
from simulators.ble import frames
from tests.support.ble import maker

TAG = "CB:B8:33:4C:88:4F"
MAXIMUM = "057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F"
BMV_KEY = bytes.fromhex("aff4d0995b7d1e176c0c33ecb9e70dcd")
BMV = bytes.fromhex("100289a302b040af925d09a4d89aa0128bdef48c6298a9")
AC = bytes.fromhex("FF5501010008F6000EDF001C1800000031061AB101F30337001A000000003C00000000E3")
DC = bytes.fromhex("FF550102000020004E200013FA00000011000000000000000025000221" + "1A3C0000000009")
BASIC = bytes.fromhex("DD03001D0618000001F201F400002C7C00000000000080640304030B8B0B8A0B84FA8D77")


def test_the_largest_values_of_a_ruuvitag_are_read() -> None:
    frame = ruuvi.decode(maker(ruuvi.COMPANY, MAXIMUM, address=TAG))
    assert frame is not None
    assert frame.values == {
        "temperature": 32767, "humidity": 65534, "pressure": 115_534, "acceleration_x": 32767,
        "acceleration_y": 32767, "acceleration_z": 32767, "battery": 3646, "tx_power": 20, "movements": 254,
        "sequence": 65534,
    }  # fmt: skip


def test_another_format_of_ruuvi_is_not_read() -> None:
    assert ruuvi.decode(maker(ruuvi.COMPANY, "03" + "00" * 13, address=TAG)) is None


@pytest.mark.parametrize("frame", [MAXIMUM[:-2], MAXIMUM + "00", MAXIMUM[:-12] + "CBB8334C8850"])
def test_a_frame_of_a_ruuvitag_that_is_not_its_own_is_refused(frame: str) -> None:
    with pytest.raises(FrameRefused):
        ruuvi.decode(maker(ruuvi.COMPANY, frame, address=TAG))


def bmv(data: bytes, key: bytes | None = BMV_KEY) -> Frame:
    frame = victron.decode(maker(victron.COMPANY, data), key)
    assert frame is not None
    return frame


def test_the_published_readout_of_a_victron_is_read() -> None:
    assert bmv(BMV).values == {
        "remaining": None, "voltage": 1253, "alarm": 0, "current": 0, "consumed": -500, "charge": 500,
    }  # fmt: skip


def test_a_victron_with_another_key_is_refused() -> None:
    with pytest.raises(FrameRefused) as caught:
        bmv(BMV, bytes(16))
    assert caught.value.refusal is Refusal.WRONG_KEY
    with pytest.raises(FrameRefused) as caught:
        bmv(BMV, None)
    assert caught.value.refusal is Refusal.NO_KEY


def test_a_readout_of_another_victron_says_nothing() -> None:
    assert victron.decode(maker(victron.COMPANY, BMV[:4] + b"\x01" + BMV[5:]), BMV_KEY) is None


@given(
    voltage=st.integers(-(2**15), 2**15 - 2),
    current=st.integers(-(2**21), 2**21 - 1).filter(lambda raw: raw != -1),
    consumed=st.integers(0, 2**20 - 2),
    charge=st.integers(0, 1000),
    remaining=st.integers(0, 0xFFFE),
    counter=st.integers(0, 0xFFFF),
)
def test_the_reference_library_reads_the_same_of_a_victron(
    voltage: int, current: int, consumed: int, charge: int, remaining: int, counter: int
) -> None:
    data = frames.victron_bmv(
        key=BMV_KEY, counter=counter, remaining=remaining, voltage=voltage, alarm=0, current=current,
        consumed=consumed, charge=charge,
    )  # fmt: skip
    theirs = BatteryMonitor(BMV_KEY.hex()).parse(data)
    assert isinstance(theirs, BatteryMonitorData)
    ours = bmv(data).values
    assert ours["voltage"] == pytest.approx(100 * (theirs.get_voltage() or 0))
    assert ours["current"] == pytest.approx(1000 * (theirs.get_current() or 0))
    assert ours["consumed"] == pytest.approx(10 * (theirs.get_consumed_ah() or 0))
    assert ours["charge"] == pytest.approx(10 * (theirs.get_soc() or 0))
    assert ours["remaining"] == theirs.get_remaining_mins()


@pytest.mark.parametrize(
    ("plain", "values"),
    [  # from victron-ble tests/test_battery_monitor.py, decrypted
        ("ffffe6040000feff010000000080fe0c", {"midpoint_voltage": 0xFFFE}),
        ("ffffe6040000feff000000000080feac", {"starter_voltage": -2}),
        ("ffffe6040000ffff020000000080fede", {"temperature": None}),
        ("ffffe60400007d72020000000080fede", {"temperature": 1994}),
    ],
)
def test_the_auxiliary_input_means_what_its_mode_says(plain: str, values: dict[str, int | None]) -> None:
    assert victron._values(bytes.fromhex(plain)).items() >= values.items()


def test_a_meter_for_direct_current_is_read() -> None:
    frame = atorch.decode(DC)
    assert frame.values == {
        "voltage": 32, "current": 20_000, "charge": 5114, "energy": 17, "temperature": 37, "on_time": 9206,
    }  # fmt: skip


@pytest.mark.parametrize("pieces", [[36], [20, 16], [8, 7, 8, 8, 5], [1] * 36])
def test_a_report_is_found_however_it_is_cut(pieces: list[int]) -> None:
    stream, found, at = bytearray(b"\xff\x55\x02\x01noise"), [], 0
    for size in pieces:
        stream += AC[at : at + size]
        at += size
        found.append(atorch.take(stream, checksum=True))
    assert found == [None] * (len(pieces) - 1) + [AC]


def test_a_report_that_began_and_broke_off_is_passed_over() -> None:
    stream = bytearray(AC[:20] + AC + AC[:3])
    assert atorch.take(stream, checksum=True) == AC
    assert atorch.take(stream, checksum=True) is None


def test_a_wrong_checksum_is_refused_unless_the_model_is_known_for_it() -> None:
    broken = AC[:-1] + b"\x00"
    assert atorch.take(bytearray(broken), checksum=True) is None
    assert atorch.take(bytearray(broken), checksum=False) == broken


def test_an_answer_of_a_battery_is_found_and_read() -> None:
    stream = bytearray(b"\x00\xdd\x03\x77" + BASIC[:20])
    assert jbd.take(stream) is None
    stream += BASIC[20:]
    assert jbd.take(stream) == BASIC
    assert jbd.decode(BASIC).values["temperature_3"] == 217


@pytest.mark.parametrize("at", range(2, len(BASIC)))
def test_a_changed_byte_of_a_battery_is_noticed(at: int) -> None:
    broken = bytearray(BASIC)
    broken[at] ^= 0x40
    assert jbd.take(broken) is None


def test_an_error_of_a_battery_is_refused() -> None:
    with pytest.raises(FrameRefused):
        jbd.decode(bytes.fromhex("dd038000ff8077"))


def test_a_current_that_flows_out_is_negative() -> None:
    answer = frames.jbd_basic(
        voltage=1300, current=-1234, remaining=1, capacity=2, cycles=3, charge=4, temperatures=[-55]
    )
    values = jbd.decode(answer).values
    assert (values["current"], values["temperature_1"]) == (-1234, -55)


def test_what_never_becomes_a_frame_does_not_fill_the_memory() -> None:
    stream = bytearray()
    for _ in range(100):
        stream += b"\xff\x55\x02" * 20
        atorch.take(stream, checksum=True)
        jbd.take(stream)
    assert len(stream) < 1000


READERS: dict[str, Callable[[bytes], object]] = {
    "ruuvi": lambda data: ruuvi.decode(Advert(TAG, {}, {ruuvi.COMPANY: data}, -60)),
    "victron": lambda data: victron.decode(Advert(TAG, {}, {victron.COMPANY: data}, -60), BMV_KEY),
    "atorch": atorch.decode,
    "atorch stream": lambda data: atorch.take(bytearray(data), checksum=False),
    "jbd": jbd.decode,
    "jbd stream": lambda data: jbd.take(bytearray(data)),
}
STARTS = st.sampled_from([b"", b"\x05", b"\x10\x02\x89\xa3\x02", b"\xff\x55\x01\x01", b"\xdd\x03\x00\x1d"])


@given(st.sampled_from(sorted(READERS)), STARTS, st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(reader: str, start: bytes, data: bytes) -> None:
    with contextlib.suppress(FrameRefused):
        READERS[reader](start + data)
