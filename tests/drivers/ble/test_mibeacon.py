"""MiBeacon: frames of real devices, what is refused, and what the protocol leaves unproven."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble.frames import Frame, FrameRefused, Refusal
from drivers.ble.mibeacon import UUID, decode
from simulators.ble import frames
from tests.support.ble import ADDRESS, KEY, bit_flips, service

# Frames, addresses and keys from the tests of Bluetooth-Devices/xiaomi-ble.
HUMIDITY = bytes.fromhex("58585b0550f4830238c1a495ef58763c26000097e2abb5")
HUMIDITY_KEY = bytes.fromhex("e9ea895fac7cca6d30532432a516f3a8")
HUMIDITY_ADDRESS = "A4:C1:38:02:83:F4"
CLIMATE = {"temperature": 2540, "humidity": 5840}
WARMER = {"temperature": 2720, "humidity": 4900}
UNPROVEN_BITS = 16
"""The first two bytes, the frame control, are not covered by the tag."""


def read(data: bytes | str, key: bytes | None, address: str = ADDRESS, *, proof: bool = True) -> Frame:
    frame = decode(service(UUID, data, address=address), key, proof=proof)
    assert frame is not None
    return frame


def refused(data: bytes | str, key: bytes | None, address: str = ADDRESS, *, proof: bool = True) -> Refusal:
    with pytest.raises(FrameRefused) as caught:
        decode(service(UUID, data, address=address), key, proof=proof)
    return caught.value.refusal


@pytest.mark.parametrize(
    ("frame", "address", "key", "values", "counter"),
    [
        pytest.param(
            HUMIDITY.hex(), HUMIDITY_ADDRESS, HUMIDITY_KEY.hex(), {"humidity": 4670}, 0x2650, id="LYWSD03MMC"
        ),
        pytest.param(
            "58586f0607892012342d585f176dd54f0200002fa453fa", "58:2D:34:12:20:89",
            "a3bfe9853dd85a620debe3620caaa351", {"temperature": 2260}, 0x207, id="CGDK2",
        ),
        pytest.param(
            "4858422529202d8c7a76b756a82a0078b8224e", "A4:C1:38:0E:FD:78",
            "19b1c678ab0a8bc3dc77765f059188d4", {"temperature": 2610}, 0x2AA829, id="without an address",
        ),
        pytest.param(
            "585842258878fd0e38c1a405f6538aa72a0062b1a966", "A4:C1:38:0E:FD:78",
            "19b1c678ab0a8bc3dc77765f059188d4", {"humidity": 3800}, 0x2AA788, id="the same, a little earlier",
        ),
        pytest.param(
            "5859970966bc9ce344ef5401081205000000715ebe90", "54:EF:44:E3:9C:BC",
            "5b51a7c91cde6707c9ef18dfda143a58", {"smoke": 1}, 0x66, id="JTYJGD03MI",
        ),
        pytest.param(
            "5858480b685f12342d585a0b1841e2aa000e00a4964fb5", "5A:58:2D:34:12:5F",
            "814aac74c4f17b6c1581e1ab87816b99", {"humidity": 5960}, 0xE0068, id="CGG1",
        ),
    ],
)  # fmt: skip
def test_a_proven_frame_is_read(
    frame: str, address: str, key: str, values: dict[str, int], counter: int
) -> None:
    found = read(frame, bytes.fromhex(key), address)
    assert (found.values, found.counter) == (values, counter)


@pytest.mark.parametrize(
    ("frame", "address", "values"),
    [
        ("5020aa01da21933534" + "2d580d1004fe004802", "58:2D:34:35:93:21", CLIMATE),
        ("50305b05034c94b438" + "c1a40d10041001ea01", "A4:C1:38:B4:94:4C", WARMER),
        ("71209800" + "12f34f6b8d7cc40d041002c400", "C4:7C:8D:6B:4F:F3", {"temperature": 1960}),
    ],
)  # fmt: skip
def test_a_plain_frame_is_read_and_proves_nothing(frame: str, address: str, values: dict[str, int]) -> None:
    found = read(frame, None, address, proof=False)
    assert (found.values, found.counter) == (values, None)


def test_a_frame_of_version_3_is_read_with_its_short_key_and_proves_nothing() -> None:
    frame, key = "5830b603d28b98c54124f8c3491476757e00000099", bytes.fromhex("b853075158487ca39a5b5ea9")
    assert read(frame, key, "F8:24:41:C5:98:8B", proof=False).counter is None
    wrong = bytes.fromhex("b853075158487aa39a5b5ea9")
    assert refused(frame, wrong, "F8:24:41:C5:98:8B", proof=False) is Refusal.WRONG_KEY
    assert refused(frame, key + bytes(4), "F8:24:41:C5:98:8B") is Refusal.DOWNGRADE


def test_a_frame_without_an_object_says_nothing() -> None:
    assert (
        decode(service(UUID, "30585b0502483cd438c1a408", address="A4:C1:38:D4:3C:48"), KEY, proof=True)
        is None
    )


@pytest.mark.parametrize(
    ("frame", "key", "why"),
    [
        pytest.param("5020aa01da219335342d580d1004fe004802", KEY, Refusal.DOWNGRADE, id="plain"),
        pytest.param(HUMIDITY, KEY, Refusal.WRONG_KEY, id="wrong key"),
        pytest.param(HUMIDITY, None, Refusal.NO_KEY, id="no key"),
        pytest.param(HUMIDITY[:-1], HUMIDITY_KEY, Refusal.WRONG_KEY, id="cut"),
        pytest.param(HUMIDITY[:14], HUMIDITY_KEY, Refusal.MALFORMED, id="too short"),
        pytest.param(b"\x58\x58", HUMIDITY_KEY, Refusal.MALFORMED, id="no header"),
        pytest.param("d858" + HUMIDITY[2:].hex(), HUMIDITY_KEY, Refusal.MALFORMED, id="mesh"),
        pytest.param("5818" + HUMIDITY[2:].hex(), HUMIDITY_KEY, Refusal.MALFORMED, id="version 1"),
    ],
)
def test_a_frame_that_must_not_be_taken_is_refused(
    frame: bytes | str, key: bytes | None, why: Refusal
) -> None:
    address = "58:2D:34:35:93:21" if why is Refusal.DOWNGRADE else HUMIDITY_ADDRESS
    assert refused(frame, key, address) is why


def test_a_changed_bit_is_refused_or_changes_nothing() -> None:
    right = read(HUMIDITY, HUMIDITY_KEY, HUMIDITY_ADDRESS)
    for bit, flipped in enumerate(bit_flips(HUMIDITY)):
        try:
            found = decode(service(UUID, flipped, address=HUMIDITY_ADDRESS), HUMIDITY_KEY, proof=True)
        except FrameRefused:
            continue
        assert bit < UNPROVEN_BITS
        assert found in (None, right)  # the same frame for whoever looks for repetitions, too


def test_objects_that_are_not_numbers_are_not_available() -> None:
    nan = frames.mibeacon_object(0x4C01, bytes.fromhex("0000c07f"))
    data = frames.mibeacon_sealed(nan, address=ADDRESS, product=0x55B, key=KEY, counter=1)
    assert read(data, KEY).values == {"temperature": None}


@pytest.mark.parametrize(
    ("number", "content", "values"),
    [
        (0x1004, "f6ff", {"temperature": -100}),
        (0x100A, "64", {"battery": 100}),
        (0x1007, "0a0000", {"illuminance": 10}),
        (0x1008, "21", {"moisture": 33}),
        (0x1009, "6400", {"conductivity": 100}),
        (0x1014, "01", {"leak": 1}),
        (0x1017, "78000000", {"idle": 120}),
        (0x1019, "00", {"open": 1}),
        (0x1019, "01", {"open": 0}),
        (0x1019, "03", {}),
        (0x4C01, "0000cc41", {"temperature": 2550}),
        (0x4C02, "2a", {"humidity": 4200}),
        (0x1004, "f6", {}),
        (0x9999, "01", {}),
    ],
)
def test_each_object_gives_its_field(number: int, content: str, values: dict[str, int]) -> None:
    payload = frames.mibeacon_object(number, bytes.fromhex(content))
    data = frames.mibeacon_sealed(payload, address=ADDRESS, product=0x55B, key=KEY, counter=7)
    assert read(data, KEY).values == values


@given(st.binary(max_size=40), st.sampled_from([None, KEY, KEY[:12]]), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, key: bytes | None, proof: bool) -> None:
    with contextlib.suppress(FrameRefused):
        decode(service(UUID, data), key, proof=proof and (key is None or len(key) == 16))
