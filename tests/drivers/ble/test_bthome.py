"""BTHome: the published vectors, what is refused, and the reference library as a second opinion."""

import time

import pytest
from bleak.backends.device import BLEDevice
from bthome_ble import BTHomeBluetoothDeviceData
from habluetooth import BluetoothServiceInfoBleak
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble.bthome import V1_PLAIN, V1_SEALED, V2, decode
from drivers.ble.frames import Frame, FrameRefused, Refusal
from models.profile.ble_formats import BTHOME_OBJECTS
from simulators.ble import frames
from simulators.ble.air import long_uuid
from tests.support.ble import ADDRESS, KEY, bit_flips, service

SEALED = bytes.fromhex("41a47266c95f730011223378237214")
METER = bytes.fromhex("415942dc4350c9235e59805c61e8030000716c6f65")
V1 = bytes.fromhex("fba435e4d3c312fb0011223357d90a99")
OTHER_KEY = bytes.fromhex("814aac74c4f17b6c1581e1ab87816b99")


def read(uuid: int, data: bytes | str, key: bytes | None = None) -> Frame:
    frame = decode(service(uuid, data), key)
    assert frame is not None
    return frame


def refused(uuid: int, data: bytes | str, key: bytes | None = None) -> Refusal:
    with pytest.raises(FrameRefused) as caught:
        decode(service(uuid, data), key)
    assert KEY.hex() not in str(caught.value)
    return caught.value.refusal


def test_the_published_encrypted_frame_is_read() -> None:
    frame = read(V2, SEALED, KEY)
    assert frame.values == {"0x02": 2506, "0x03": 5055}
    assert frame.counter == 0x33221100


def test_the_meter_frame_is_read() -> None:
    frame = read(V2, METER, KEY)
    assert frame.values == {"0x4D": 12_345_678, "0x5C": -123_456}
    assert frame.counter == 1000


def test_the_published_frame_of_version_1_is_read() -> None:
    assert read(V1_SEALED, V1, KEY).values == {"0x02": 2506, "0x03": 5055}


@pytest.mark.parametrize(
    ("uuid", "frame", "values"),
    [
        pytest.param(V2, "4002c40903bf13", {"0x02": 2500, "0x03": 5055}, id="the example of the page"),
        pytest.param(
            V2, "44001b016402c808036c1a", {"0x01": 100, "0x02": 2248, "0x03": 6764}, id="pvvx, by trigger"
        ),
        pytest.param(V2, "400a138a14", {"0x0A": 1_346_067}, id="energy of three bytes"),
        pytest.param(V2, "404f87562a01", {"0x4F": 19_551_879}, id="water"),
        pytest.param(
            V2, "40020a0002140003bf13", {"0x02": 10, "0x02#2": 20, "0x03": 5055}, id="two of one id"
        ),
        pytest.param(V2, "400164ff55aa", {"0x01": 100}, id="nothing behind an unknown id"),
        pytest.param(V2, "405303414243ee01", {}, id="an unknown id after a text"),
        pytest.param(V2, "403b01aabb4d01000000", {"0x4D": 1}, id="behind a command"),
        pytest.param(V2, "4056f100", {"0x56": 241}, id="an id that is in no profile"),
        pytest.param(V2, "40", {}, id="no object"),
        pytest.param(V1_PLAIN, "2302ca090303bf13", {"0x02": 2506, "0x03": 5055}, id="version 1"),
        pytest.param(V1_PLAIN, "0404138a01", {"0x04": 100_883}, id="pressure in version 1"),
        pytest.param(
            V1_PLAIN, "02ee0102015d", {"0x01": 93}, id="version 1 passes over what it does not know"
        ),
    ],
)
def test_a_plain_frame_is_read(uuid: int, frame: str, values: dict[str, int]) -> None:
    assert read(uuid, frame).values == values


def test_a_packet_id_numbers_a_frame_and_is_no_value() -> None:
    assert read(V2, "40001b0164").is_numbered
    assert read(V2, "40001b0164").values == {"0x01": 100}
    assert not read(V2, "400164").is_numbered


@pytest.mark.parametrize(
    ("uuid", "frame", "key", "why"),
    [
        pytest.param(V2, "4002c40903bf13", KEY, Refusal.DOWNGRADE, id="plain with a key"),
        pytest.param(V1_PLAIN, "2302ca09", KEY, Refusal.DOWNGRADE, id="plain version 1 with a key"),
        pytest.param(V2, SEALED, OTHER_KEY, Refusal.WRONG_KEY, id="wrong key"),
        pytest.param(V1_SEALED, V1, OTHER_KEY, Refusal.WRONG_KEY, id="wrong key, version 1"),
        pytest.param(V2, SEALED, None, Refusal.NO_KEY, id="no key"),
        pytest.param(V2, "", None, Refusal.MALFORMED, id="nothing"),
        pytest.param(V2, "6002c409", None, Refusal.MALFORMED, id="version 3"),
        pytest.param(V2, "4003bf1302c409", None, Refusal.MALFORMED, id="ids that do not ascend"),
        pytest.param(V2, "4002c4", None, Refusal.MALFORMED, id="half an object"),
        pytest.param(V2, "405305ab", None, Refusal.MALFORMED, id="half a text"),
        pytest.param(V2, "403b", None, Refusal.MALFORMED, id="half a command"),
        pytest.param(V2, "42010203040506" + "0164", None, Refusal.MALFORMED, id="the address of another"),
        pytest.param(V2, "41" + "00" * 8, KEY, Refusal.MALFORMED, id="sealed, and nothing in it"),
        pytest.param(V1_PLAIN, "20", None, Refusal.MALFORMED, id="version 1 without an id"),
    ],
)
def test_a_frame_that_must_not_be_taken_is_refused(
    uuid: int, frame: bytes | str, key: bytes | None, why: Refusal
) -> None:
    assert refused(uuid, frame, key) is why


def test_a_frame_may_name_its_own_address() -> None:
    backwards = bytes.fromhex(ADDRESS.replace(":", ""))[::-1].hex()
    assert read(V2, "42" + backwards + "0164").values == {"0x01": 100}


@pytest.mark.parametrize(("uuid", "data"), [(V2, SEALED), (V2, METER), (V1_SEALED, V1)])
def test_every_changed_bit_of_an_encrypted_frame_is_refused(uuid: int, data: bytes) -> None:
    for flipped in bit_flips(data):
        refused(uuid, flipped, KEY)


def test_an_encrypted_frame_of_another_device_is_refused() -> None:
    with pytest.raises(FrameRefused):
        decode(service(V2, SEALED, address="54:48:E6:8F:80:A6"), KEY)


@given(st.binary(max_size=40), st.sampled_from([V2, V1_PLAIN, V1_SEALED]), st.sampled_from([None, KEY]))
def test_any_bytes_are_read_or_refused(data: bytes, uuid: int, key: bytes | None) -> None:
    try:
        frame = decode(service(uuid, data), key)
    except FrameRefused:
        return
    assert frame is not None
    assert key is None  # nobody guesses a tag in a test


_METER_OBJECTS = st.fixed_dictionaries(
    {
        0x4D: st.integers(0, 2**32 - 1),
        0x5C: st.integers(-(2**31), 2**31 - 1),
        0x4A: st.integers(0, 2**16 - 1),
        0x02: st.integers(-(2**15), 2**15 - 1),
    }
)


def opinion(data: bytes, key: bytes | None) -> dict[str, float]:
    """What bthome-ble makes of a frame."""
    uuid = long_uuid(V2)
    info = BluetoothServiceInfoBleak(
        name="d", address=ADDRESS, rssi=-60, manufacturer_data={}, service_data={uuid: data},
        service_uuids=[uuid], source="", device=BLEDevice(ADDRESS, None, {}), advertisement=None,
        connectable=False, time=time.monotonic(), tx_power=None,
    )  # fmt: skip
    update = BTHomeBluetoothDeviceData(bindkey=key).update(info)
    found = {which.key: value.native_value for which, value in update.entity_values.items()}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


@given(_METER_OBJECTS, st.integers(0, 2**32 - 1), st.booleans())
def test_the_reference_library_reads_the_same(objects: dict[int, int], counter: int, is_sealed: bool) -> None:
    if is_sealed:
        data = frames.bthome_sealed(objects, address=ADDRESS, key=KEY, counter=counter)
    else:
        data = frames.bthome_plain(objects)
    key = KEY if is_sealed else None
    assert read(V2, data, key).values == {f"0x{number:02X}": raw for number, raw in objects.items()}
    theirs = opinion(data, key)
    for number, name in {0x4D: "energy", 0x5C: "power", 0x4A: "voltage", 0x02: "temperature"}.items():
        assert theirs[name] == pytest.approx(objects[number] * float(BTHOME_OBJECTS[number].factor))


def test_the_table_of_objects_is_that_of_the_reference_library() -> None:
    from bthome_ble.const import MEAS_TYPES

    for number, theirs in MEAS_TYPES.items():
        if number == 0x3B:  # a command, which the parser passes over
            continue
        ours = BTHOME_OBJECTS[number]
        if ours.length:
            assert ours.length == theirs.data_length, hex(number)
            assert ours.signed == (theirs.data_format == "signed_integer"), hex(number)
            assert float(ours.factor) == theirs.factor, hex(number)
        else:
            assert theirs.data_format in ("string", "raw")
    assert set(BTHOME_OBJECTS) | {0x3B} == set(MEAS_TYPES)
