"""Nothing that is wrong gets in, whatever was done to it; every refusal is told and counted."""

import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zstandard

from collector.intake.refusals import Refused
from collector.intake.service import Intake
from models.batch import MAX_UNPACKED_BYTES, encode_items
from models.envelope import CollectorPrivateKey
from models.protocol import Code
from tests.support.collector import NOW_MS, Sender, a_reading, an_event

Rows = Callable[..., list[Any]]


async def refusal(intake: Intake, body: bytes, gateway_id: str) -> str:
    with pytest.raises(Refused) as refused:
        await intake.accept(body, gateway_id)
    return refused.value.code


def packed(envelope: bytes) -> tuple[bytes, bytes, bytes]:
    """Header, ciphertext and signature of an envelope."""
    end = 6 + int.from_bytes(envelope[4:6], "big")
    return envelope[:end], envelope[end:-64], envelope[-64:]


async def test_no_changed_bit_is_accepted(intake: Intake, sender: Sender, dump: Callable[[], str]) -> None:
    body = sender.seal([a_reading(), an_event()]).body
    before = len(dump())
    for position in range(0, len(body) * 8, 29):  # each part of the envelope, each bit of a byte
        changed = bytearray(body)
        changed[position // 8] ^= 1 << position % 8
        code = await refusal(intake, bytes(changed), sender.gateway_id)
        assert code in (Code.MALFORMED, Code.BAD_SIGNATURE, Code.FOREIGN_GATEWAY)
    assert 'INSERT INTO "envelope"' not in dump()
    assert len(dump()) < before + 2000  # counted, not piled up
    receipt = await intake.accept(body, sender.gateway_id)
    assert (receipt.stored, receipt.already) == (2, False)


async def test_no_truncation_is_accepted(intake: Intake, sender: Sender, rows: Rows) -> None:
    body = sender.seal([a_reading()]).body
    for length in range(0, len(body), 7):
        await refusal(intake, body[:length], sender.gateway_id)
    assert rows("SELECT count(*) FROM envelope") == [0]


async def test_parts_of_two_envelopes_make_no_third(intake: Intake, sender: Sender, rows: Rows) -> None:
    one, two = (packed(sender.seal([a_reading(float(i))]).body) for i in range(2))
    for mixed in (
        one[0] + two[1] + two[2],
        one[0] + two[1] + one[2],
        two[0] + one[1] + one[2],
        one[0] + one[1] + two[2],
    ):
        assert await refusal(intake, mixed, sender.gateway_id) == Code.BAD_SIGNATURE
    assert rows("SELECT code, count FROM refusal") == [("bad-signature", 4)]


async def test_an_envelope_of_another_gateway_is_refused(
    intake: Intake, sender: Sender, enrol: Any, rows: Rows
) -> None:
    thief = await enrol("gw-00000000dead")
    body = sender.seal([a_reading()]).body
    assert await refusal(intake, body, thief.gateway_id) == Code.FOREIGN_GATEWAY
    forged = Sender(sender.gateway_id, sender.collector_key, thief.signing_key)
    assert await refusal(intake, forged.seal([a_reading()]).body, sender.gateway_id) == Code.BAD_SIGNATURE
    assert rows("SELECT gateway_id, code FROM refusal ORDER BY id") == [
        (thief.gateway_id, "foreign-gateway"),
        (sender.gateway_id, "bad-signature"),
    ]
    assert (await intake.accept(body, sender.gateway_id)).stored == 1


async def test_an_unknown_gateway_is_refused(intake: Intake, sender: Sender) -> None:
    stranger = Sender("gw-ffffffffffff", sender.collector_key)
    assert await refusal(intake, stranger.seal([a_reading()]).body, stranger.gateway_id) == Code.REVOKED


async def test_an_unknown_content_key_is_asked_for_and_then_the_same_envelope_is_taken(
    intake: Intake, sender: Sender
) -> None:
    sender.restart()
    body = sender.seal([a_reading()]).body
    assert await refusal(intake, body, sender.gateway_id) == Code.UNKNOWN_KEY
    await intake.accept_key(sender.package, sender.content_key.key_id, sender.gateway_id)
    assert (await intake.accept(body, sender.gateway_id)).stored == 1


async def test_a_key_package_is_taken_from_its_own_gateway_only(
    intake: Intake, sender: Sender, enrol: Any, rows: Rows
) -> None:
    thief = await enrol("gw-00000000dead")
    key_id = sender.content_key.key_id
    with pytest.raises(Refused) as refused:
        await intake.accept_key(sender.package, key_id, thief.gateway_id)
    assert refused.value.code == Code.FOREIGN_GATEWAY
    with pytest.raises(Refused, match="not 0000"):
        await intake.accept_key(sender.package, bytes(16), sender.gateway_id)
    changed = bytearray(sender.package)
    changed[40] ^= 1
    with pytest.raises(Refused) as refused:
        await intake.accept_key(bytes(changed), key_id, sender.gateway_id)
    assert refused.value.code in (Code.BAD_SIGNATURE, Code.MALFORMED)
    assert rows("SELECT gateway_id FROM content_key") == [sender.gateway_id]


async def test_a_key_package_for_another_collector_cannot_be_opened(intake: Intake, sender: Sender) -> None:
    elsewhere = Sender(sender.gateway_id, CollectorPrivateKey.generate().public_bytes(), sender.signing_key)
    with pytest.raises(Refused) as refused:
        await intake.accept_key(elsewhere.package, elsewhere.content_key.key_id, sender.gateway_id)
    assert refused.value.code == Code.CANNOT_OPEN


async def test_the_same_key_package_again_changes_nothing_and_another_is_refused(
    intake: Intake, sender: Sender, dump: Callable[[], str]
) -> None:
    before = dump()
    await intake.accept_key(sender.package, sender.content_key.key_id, sender.gateway_id)
    assert dump() == before


async def test_the_same_number_with_other_content_is_refused(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    twin = Sender(sender.gateway_id, sender.collector_key, sender.signing_key, epoch=sender.epoch)
    twin.content_key = sender.content_key
    await intake.accept(sender.seal([a_reading(1.0)]).body, sender.gateway_id)
    assert await refusal(intake, twin.seal([a_reading(2.0)]).body, sender.gateway_id) == Code.CHAIN_BROKEN
    assert rows("SELECT value FROM reading") == [1.0]


async def test_a_batch_that_names_another_predecessor_is_refused(intake: Intake, sender: Sender) -> None:
    await intake.accept(sender.seal([a_reading(1.0)]).body, sender.gateway_id)
    sender.previous = os.urandom(32)
    assert await refusal(intake, sender.seal([a_reading(2.0)]).body, sender.gateway_id) == Code.CHAIN_BROKEN


async def test_a_first_batch_has_no_predecessor(intake: Intake, sender: Sender) -> None:
    sender.previous = os.urandom(32)
    assert await refusal(intake, sender.seal([a_reading(2.0)]).body, sender.gateway_id) == Code.CHAIN_BROKEN


async def test_a_batch_that_its_successor_does_not_name_is_refused(intake: Intake, sender: Sender) -> None:
    first = sender.seal([a_reading(1.0)])
    await intake.accept(sender.seal([a_reading(2.0, at_ms=NOW_MS)]).body, sender.gateway_id)
    twin = Sender(sender.gateway_id, sender.collector_key, sender.signing_key, epoch=sender.epoch)
    twin.content_key = sender.content_key
    assert await refusal(intake, twin.seal([a_reading(9.0)]).body, sender.gateway_id) == Code.CHAIN_BROKEN
    assert (await intake.accept(first.body, sender.gateway_id)).high_water == 2


@pytest.mark.parametrize("first_seq", [1, 2, 3])
async def test_sequence_numbers_cannot_be_used_twice(
    intake: Intake, sender: Sender, dump: Callable[[], str], first_seq: int
) -> None:
    items = [a_reading(float(i), at_ms=NOW_MS - i) for i in range(3)]
    await intake.accept(sender.seal(items).body, sender.gateway_id)
    sender.next_seq = first_seq
    before = dump().count("INSERT INTO")
    assert await refusal(intake, sender.seal(items[:2]).body, sender.gateway_id) == Code.CHAIN_BROKEN
    assert dump().count("INSERT INTO") == before + 1  # the refusal


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(zstandard.compress(bytes(MAX_UNPACKED_BYTES + 1)), id="says-too-much"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28)), id="says-nothing"
        ),
        pytest.param(zstandard.compress(b""), id="empty"),
        pytest.param(b"", id="nothing"),
        pytest.param(os.urandom(100), id="noise"),
    ],
)
async def test_content_that_is_no_batch_is_refused_without_unpacking_it(
    intake: Intake, sender: Sender, rows: Rows, data: bytes
) -> None:
    assert await refusal(intake, sender.seal_raw(data), sender.gateway_id) == Code.MALFORMED
    assert rows("SELECT count(*) FROM envelope") == [0]


async def test_an_event_nested_beyond_reason_is_refused(intake: Intake, sender: Sender) -> None:
    deep = an_event("x", inside=msgspec.Raw(b"\x81\xa1x" * 100_000 + b"\xc0"))
    assert await refusal(intake, sender.seal([deep]).body, sender.gateway_id) == Code.MALFORMED


async def test_an_event_with_data_that_is_no_json_is_set_aside(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    strange = an_event("x", what=msgspec.msgpack.Ext(5, b"abc"))
    receipt = await intake.accept(sender.seal([strange, a_reading()]).body, sender.gateway_id)
    assert [(q.seq, q.reason) for q in receipt.quarantined] == [(1, "unreadable")]
    assert rows("SELECT seq FROM reading") == [2]


async def test_a_header_that_counts_wrongly_is_refused(intake: Intake, sender: Sender) -> None:
    body = sender.seal_raw(encode_items([a_reading()]), count=3)
    assert await refusal(intake, body, sender.gateway_id) == Code.MALFORMED


async def test_refusals_are_counted_in_one_row_for_each_gateway_and_code(
    intake: Intake, sender: Sender, rows: Rows
) -> None:
    for _ in range(5):
        await refusal(intake, b"nonsense", sender.gateway_id)
    assert rows("SELECT gateway_id, code, count, first_ms, last_ms FROM refusal") == [
        (sender.gateway_id, "malformed", 5, NOW_MS, NOW_MS)
    ]
