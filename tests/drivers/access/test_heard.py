"""Messages of controllers are understood in all their forms, and nothing else comes out of them."""

import json
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.access.errors import BadBody
from drivers.access.heard import Heartbeat, VendorEvent, read_message, read_page, when_ms, zone_of
from drivers.access.xml import read_xml

CHINA = timezone(timedelta(hours=8))


def message(**inner: Any) -> bytes:
    fields = {"majorEventType": 5, "subEventType": 1, "serialNo": 7, "doorNo": 1} | inner
    document = {"dateTime": "2026-09-21T22:13:20+08:00", "eventType": "AccessControllerEvent"}
    return json.dumps({**document, "AccessControllerEvent": fields}).encode()


def event(text: bytes) -> VendorEvent:
    [heard] = read_message(text, UTC)
    assert isinstance(heard, VendorEvent)
    return heard


def test_an_event_in_json_is_understood() -> None:
    heard = event(message(cardNo="0008106606", employeeNoString="E1", cardReaderNo=2, currentEvent=True))
    assert (heard.serial, heard.major, heard.minor, heard.door, heard.reader) == (7, 5, 1, 1, 2)
    assert (heard.card, heard.person, heard.is_current) == ("0008106606", "E1", True)
    assert heard.at_ms == 1_790_000_000_000


def test_the_same_event_in_xml_is_the_same() -> None:
    text = b"""<?xml version="1.0" encoding="GB2312"?>
      <EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">
      <dateTime>2026-09-21T22:13:20+08:00</dateTime><eventType>AccessControllerEvent</eventType>
      <AccessControllerEvent><majorEventType>5</majorEventType><subEventType>1</subEventType>
      <serialNo>7</serialNo><doorNo>1</doorNo><cardNo>0008106606</cardNo><name>\xcd\xf5\xce\xb0</name>
      <employeeNoString>E1</employeeNoString><cardReaderNo>2</cardReaderNo><currentEvent>true</currentEvent>
      </AccessControllerEvent></EventNotificationAlert>"""
    same = message(cardNo="0008106606", employeeNoString="E1", cardReaderNo=2, currentEvent=True)
    assert event(text) == event(same)


def test_names_in_an_encoding_of_their_own_do_not_hide_the_event() -> None:
    text = message(name="NAME").replace(b"NAME", "王伟".encode("gb18030"))
    assert event(text).serial == 7


def test_several_events_may_come_in_one_body() -> None:
    body = b"[" + message(serialNo=1) + b"," + message(serialNo=2) + b"]"
    assert [heard.serial for heard in read_message(body, UTC) if isinstance(heard, VendorEvent)] == [1, 2]


def test_a_heartbeat_tells_the_time_and_cameras_tell_nothing() -> None:
    beat = b'{"eventType": "videoloss", "eventState": "inactive", "dateTime": "2026-09-21T22:13:20+08:00"}'
    assert read_message(beat, UTC) == [Heartbeat(1_790_000_000_000)]
    assert read_message(b'{"eventType": "VMD", "dateTime": "2026-09-21T22:13:20+08:00"}', UTC) == []


@pytest.mark.parametrize("none", ["", "0", "0000000000", 0, None, "x" * 65, True, 4.5, ["1"]])
def test_what_stands_for_no_card_is_none(none: Any) -> None:
    heard = event(message(cardNo=none, employeeNoString=none))
    assert (heard.card, heard.person) == (None, None)


@pytest.mark.parametrize("serial", [0, -1, "x", 1 << 60, None, True, 1.5, "1" * 30])
def test_a_serial_number_that_is_none_is_none(serial: Any) -> None:
    assert event(message(serialNo=serial)).serial is None


def test_numbers_of_cards_and_people_are_in_no_repr() -> None:
    heard = event(message(cardNo="0008106606", employeeNoString="GOV-1"))
    assert "8106606" not in repr(heard)
    assert "GOV-1" not in repr(heard)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe<\x00a\x00", id="utf-16"),
        pytest.param(b"[1]", id="a-list-of-numbers"),
        pytest.param(b'{"AccessControllerEvent": {"majorEventType": "x"}}', id="no-code"),
        pytest.param(b"[" * 100_000, id="deep-json"),
        pytest.param(b"<a>" * 100_000, id="deep-xml"),
        pytest.param(b"<a><b></a>", id="crossed-xml"),
        pytest.param(b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>', id="entities"),
        pytest.param(b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', id="document-type"),
        pytest.param(b"<a>&unknown;</a>", id="unknown-entity"),
    ],
)
def test_what_is_no_message_is_refused_and_not_shown(body: bytes) -> None:
    with pytest.raises(BadBody) as caught:
        read_message(body, UTC)
    assert "passwd" not in str(caught.value)


@given(st.binary(max_size=400))
def test_any_bytes_are_either_a_message_or_refused(body: bytes) -> None:
    for read in (read_message, read_page):
        try:
            read(body, UTC)
        except BadBody:
            continue


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)
NAMES = (
    *("AccessControllerEvent", "AcsEvent", "InfoList", "serialNo", "majorEventType", "subEventType", "time"),
    *("dateTime", "cardNo", "employeeNo", "major", "minor", "doorNo", "eventType", "currentEvent"),
)


@given(
    st.recursive(
        st.dictionaries(st.sampled_from(NAMES), json_values, max_size=6),
        lambda below: st.dictionaries(st.sampled_from(NAMES), below, max_size=4),
        max_leaves=5,
    )
)
def test_the_right_names_with_the_wrong_values_do_no_harm(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    for read in (read_message, read_page):
        try:
            read(body, UTC)
        except BadBody:
            continue


def test_a_page_of_the_log_is_read_and_says_whether_it_is_the_last() -> None:
    entry = {"major": 5, "minor": 75, "time": "2026-09-21T22:13:20+08:00", "serialNo": 30, "doorNo": 1}
    found = {"AcsEvent": {"responseStatusStrg": "MORE", "numOfMatches": 2, "InfoList": [entry, {"x": 1}]}}
    page = read_page(json.dumps(found).encode(), UTC)
    assert ([e.serial for e in page.events], page.count, page.is_last) == ([30], 2, False)
    assert read_page(b'{"AcsEvent": {"responseStatusStrg": "NO MATCH"}}', UTC).is_last


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        pytest.param("2026-09-21T14:13:20Z", 1_790_000_000_000, id="utc"),
        pytest.param("2026-09-21T22:13:20+08:00", 1_790_000_000_000, id="zone"),
        pytest.param("2026-09-21T22:13:20", 1_790_000_000_000, id="the-controllers-own-zone"),
        pytest.param("1970-01-01T08:00:05+08:00", 5000, id="a-clock-that-was-never-set"),
        pytest.param("soon", None, id="no-time"),
        pytest.param(None, None, id="missing"),
        pytest.param("9" * 50, None, id="too-long"),
    ],
)
def test_times_are_those_of_the_zone_they_name(text: Any, at_ms: int | None) -> None:
    assert when_ms(text, CHINA) == at_ms


def test_the_zone_of_a_time_is_found() -> None:
    assert zone_of("2026-09-21T22:13:20+08:00") == CHINA
    assert zone_of("2026-09-21T22:13:20") is None


def test_xml_keeps_the_first_of_two_elements_with_one_name() -> None:
    assert read_xml(b"<a><b>1</b><b>2</b><c><d> x </d></c></a>") == {"a": {"b": "1", "c": {"d": "x"}}}
