"""A device makes readings of what is received of it: each frame once, also over restarts."""

import pytest

from drivers.ble.bthome import V2
from drivers.ble.device import BleDevice, Heard
from drivers.ble.frames import Refusal
from models.reading import Event, Item, Quality, Reading, Reason
from simulators.ble import frames
from tests.support.ble import ADDRESS, KEY, RSSI, a_device, a_profile, maker, service

MS = 1_790_000_000_000


class Listened:
    """A device with a clock and with what its marks would be in the buffer."""

    def __init__(self, profile: str = "bthome-meter", key: bytes | None = KEY, period_s: float = 60) -> None:
        self.device: BleDevice = a_device(profile, key=key, period_s=period_s)
        self.marks: dict[str, str] = {}
        self.now_s = 1000.0
        self.items: list[Item] = []

    def hear(self, data: bytes | str, *, after_s: float = 1.0, rssi: int = RSSI) -> Heard:
        self.now_s += after_s
        heard = self.device.hear(service(V2, data, rssi=rssi), MS + round(1000 * self.now_s), self.now_s)
        for name, text in heard.marks.items():
            if text:
                self.marks[name] = text
            else:
                self.marks.pop(name, None)
        self.items += heard.items
        return heard

    def sealed(self, counter: int, wh: int = 1000, *, after_s: float = 1.0, key: bytes = KEY) -> Heard:
        data = frames.bthome_sealed({0x4D: wh}, address=ADDRESS, key=key, counter=counter)
        return self.hear(data, after_s=after_s)

    def restart(self, key: bytes | None = KEY) -> None:
        """The agent is started again; monotonic time begins anew."""
        self.device = a_device(self.device.profile, key=key, period_s=self.device.period_s)
        self.device.restart(self.marks)
        self.now_s = 3.0

    @property
    def kwh(self) -> list[float | None]:
        return [
            item.value
            for item in self.items
            if isinstance(item, Reading) and item.point == "energy_import_kwh"
        ]

    @property
    def events(self) -> list[str]:
        return [item.kind for item in self.items if isinstance(item, Event)]


def test_a_frame_becomes_the_readings_that_it_has_fields_for() -> None:
    listened = Listened()
    heard = listened.hear("415942dc4350c9235e59805c61e8030000716c6f65")
    readings = [item for item in heard.items if isinstance(item, Reading)]
    assert [(r.point, r.value) for r in readings] == [
        ("energy_import_kwh", 12345.678), ("active_power_kw", -1.23456), ("signal_dbm", float(RSSI)),
    ]  # fmt: skip
    assert {r.quality for r in readings} == {Quality.GOOD}
    assert {(r.measured_ms, r.received_ms) for r in readings} == {(MS + 1_001_000, MS + 1_001_000)}
    assert heard.is_alive


def test_the_first_counter_is_noted_and_told() -> None:
    listened = Listened()
    heard = listened.sealed(77)
    assert [event.data for event in heard.items if isinstance(event, Event)] == [{"counter": 77}]
    assert '"last":77' in listened.marks["ble/d/counter"]


def test_the_key_is_in_no_mark_and_in_no_representation() -> None:
    secret = bytes(range(0xA0, 0xB0))
    listened = Listened(key=secret)
    heard = listened.sealed(77, key=secret)
    other = listened.sealed(78)
    assert (heard.refusals, other.refusals) == ([], [Refusal.WRONG_KEY])
    told = f"{heard!r}{other!r}{listened.device!r}{listened.marks!r}"
    assert secret.hex() not in told.lower()
    assert repr(secret) not in told


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(frames.bthome_plain({0x4D: 1}), Refusal.DOWNGRADE, id="plain"),
        pytest.param(
            frames.bthome_sealed({0x4D: 1}, address=ADDRESS, key=bytes(16), counter=900),
            Refusal.WRONG_KEY,
            id="wrong key",
        ),
        pytest.param(b"\x41\x00", Refusal.MALFORMED, id="garbage"),
    ],
)
def test_what_is_refused_gives_nothing_and_changes_nothing(data: bytes, why: Refusal) -> None:
    listened = Listened()
    listened.sealed(5)
    marks = dict(listened.marks)
    heard = listened.hear(data)
    assert (heard.items, heard.marks, heard.refusals) == ([], {}, [why])
    assert not heard.is_alive
    assert listened.marks == marks
    assert listened.sealed(6).is_alive


def test_after_a_restart_old_frames_are_refused_and_new_ones_taken() -> None:
    listened = Listened()
    for counter in range(10, 20):
        listened.sealed(counter, counter)
    listened.restart()
    assert not listened.sealed(19, 19).items  # the same advertisement, heard again
    assert listened.sealed(15, 15).refusals == [Refusal.REPLAYED]
    assert listened.sealed(20, 20).is_alive
    assert listened.kwh == [counter / 1000 for counter in range(10, 21)]


def test_a_changed_battery_is_told_and_costs_no_reading_also_right_after_a_restart() -> None:
    listened = Listened()
    for counter in range(500, 510):
        listened.sealed(counter, counter, after_s=60)
    listened.restart()
    for counter in range(6):
        listened.sealed(counter, 600 + counter, after_s=60)
    assert listened.kwh[-6:] == [0.6, 0.601, 0.602, 0.603, 0.604, 0.605]
    assert listened.events == ["ble.counter_started", "ble.counter_reset"]
    [reset] = [
        item for item in listened.items if isinstance(item, Event) and item.kind == "ble.counter_reset"
    ]
    assert reset.data == {"from": 509, "to": 0, "held": 4}


def test_held_readings_keep_the_times_at_which_they_were_heard() -> None:
    listened = Listened()
    listened.sealed(500)
    for counter in range(6):
        listened.sealed(counter, after_s=60)
    times = [item.measured_ms for item in listened.items if isinstance(item, Reading)]
    assert times == sorted(times)
    assert max(times) - min(times) == 360_000


def test_another_key_or_another_address_begins_anew() -> None:
    listened = Listened()
    listened.sealed(1000)
    other = bytes(range(16))
    listened.restart(key=other)
    assert listened.sealed(3, key=other).is_alive
    assert listened.events == ["ble.counter_started", "ble.counter_started"]


def test_a_mark_that_cannot_be_read_counts_as_not_there() -> None:
    listened = Listened()
    listened.sealed(1000)
    listened.marks["ble/d/counter"] = '{"of": 3}'
    listened.restart()
    assert listened.sealed(5).is_alive


def plain(wh: int, packet_id: int | None = None) -> bytes:
    return frames.bthome_plain({0x4D: wh} if packet_id is None else {0x00: packet_id, 0x4D: wh})


def test_the_same_numbered_frame_is_stored_once_however_often_it_is_heard() -> None:
    listened = Listened("bthome-meter-plain", None, period_s=10)
    for _ in range(50):
        listened.hear(plain(5, packet_id=7), after_s=20)
    assert listened.kwh == [0.005]
    assert not listened.hear(plain(5, packet_id=7)).is_alive  # it says nothing new: it hangs
    listened.hear(plain(5, packet_id=8))
    assert listened.kwh == [0.005, 0.005]


def test_an_unnumbered_frame_of_the_same_values_is_another_measurement_a_period_later() -> None:
    listened = Listened("bthome-meter-plain", None, period_s=10)
    for _ in range(12):
        assert listened.hear(plain(5), after_s=2).is_alive
    assert len(listened.kwh) == 3
    listened.hear(plain(6))
    listened.hear(plain(5))
    assert listened.kwh[-2:] == [0.006, 0.005]


def test_repetitions_with_another_strength_are_no_news() -> None:
    listened = Listened("bthome-meter-plain", None)
    listened.hear(plain(5, packet_id=7), rssi=-60)
    listened.hear(plain(5, packet_id=7), rssi=-70)
    assert len(listened.items) == 2


def test_a_plain_frame_is_stored_once_over_a_restart() -> None:
    listened = Listened("bthome-meter-plain", None)
    listened.hear(plain(5, packet_id=7))
    listened.restart(key=None)
    listened.hear(plain(5, packet_id=7))
    assert listened.kwh == [0.005]


def test_what_a_sensor_calls_not_available_is_bad() -> None:
    device = a_device("ruuvitag", address="CB:B8:33:4C:88:4F")
    advert = maker(0x0499, "058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF", address=device.address)
    readings = {item.point: item for item in device.hear(advert, MS, 0.0).items if isinstance(item, Reading)}
    assert readings["temperature_c"].value is None
    assert readings["temperature_c"].reason is Reason.NOT_AVAILABLE
    assert readings["signal_dbm"].value == RSSI


def test_an_impossible_value_is_suspect() -> None:
    device = a_device("bthome-climate-plain")
    [humidity, _] = device.hear(service(V2, "4003ffff"), MS, 0.0).items
    assert isinstance(humidity, Reading)
    assert (humidity.value, humidity.quality) == (655.35, Quality.SUSPECT)


def test_a_silent_device_has_a_bad_reading_for_each_point() -> None:
    device = a_device("atorch-ac")
    readings = device.silent(Reason.NO_REPLY, MS)
    assert [reading.point for reading in readings] == [point.name for point in device.profile.points]
    assert {(reading.value, reading.reason) for reading in readings} == {(None, Reason.NO_REPLY)}


def test_a_meter_that_lacks_a_point_says_so() -> None:
    device = a_device("atorch-ac")
    assert device.conversation is not None
    frame = device.conversation.decode(
        bytes.fromhex("FF550102000020004E200013FA000000110000000000000000250002211A3C0000000009")
    )
    readings = {reading.point: reading for reading in device.answered(frame, MS, MS)}
    assert readings["energy_import_kwh"].value == 0.17
    assert readings["frequency_hz"].reason is Reason.NOT_AVAILABLE


def test_the_profiles_say_which_of_them_prove_nothing() -> None:
    proven = {"bthome-meter", "bthome-climate", "xiaomi-lywsd03mmc"}
    open_ = {"ruuvitag", "victron-bmv", "atorch-ac", "atorch-s1", "jbd-bms", "xiaomi-lywsdcgq"}
    open_ |= {"bthome-meter-plain", "bthome-climate-plain"}
    assert {name for name in proven | open_ if not a_profile(name).unauthenticated} == proven
    assert all("unauthenticated" in a_profile(name).title for name in open_)
