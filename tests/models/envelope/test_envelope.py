"""An envelope opens only for the collector it was made for, and only unchanged; whatever its suite."""

import hashlib
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batch import encode_items
from models.envelope import (
    FIRST_PREVIOUS,
    GM,
    STANDARD,
    SUITES,
    CollectorPrivateKey,
    ContentKey,
    EnvelopeRefused,
    Header,
    Origin,
    Sealed,
    Suite,
    is_intact,
    open_envelope,
    open_package,
    package_key_id,
    read_header,
    seal,
    suite_named,
    verify,
)
from models.reading import Item, Reading
from models.sm2 import Sm2PrivateKey
from models.sm3 import sm3
from tests.support.keys import public_bytes, signing_key_of


@dataclass
class Gateway:
    """Everything one gateway and its collector hold."""

    name: str
    suite: Suite
    signing_key: Ed25519PrivateKey | Sm2PrivateKey
    content_key: ContentKey
    package: bytes
    number: int = 0

    @property
    def origin(self) -> Origin:
        return Origin(self.name, self.suite, public_bytes(self.signing_key))

    def seal(self, items: list[Item], *, previous: bytes = FIRST_PREVIOUS) -> Sealed:
        self.number += 1
        return seal(
            items,
            gateway_id=self.name,
            epoch=bytes(range(16)),
            number=self.number,
            first_seq=1,
            previous=previous,
            content_key=self.content_key,
            signing_key=self.signing_key,
        )


ITEMS: list[Item] = [
    Reading(
        device_id="meter-1", point="voltage_v", value=230.5, measured_ms=1_772_400_000_000 + i, received_ms=2
    )
    for i in range(5)
]


class World:
    """A collector and two gateways of one suite, and an envelope of the first."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.collector = CollectorPrivateKey.generate(suite)
        self.gateway, self.other = self.a_gateway("gw-1"), self.a_gateway("gw-2")
        self.arrived = self.open_package(self.gateway.package)
        self.envelope = self.gateway.seal(ITEMS)

    def a_gateway(self, name: str) -> Gateway:
        signing_key = signing_key_of(self.suite)
        key, package = ContentKey.fresh(
            gateway_id=name,
            collector_key=self.collector.public_bytes(),
            signing_key=signing_key,
            suite=self.suite,
        )
        return Gateway(name, self.suite, signing_key, key, package)

    def open_package(self, package: bytes, *private_keys: CollectorPrivateKey) -> ContentKey:
        return open_package(
            package, origin=self.gateway.origin, private_keys=private_keys or [self.collector]
        )

    def opened(self, body: bytes) -> Header:
        """Open as a collector does: with the key that arrived in the gateway's package."""
        header, columns = open_envelope(body, origin=self.gateway.origin, content_key=self.arrived)
        assert columns.value == [230.5] * 5
        return header


WORLDS = {suite.name: World(suite) for suite in SUITES.values()}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]


def test_the_collector_opens_what_the_gateway_sealed(world: World) -> None:
    header = world.opened(world.envelope.body)
    assert (header.gateway_id, header.number, header.first_seq, header.last_seq) == ("gw-1", 1, 1, 5)
    body = world.envelope.body
    assert world.envelope.digest == (sm3(body) if world.suite is GM else hashlib.sha256(body).digest())


def test_the_collectors_key_survives_being_kept(world: World) -> None:
    kept = CollectorPrivateKey(world.collector.to_bytes(), world.suite)
    key = world.open_package(world.gateway.package, kept)
    assert key.key_id == world.gateway.content_key.key_id == package_key_id(world.gateway.package)


def test_every_flipped_bit_is_refused(world: World) -> None:
    for bit in range(8 * len(world.envelope.body)):
        changed = bytearray(world.envelope.body)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeRefused):
            world.opened(bytes(changed))


def test_a_flipped_bit_in_any_byte_of_a_key_package_is_refused(world: World) -> None:
    for at in range(len(world.gateway.package)):
        changed = bytearray(world.gateway.package)
        changed[at] ^= 1 << at % 8
        with pytest.raises(EnvelopeRefused):
            world.open_package(bytes(changed))


def test_a_truncated_envelope_is_refused(world: World) -> None:
    for length in range(len(world.envelope.body)):
        with pytest.raises(EnvelopeRefused):
            world.opened(world.envelope.body[:length])


def test_an_envelope_with_bytes_behind_it_is_refused(world: World) -> None:
    with pytest.raises(EnvelopeRefused):
        world.opened(world.envelope.body + b"\0")


def test_a_header_of_another_envelope_is_refused(world: World) -> None:
    second = world.gateway.seal(ITEMS, previous=world.envelope.digest)
    end = 6 + int.from_bytes(world.envelope.body[4:6], "big")
    swapped = second.body[: 6 + int.from_bytes(second.body[4:6], "big")] + world.envelope.body[end:]
    with pytest.raises(EnvelopeRefused) as refused:
        world.opened(swapped)
    assert refused.value.code == "bad-signature"


def test_a_header_swapped_by_one_who_can_sign_does_not_decrypt(world: World) -> None:
    """The header is associated data: not even the gateway's own key makes another header fit."""
    end = 6 + int.from_bytes(world.envelope.body[4:6], "big")
    second = world.gateway.seal(ITEMS)
    header = second.body[: 6 + int.from_bytes(second.body[4:6], "big")]
    signed = header + world.envelope.body[end:-64]
    with pytest.raises(EnvelopeRefused) as refused:
        world.opened(signed + world.gateway.signing_key.sign(signed))
    assert refused.value.code == "cannot-open"


def test_an_envelope_of_another_gateway_is_refused_under_both_names(world: World) -> None:
    foreign = world.other.seal(ITEMS)
    with pytest.raises(EnvelopeRefused) as refused:
        world.opened(foreign.body)
    assert refused.value.code == "foreign-gateway"
    with pytest.raises(EnvelopeRefused) as refused:
        verify(foreign.body, origin=Origin("gw-2", world.suite, world.gateway.origin.public_key))
    assert refused.value.code == "bad-signature"


def test_a_key_package_for_another_collector_does_not_open(world: World) -> None:
    with pytest.raises(EnvelopeRefused) as refused:
        world.open_package(world.gateway.package, CollectorPrivateKey.generate(world.suite))
    assert refused.value.code == "cannot-open"


def test_a_count_that_does_not_fit_the_content_is_refused(world: World) -> None:
    """A gateway that lies about its sequence numbers would leave a hole that nobody sees."""
    key = world.gateway.content_key
    honest = read_header(world.gateway.seal(ITEMS).body)
    short = seal(
        ITEMS[:4],
        gateway_id="gw-1",
        epoch=honest.epoch,
        number=9,
        first_seq=1,
        previous=FIRST_PREVIOUS,
        content_key=key,
        signing_key=world.gateway.signing_key,
    )
    assert read_header(short.body).count == 4
    lying = short.body.replace(_packed_count(1, 4), _packed_count(1, 5), 1)
    assert read_header(lying).count == 5
    with pytest.raises(EnvelopeRefused):
        world.opened(lying)


def _packed_count(first_seq: int, count: int) -> bytes:
    return bytes([first_seq, count])


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"GHE1" + noise, b"GHE1\0\x20" + noise):
        with pytest.raises(EnvelopeRefused):
            WORLDS["standard"].opened(data)


def test_no_nonce_of_a_key_is_used_twice(world: World) -> None:
    nonces = [read_header(world.gateway.seal(ITEMS[:1]).body).nonce for _ in range(200)]
    assert len(set(nonces)) == 200


def test_two_starts_of_a_gateway_never_share_a_key(world: World) -> None:
    assert world.a_gateway("gw-1").content_key.key_id != world.gateway.content_key.key_id


def test_nothing_of_the_content_can_be_read_in_the_envelope(world: World) -> None:
    secret: list[Item] = [
        Reading(device_id="secret-device", point="secret_point", value=1.0, measured_ms=1, received_ms=1)
    ]
    body = world.gateway.seal(secret).body
    assert b"secret" not in body
    assert encode_items(secret) not in body


def test_keys_show_nothing_when_printed(world: World) -> None:
    assert "GCM" not in repr(world.gateway.content_key)
    assert world.collector.to_bytes().hex()[:16] not in repr(world.collector)


def test_a_gateway_of_one_suite_is_refused_under_every_other(world: World) -> None:
    """Also when it signs rightly by the other one: what was agreed at enrolment holds."""
    [other] = [suite for suite in SUITES.values() if suite is not world.suite]
    stranger = WORLDS[other.name].gateway

    for refuse in (
        lambda: verify(stranger.seal(ITEMS).body, origin=world.gateway.origin),
        lambda: world.open_package(stranger.package, WORLDS[other.name].collector, world.collector),
    ):
        with pytest.raises(EnvelopeRefused) as refused:
            refuse()
        assert refused.value.code == "wrong-suite"


def test_a_suite_that_nobody_knows_is_refused(world: World) -> None:
    body = bytearray(world.envelope.body)
    assert body[7] == world.suite.number
    body[7] = 3

    with pytest.raises(EnvelopeRefused, match="suite 3; this side knows suites 1 and 2"):
        world.opened(bytes(body))


def test_a_key_that_was_rotated_away_still_opens_what_was_sealed_to_it(world: World) -> None:
    newer = CollectorPrivateKey.generate(world.suite)
    of_other_suites = [one.collector for one in WORLDS.values() if one is not world]

    key = world.open_package(world.gateway.package, *of_other_suites, newer, world.collector)

    assert key.key_id == world.gateway.content_key.key_id


def test_a_package_says_for_which_gateway_it_is_even_inside(world: World) -> None:
    """Who copies what another gateway sealed into a package of its own makes nothing that opens."""
    thief, victim = world.other, world.gateway
    sealed = victim.package[:-64].replace(b"gw-1", b"gw-2", 1)

    with pytest.raises(EnvelopeRefused) as refused:
        open_package(
            sealed + thief.signing_key.sign(sealed), origin=thief.origin, private_keys=[world.collector]
        )

    assert refused.value.code == "cannot-open"


def test_a_damaged_envelope_is_not_intact(world: World) -> None:
    body, digest = world.envelope.body, world.envelope.digest
    assert is_intact(body, digest)
    assert not is_intact(body[:-1] + bytes([body[-1] ^ 1]), digest)
    assert not is_intact(b"", digest)


def test_suites_are_found_by_their_names() -> None:
    assert (suite_named("standard"), suite_named("gm")) == (STANDARD, GM)
    with pytest.raises(KeyError):
        suite_named("none")
