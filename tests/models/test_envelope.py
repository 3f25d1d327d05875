"""An envelope opens only for the collector it was made for, and only unchanged."""

import hashlib
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from models.batch import encode_items
from models.envelope import (
    FIRST_PREVIOUS,
    CollectorPrivateKey,
    ContentKey,
    EnvelopeRefused,
    Header,
    Sealed,
    open_envelope,
    open_package,
    package_key_id,
    read_header,
    seal,
    verify,
)
from models.reading import Item, Reading


@dataclass
class Gateway:
    """Everything one gateway and its collector hold."""

    name: str
    signing_key: Ed25519PrivateKey
    content_key: ContentKey
    package: bytes
    number: int = 0

    @property
    def public_key(self) -> bytes:
        return self.signing_key.public_key().public_bytes_raw()

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


COLLECTOR = CollectorPrivateKey.generate()


def a_gateway(name: str) -> Gateway:
    signing_key = Ed25519PrivateKey.generate()
    key, package = ContentKey.fresh(
        gateway_id=name, collector_key=COLLECTOR.public_bytes(), signing_key=signing_key
    )
    return Gateway(name, signing_key, key, package)


GATEWAY = a_gateway("gw-1")
OTHER = a_gateway("gw-2")
ITEMS: list[Item] = [
    Reading(
        device_id="meter-1", point="voltage_v", value=230.5, measured_ms=1_772_400_000_000 + i, received_ms=2
    )
    for i in range(5)
]
ENVELOPE = GATEWAY.seal(ITEMS)


ARRIVED = open_package(
    GATEWAY.package, gateway_id="gw-1", public_key=GATEWAY.public_key, private_key=COLLECTOR
)


def opened(body: bytes) -> Header:
    """Open as a collector does: with the key that arrived in the gateway's package."""
    header, columns = open_envelope(
        body, gateway_id="gw-1", public_key=GATEWAY.public_key, content_key=ARRIVED
    )
    assert columns.value == [230.5] * 5
    return header


def test_the_collector_opens_what_the_gateway_sealed() -> None:
    header = opened(ENVELOPE.body)
    assert (header.gateway_id, header.number, header.first_seq, header.last_seq) == ("gw-1", 1, 1, 5)
    assert ENVELOPE.digest == hashlib.sha256(ENVELOPE.body).digest()


def test_the_collectors_key_survives_being_kept() -> None:
    kept = CollectorPrivateKey.from_bytes(COLLECTOR.to_bytes())
    key = open_package(GATEWAY.package, gateway_id="gw-1", public_key=GATEWAY.public_key, private_key=kept)
    assert key.key_id == GATEWAY.content_key.key_id == package_key_id(GATEWAY.package)


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(8 * len(ENVELOPE.body)):
        changed = bytearray(ENVELOPE.body)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeRefused):
            opened(bytes(changed))


def test_every_flipped_bit_of_a_key_package_is_refused() -> None:
    for bit in range(8 * len(GATEWAY.package)):
        changed = bytearray(GATEWAY.package)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeRefused):
            open_package(
                bytes(changed), gateway_id="gw-1", public_key=GATEWAY.public_key, private_key=COLLECTOR
            )


def test_a_truncated_envelope_is_refused() -> None:
    for length in range(len(ENVELOPE.body)):
        with pytest.raises(EnvelopeRefused):
            opened(ENVELOPE.body[:length])


def test_an_envelope_with_bytes_behind_it_is_refused() -> None:
    with pytest.raises(EnvelopeRefused):
        opened(ENVELOPE.body + b"\0")


def test_a_header_of_another_envelope_is_refused() -> None:
    second = GATEWAY.seal(ITEMS, previous=ENVELOPE.digest)
    end = 6 + int.from_bytes(ENVELOPE.body[4:6], "big")
    swapped = second.body[: 6 + int.from_bytes(second.body[4:6], "big")] + ENVELOPE.body[end:]
    with pytest.raises(EnvelopeRefused) as refused:
        opened(swapped)
    assert refused.value.code == "bad-signature"


def test_a_header_swapped_by_one_who_can_sign_does_not_decrypt() -> None:
    """The header is associated data: not even the gateway's own key makes another header fit."""
    end = 6 + int.from_bytes(ENVELOPE.body[4:6], "big")
    second = GATEWAY.seal(ITEMS)
    header = second.body[: 6 + int.from_bytes(second.body[4:6], "big")]
    signed = header + ENVELOPE.body[end:-64]
    with pytest.raises(EnvelopeRefused) as refused:
        opened(signed + GATEWAY.signing_key.sign(signed))
    assert refused.value.code == "cannot-open"


def test_an_envelope_of_another_gateway_is_refused_under_both_names() -> None:
    foreign = OTHER.seal(ITEMS)
    with pytest.raises(EnvelopeRefused) as refused:
        opened(foreign.body)
    assert refused.value.code == "foreign-gateway"
    with pytest.raises(EnvelopeRefused) as refused:
        verify(foreign.body, gateway_id="gw-2", public_key=GATEWAY.public_key)
    assert refused.value.code == "bad-signature"


def test_a_key_package_for_another_collector_does_not_open() -> None:
    with pytest.raises(EnvelopeRefused) as refused:
        open_package(
            GATEWAY.package,
            gateway_id="gw-1",
            public_key=GATEWAY.public_key,
            private_key=CollectorPrivateKey.generate(),
        )
    assert refused.value.code == "cannot-open"


def test_a_count_that_does_not_fit_the_content_is_refused() -> None:
    """A gateway that lies about its sequence numbers would leave a hole that nobody sees."""
    key = GATEWAY.content_key
    honest = read_header(GATEWAY.seal(ITEMS).body)
    short = seal(
        ITEMS[:4],
        gateway_id="gw-1",
        epoch=honest.epoch,
        number=9,
        first_seq=1,
        previous=FIRST_PREVIOUS,
        content_key=key,
        signing_key=GATEWAY.signing_key,
    )
    assert read_header(short.body).count == 4
    lying = short.body.replace(_packed_count(1, 4), _packed_count(1, 5), 1)
    assert read_header(lying).count == 5
    with pytest.raises(EnvelopeRefused):
        opened(lying)


def _packed_count(first_seq: int, count: int) -> bytes:
    return bytes([first_seq, count])


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, b"GHE1" + noise, b"GHE1\0\x20" + noise):
        with pytest.raises(EnvelopeRefused):
            opened(data)


def test_no_nonce_of_a_key_is_used_twice() -> None:
    nonces = [read_header(GATEWAY.seal(ITEMS[:1]).body).nonce for _ in range(200)]
    assert len(set(nonces)) == 200


def test_two_starts_of_a_gateway_never_share_a_key() -> None:
    assert a_gateway("gw-1").content_key.key_id != GATEWAY.content_key.key_id


def test_nothing_of_the_content_can_be_read_in_the_envelope() -> None:
    secret: list[Item] = [
        Reading(device_id="secret-device", point="secret_point", value=1.0, measured_ms=1, received_ms=1)
    ]
    body = GATEWAY.seal(secret).body
    assert b"secret" not in body
    assert encode_items(secret) not in body


def test_keys_show_nothing_when_printed() -> None:
    assert "AESGCM" not in repr(GATEWAY.content_key)
    assert COLLECTOR.to_bytes().hex()[:16] not in repr(COLLECTOR)
