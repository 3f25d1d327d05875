"""Announcements and forwarded keys are what their collector has signed, or they are refused."""

import functools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from models.announcement import AnnouncedKey, Announcement, open_announcement, sign_announcement
from models.envelope import (
    FIRST_PREVIOUS,
    STANDARD,
    CollectorPrivateKey,
    ContentKey,
    EnvelopeRefused,
    Origin,
    forward_package,
    forwarded_by,
    open_envelope,
    open_forwarded,
    seal,
)
from models.reading import Event

GATEWAY, COUNTY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
COUNTY_KEY, AREA_KEY = CollectorPrivateKey.generate(), CollectorPrivateKey.generate()
OF_GATEWAY = Origin("gw-1", STANDARD, GATEWAY.public_key().public_bytes_raw())
OF_COUNTY = Origin("gw-c", STANDARD, COUNTY.public_key().public_bytes_raw())
SAID = Announcement(
    collector_id="gw-c",
    gateway_id="gw-1",
    name="北楼",
    site_code="hall",
    site_name="市民中心",
    timezone="Asia/Shanghai",
    suite="standard",
    sm2_key=None,
    keys=[AnnouncedKey(b"certificate", b"", b"")],
)


@functools.cache
def announced() -> bytes:
    return sign_announcement(SAID, COUNTY)


@functools.cache
def forwarded() -> tuple[bytes, bytes]:
    """An envelope of the gateway, and its content key as the county has sealed it for the area."""
    key, package = ContentKey.fresh(
        gateway_id="gw-1", collector_key=COUNTY_KEY.public_bytes(), signing_key=GATEWAY
    )
    event = Event(device_id="d", kind="k", data={}, measured_ms=1, received_ms=2)
    sealed = seal(
        [event],
        gateway_id="gw-1",
        epoch=bytes(16),
        number=1,
        first_seq=1,
        previous=FIRST_PREVIOUS,
        content_key=key,
        signing_key=GATEWAY,
    )
    again = forward_package(
        package,
        origin=OF_GATEWAY,
        private_keys=[COUNTY_KEY],
        collector_id="gw-c",
        suite=STANDARD,
        higher_key=AREA_KEY.public_bytes(),
        signing_key=COUNTY,
    )
    return sealed.body, again


def test_the_area_reads_what_the_gateway_sealed_with_the_key_that_the_county_has_passed_on() -> None:
    body, package = forwarded()
    assert forwarded_by(package) == ("gw-c", "gw-1")
    key = open_forwarded(package, collector=OF_COUNTY, suite=STANDARD, private_keys=[AREA_KEY])
    header, columns = open_envelope(body, origin=OF_GATEWAY, content_key=key)
    assert (header.gateway_id, columns.count) == ("gw-1", 1)


def test_nobody_but_the_owner_of_the_key_opens_what_was_passed_on() -> None:
    with pytest.raises(EnvelopeRefused) as refused:
        open_forwarded(forwarded()[1], collector=OF_COUNTY, suite=STANDARD, private_keys=[COUNTY_KEY])
    assert refused.value.code == "cannot-open"


def test_an_announcement_says_what_was_signed() -> None:
    assert open_announcement(announced(), collector=OF_COUNTY) == SAID


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_whatever_byte_is_changed_neither_is_taken(place: int, change: int) -> None:
    def changed(body: bytes) -> bytes:
        at = place % len(body)
        return body[:at] + bytes([body[at] ^ change]) + body[at + 1 :]

    with pytest.raises(EnvelopeRefused):
        open_announcement(changed(announced()), collector=OF_COUNTY)
    with pytest.raises(EnvelopeRefused):
        open_forwarded(changed(forwarded()[1]), collector=OF_COUNTY, suite=STANDARD, private_keys=[AREA_KEY])


@given(st.binary(max_size=300), st.sampled_from([b"", b"GHA1", b"GHF1"]))
def test_bytes_that_are_nothing_are_refused(body: bytes, magic: bytes) -> None:
    signed = magic + body
    for sent in (signed, signed + COUNTY.sign(signed)):
        with pytest.raises(EnvelopeRefused):
            open_announcement(sent, collector=OF_COUNTY)
        with pytest.raises(EnvelopeRefused):
            open_forwarded(sent, collector=OF_COUNTY, suite=STANDARD, private_keys=[AREA_KEY])
