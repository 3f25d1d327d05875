"""What ChirpStack publishes is understood, and what anybody else publishes does no harm."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.parking.messages import (
    MOST_BYTES,
    Join,
    MessageRefused,
    NetworkLog,
    NetworkStatus,
    Uplink,
    read_message,
)
from tests.support.chirpstack import EUI, an_uplink, message, topic
from tests.support.clocks import START_MS

DOCUMENTED_UP = b"""{"deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
 "time": "2022-07-18T09:34:15.775023242+00:00",
 "deviceInfo": {"tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "deviceName": "Test device",
                "devEui": "0101010101010101", "tags": {"key": "value"}},
 "devAddr": "00189440", "dr": 1, "fPort": 1, "data": "qg==",
 "rxInfo": [{"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5,
             "context": "E3OWOQ==", "metadata": {"region_name": "eu868"}}],
 "txInfo": {"frequency": 867100000, "modulation": {"lora": {"bandwidth": 125000}}}}"""


def test_the_example_of_the_documentation_is_read() -> None:
    heard = read_message(topic("up"), DOCUMENTED_UP)
    assert isinstance(heard.message, Uplink)
    assert heard.eui == EUI
    assert heard.time_ms == 1_658_136_855_775
    assert (heard.message.f_cnt, heard.message.f_port, heard.message.payload) == (0, 1, b"\xaa")
    assert heard.message.rx_info[0].rssi == -36


def test_status_join_and_log_are_read_with_what_is_left_out() -> None:
    status = read_message(topic("status"), message(margin=10, batteryLevel=88.3)).message
    assert isinstance(status, NetworkStatus)
    assert status.told == {"margin_db": 10, "battery_pct": 88.3}
    mains = read_message(topic("status"), message(externalPowerSource=True)).message
    assert isinstance(mains, NetworkStatus)
    assert "battery_pct" not in mains.told
    join = read_message(topic("join"), message(devAddr="00189440")).message
    assert isinstance(join, Join)
    log = read_message(topic("log"), message(code="UPLINK_MIC", description="MIC is invalid")).message
    assert isinstance(log, NetworkLog)
    assert (log.level, log.code) == ("INFO", "UPLINK_MIC")


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-09-21T14:13:20Z", START_MS),
        ("2026-09-21T22:13:20.5+08:00", START_MS + 500),
        ("2026-09-21T14:13:20.000999999Z", START_MS),
        ("2026-09-21T14:13:20.12-00:30", START_MS + 30 * 60_000 + 120),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),  # a leap second
    ],
)
def test_a_time_is_cut_to_milliseconds(text: str, ms: int) -> None:
    assert read_message(topic("up"), message(time=text, at_ms=None)).time_ms == ms


HUGE = "9" * 5000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(b"\xff\xfe{}", id="no UTF-8"),
        pytest.param(b"[" * 50_000, id="a bracket bomb"),
        pytest.param(b'{"deviceInfo": ' * 3000, id="a bomb of mappings"),
        pytest.param(DOCUMENTED_UP[:-10], id="cut off"),
        pytest.param(DOCUMENTED_UP + b"}", id="something behind it"),
        pytest.param(message(fCnt="7"), id="a counter as text"),
        pytest.param(message(fCnt=-1), id="a counter below 0"),
        pytest.param(message(fCnt=1 << 32), id="a counter too large"),
        pytest.param(message(fCnt=7.5), id="half a counter"),
        pytest.param(message(fCnt=True), id="a counter that is true"),
        pytest.param(message(fCnt=7).replace(b'"fCnt": 7', f'"fCnt": {HUGE}'.encode()), id="a huge number"),
        pytest.param(message(fPort=256), id="a port too large"),
        pytest.param(message(data=[1, 2]), id="data as a list"),
        pytest.param(message(data="A" * 500), id="data too long"),
        pytest.param(message(time=5, at_ms=None), id="a time that is a number"),
        pytest.param(message(time="yesterday", at_ms=None), id="a time that is none"),
        pytest.param(message(time="2026-13-41T25:61:00Z", at_ms=None), id="a time that cannot be"),
        pytest.param(message(time="2026-01-01T10:00:61Z", at_ms=None), id="a second that cannot be"),
        pytest.param(message(deviceInfo={"devEui": "xyz"}), id="an EUI that is none"),
        pytest.param(message(deviceInfo={"devEui": 7}), id="an EUI that is a number"),
        pytest.param(message(rxInfo=[{"rssi": "loud"}]), id="a signal as text"),
        pytest.param(message(rxInfo=[{"rssi": -40, "snr": 1e300}]), id="an impossible signal"),
        pytest.param(message(deduplicationId="x" * 100), id="a long id"),
    ],
)  # fmt: skip
def test_what_is_not_exactly_such_an_event_is_refused(body: bytes) -> None:
    with pytest.raises(MessageRefused) as refused:
        read_message(topic("up"), body)
    assert refused.value.reason == "malformed"
    assert len(str(refused.value)) < 400


def test_data_that_are_no_base64_are_refused() -> None:
    uplink = read_message(topic("up"), message(data="!!!!")).message
    assert isinstance(uplink, Uplink)
    with pytest.raises(MessageRefused):
        _ = uplink.payload


@pytest.mark.parametrize(
    ("on", "body", "reason"),
    [
        (topic("up", "0202020202020202"), an_uplink(1), "foreign-device"),
        (topic("ack"), an_uplink(1), "foreign-topic"),
        ("application/a/device/zz/event/up", an_uplink(1), "foreign-topic"),
        ("up", an_uplink(1), "foreign-topic"),
        (topic("up") + "/x", an_uplink(1), "foreign-topic"),
        (topic("up"), b" " * MOST_BYTES + b"{}", "too-long"),
    ],
)
def test_what_comes_on_a_wrong_topic_or_is_too_long_is_refused(on: str, body: bytes, reason: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        read_message(on, body)
    assert refused.value.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["deduplicationId", "time", "deviceInfo", "devAddr", "fCnt", "fPort", "data", "rxInfo", "margin"]


@given(st.sampled_from(["up", "join", "status", "log"]), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_no_json_does_harm(event: str, wrong: dict[str, Any]) -> None:
    body = json.dumps(json.loads(an_uplink(3)) | wrong).encode()
    try:
        heard = read_message(topic(event), body)
    except MessageRefused:
        return
    assert heard.eui == EUI
    assert heard.time_ms is None or abs(heard.time_ms) < 1 << 60


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(body: bytes) -> None:
    with pytest.raises(MessageRefused):
        read_message(topic("up"), body)


def test_base64_with_padding_and_without_data_is_read() -> None:
    for data in (b"", b"\x01", b"\x01\xff", bytes(242)):
        uplink = read_message(topic("up"), message(data=base64.b64encode(data).decode())).message
        assert isinstance(uplink, Uplink)
        assert uplink.payload == data
