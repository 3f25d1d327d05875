"""The files that a stick carries: what is read is what was written, and nothing hostile is believed."""

import contextlib
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.command import CommandKey
from models.stick import (
    BATCHES_MAGIC,
    MAX_STATEMENT_BYTES,
    MOST_DETAIL,
    MOST_MISSING,
    MOST_OUTCOMES,
    RECEIPTS_MAGIC,
    Envelope,
    KeyOffer,
    Manifest,
    Outcome,
    Package,
    Statement,
    StatementRefused,
    StickUnreadable,
    StickWriter,
    read_batches,
    read_receipts,
    sign_statement,
    verify_statement,
)

GATEWAY = "gw-000000000001"
MANIFEST = Manifest(gateway_id=GATEWAY, collector="main", made_ms=1)
KEY = CommandKey.generate()

Bodies = st.lists(st.tuples(st.sampled_from("KB"), st.binary(max_size=300)), max_size=12)


def file_of(bodies: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    writer = StickWriter(file, BATCHES_MAGIC)
    writer.add_manifest(MANIFEST)
    for kind, body in bodies:
        (writer.add_package if kind == "K" else writer.add_envelope)(body)
    writer.end()
    assert writer.size == len(file.getvalue())
    return file.getvalue()


def records_of(bodies: list[tuple[str, bytes]]) -> list[Manifest | Package | Envelope]:
    return [MANIFEST, *(Package(body) if kind == "K" else Envelope(body) for kind, body in bodies)]


def read(data: bytes) -> tuple[list[Manifest | Package | Envelope], str]:
    """What could be read, and why no more."""
    found: list[Manifest | Package | Envelope] = []
    reading = read_batches(io.BytesIO(data))
    try:
        while (record := next(reading, None)) is not None:
            found.append(record)
    except StickUnreadable as err:
        return found, str(err)
    return found, ""


@given(Bodies)
def test_what_is_read_is_what_was_written(bodies: list[tuple[str, bytes]]) -> None:
    assert read(file_of(bodies)) == (records_of(bodies), "")


@given(Bodies, st.data())
def test_of_a_cut_file_all_before_the_cut_is_read_and_the_cut_is_told(
    bodies: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    whole = file_of(bodies)
    found, why = read(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert why
    assert found == records_of(bodies)[: len(found)]


@given(Bodies, st.data())
def test_a_changed_byte_never_goes_unnoticed(bodies: list[tuple[str, bytes]], data: st.DataObject) -> None:
    changed = bytearray(file_of(bodies))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    _, why = read(bytes(changed))
    assert why


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from([b"", BATCHES_MAGIC, file_of([])[:-37]]))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(data: bytes, start: bytes) -> None:
    read(start + data)
    with contextlib.suppress(StickUnreadable):
        list(read_receipts(io.BytesIO(start + data)))


def test_a_record_that_says_it_has_four_gigabytes_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        found, why = read(file_of([])[:-37] + b"B" + b"\xff" * 4)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found, "damaged" in why) == ([MANIFEST], True)
    assert most < 1 << 20


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(gateway_id="../etc/passwd", collector="main", made_ms=1),
        Manifest(gateway_id="\x1b[2J", collector="main", made_ms=1),
        Manifest(gateway_id=GATEWAY, collector="", made_ms=1),
    ],
)
def test_a_manifest_whose_names_are_none_is_refused(manifest: Manifest) -> None:
    file = io.BytesIO()
    writer = StickWriter(file, BATCHES_MAGIC)
    writer.add_manifest(manifest)
    writer.end()
    found, why = read(file.getvalue())
    assert found == []
    assert "names no gateway" in why


def test_a_file_of_receipts_is_told_from_one_of_batches() -> None:
    file = io.BytesIO()
    StickWriter(file, RECEIPTS_MAGIC).end()
    assert "this is a file of receipts" in read(file.getvalue())[1]


def a_statement(*, gateway_id: str = GATEWAY, detail: str = "") -> Statement:
    outcome = Outcome(epoch=bytes(16), number=1 << 61, digest=bytes(32), detail=detail)
    return Statement(
        gateway_id=gateway_id,
        told_ms=1 << 50,
        outcomes=[outcome] * MOST_OUTCOMES,
        epoch=bytes(16),
        missing=[(1 << 61, 1 << 62)] * MOST_MISSING,
        key=KeyOffer(suite="standard", collector_key="A" * 1624, collector_key_proof="A" * 100),
    )


def test_the_largest_statement_fits_and_is_verified() -> None:
    statement = a_statement(detail="𝔘" * MOST_DETAIL)
    signed = sign_statement(statement, KEY)
    assert len(signed) <= MAX_STATEMENT_BYTES
    assert verify_statement(signed, gateway_id=GATEWAY, public_key=KEY.public_bytes()) == statement


@given(st.data())
def test_a_statement_with_a_changed_byte_is_refused(data: st.DataObject) -> None:
    signed = bytearray(sign_statement(a_statement(), KEY))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StatementRefused, match="bad-signature"):
        verify_statement(bytes(signed), gateway_id=GATEWAY, public_key=KEY.public_bytes())


def test_a_statement_to_another_gateway_or_of_another_collector_is_refused() -> None:
    signed = sign_statement(a_statement(), KEY)
    with pytest.raises(StatementRefused, match="foreign-gateway"):
        verify_statement(signed, gateway_id="gw-2", public_key=KEY.public_bytes())
    with pytest.raises(StatementRefused, match="bad-signature"):
        verify_statement(signed, gateway_id=GATEWAY, public_key=CommandKey.generate().public_bytes())


def test_a_command_never_passes_for_a_statement_for_each_is_signed_under_its_own_prefix() -> None:
    body = sign_statement(a_statement(), KEY)[:-64]
    with pytest.raises(StatementRefused, match="bad-signature"):
        verify_statement(
            body + KEY.signature(b"gatehouse command\x00" + body),
            gateway_id=GATEWAY,
            public_key=KEY.public_bytes(),
        )
