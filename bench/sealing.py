"""What sealing and opening a batch cost by each suite, beside the bare cipher and the packing alone."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.at_rest import AtRest, Cipher
from models.batch import decode_columns, encode_items
from models.envelope import (
    FIRST_PREVIOUS,
    GM,
    SUITES,
    CollectorPrivateKey,
    ContentKey,
    Origin,
    Suite,
    open_envelope,
    open_package,
    seal,
)
from models.reading import Item, Reading
from models.sm2 import Sm2PrivateKey

READINGS = 5000  # the largest batch unless gateway.yaml says otherwise
ROUNDS = 20
ROW_BYTES = 4000  # of a block of the buffer with about 600 readings
GATEWAY = "gw-000000000001"
CIPHERS: tuple[Cipher, ...] = ("aes-256-gcm-siv", "sm4-gcm")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of work, in microseconds; the least of the rounds."""

    name: str
    seal_us: float
    open_us: float


def measure() -> list[Cost]:
    """Packing alone, the bare cipher on what was packed, envelopes by each suite, and rows at rest."""
    items = _items()
    packed = encode_items(items)
    bare, nonce = AESGCM(AESGCM.generate_key(256)), bytes(12)
    encrypted = bare.encrypt(nonce, packed, None)
    costs = [
        Cost("packing alone", _us(lambda: encode_items(items)), _us(lambda: decode_columns(packed))),
        Cost(
            "bare AES-256-GCM on the packed batch",
            _us(lambda: bare.encrypt(nonce, packed, None)),
            _us(lambda: bare.decrypt(nonce, encrypted, None)),
        ),
    ]
    costs += [_of_suite(suite, items) for suite in SUITES.values()]
    return costs + [_at_rest(cipher) for cipher in CIPHERS]


def _of_suite(suite: Suite, items: list[Item]) -> Cost:
    collector = CollectorPrivateKey.generate(suite)
    if suite is GM:
        sm2 = Sm2PrivateKey.generate()
        signing_key: Sm2PrivateKey | Ed25519PrivateKey = sm2
        public_key = sm2.public_key().to_bytes()
    else:
        signing_key = Ed25519PrivateKey.generate()
        public_key = signing_key.public_key().public_bytes_raw()
    content_key, package = ContentKey.fresh(
        gateway_id=GATEWAY, collector_key=collector.public_bytes(), signing_key=signing_key, suite=suite
    )
    origin = Origin(GATEWAY, suite, public_key)
    arrived = open_package(package, origin=origin, private_keys=[collector])

    def sealed() -> bytes:
        return seal(
            items,
            gateway_id=GATEWAY,
            epoch=bytes(16),
            number=1,
            first_seq=1,
            previous=FIRST_PREVIOUS,
            content_key=content_key,
            signing_key=signing_key,
        ).body

    body = sealed()
    opening = _us(lambda: open_envelope(body, origin=origin, content_key=arrived))
    return Cost(f"an envelope of suite {suite.name}, packing included", _us(sealed), opening)


def _at_rest(cipher: Cipher) -> Cost:
    store, row = AtRest(os.urandom(32), purpose="bench", cipher=cipher), os.urandom(ROW_BYTES)
    sealed = store.seal(row, table="block", name=1)
    return Cost(
        f"a row of {ROW_BYTES} bytes at rest, {cipher}",
        _us(lambda: store.seal(row, table="block", name=1)),
        _us(lambda: store.open(sealed, table="block", name=1)),
    )


def _items() -> list[Item]:
    """A hundred points of 50 sweeps with noise in the last two digits, as voltages and currents have it."""
    rng = random.Random(1)
    return [
        Reading(
            device_id=f"meter-{point // 20:02}",
            point=f"p{point % 20}",
            value=round(230 + point + rng.gauss(0, 1), 1),
            measured_ms=1_772_400_000_000 + 60_000 * sweep + 7 * (point // 20),
            received_ms=1_772_400_000_005 + 60_000 * sweep + 7 * (point // 20),
        )
        for sweep in range(READINGS // 100)
        for point in range(100)
    ]


def _us(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best * 1e6
