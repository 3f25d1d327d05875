"""No nonce of a content key is ever used twice: over restarts, crashes, restored stores and threads.

The argument: a key is random, made in the process that seals with it and never written anywhere, and its
nonces are a counter in that process. Whatever is copied, restored or killed, another process has another key.
"""

import random
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.envelope import (
    FIRST_PREVIOUS,
    MOST_BATCHES,
    CollectorPrivateKey,
    ContentKey,
    ContentKeyWorn,
    read_header,
    seal,
)
from models.reading import Item, Reading

SIGNING_KEY = Ed25519PrivateKey.generate()
COLLECTOR_KEY = CollectorPrivateKey.generate().public_bytes()
ITEMS: list[Item] = [Reading(device_id="m", point="p", value=1.0, measured_ms=1, received_ms=1)]


def a_key() -> ContentKey:
    key, _ = ContentKey.fresh(gateway_id="gw-1", collector_key=COLLECTOR_KEY, signing_key=SIGNING_KEY)
    return key


@pytest.mark.parametrize("batches", [5000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_no_nonce_comes_twice_over_crashes_and_restored_stores(batches: int) -> None:
    rng = random.Random(batches)
    used: set[tuple[bytes, int]] = set()
    key, number, copy = a_key(), 0, 0
    for _ in range(batches):
        chance = rng.random()
        if chance < 0.0005:  # killed and started again, with or without the last batch
            key, number = a_key(), number - rng.randrange(2)
        elif chance < 0.001:  # its store was replaced by an old copy: old numbers come again
            key, number = a_key(), copy
        elif chance < 0.0015:
            copy = number
        elif key.is_worn:
            key = a_key()
        number += 1
        sealed = seal(
            ITEMS,
            gateway_id="gw-1",
            epoch=bytes(16),
            number=max(1, number),
            first_seq=max(1, number),
            previous=FIRST_PREVIOUS,
            content_key=key,
            signing_key=SIGNING_KEY,
        )
        header = read_header(sealed.body)
        used.add((header.key_id, header.nonce))
    assert len(used) == batches


def test_a_key_seals_so_many_batches_and_none_more() -> None:
    key = a_key()
    nonces = {key.take_nonce() for _ in range(MOST_BATCHES)}
    assert (len(nonces), key.is_worn) == (MOST_BATCHES, True)
    for _ in range(2):
        with pytest.raises(ContentKeyWorn, match="fresh one"):
            key.take_nonce()


def test_threads_that_share_a_key_never_get_the_same_nonce() -> None:
    key = a_key()
    taken: list[list[int]] = [[] for _ in range(4)]

    def take(mine: list[int]) -> None:
        mine.extend(key.take_nonce() for _ in range(10_000))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({nonce for mine in taken for nonce in mine}) == 40_000
