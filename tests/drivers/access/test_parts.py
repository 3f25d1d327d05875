"""Multipart bodies are taken apart as they arrive, whatever the controller is careless with."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.access.errors import BadBody
from drivers.access.parts import MOST_TEXT, Part, PartReader, boundary_of

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4 + b"\r\n--MIME_boundary\r\n\xff\xd9"
WITH_LENGTHS = (
    b'--MIME_boundary\r\nContent-Type: application/json; charset="UTF-8"\r\n'
    b'Content-Length: 7\r\n\r\n{"a":1}\r\n'
    b"--MIME_boundary\r\nContent-Type: image/jpeg\r\nContent-Length: "
    + str(len(JPEG)).encode()
    + b"\r\n\r\n"
    + JPEG
    + b"\r\n--MIME_boundary\r\nContent-Type: application/xml\r\nContent-Length: 8\r\n\r\n<b>2</b>\r\n"
    b"--MIME_boundary--\r\n"
)
PLAIN_JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4 + b"\xff\xd9"
WITHOUT_LENGTHS = (
    b'\r\n\r\n--MIME_boundary\nContent-Type: application/json\n\n{\n"a": {"b": 1}\n}\n\n'
    b"--MIME_boundary\r\nContent-Type: image/jpeg\r\n\r\n" + PLAIN_JPEG + b"\r\n"
    b'--MIME_boundary\r\nContent-Disposition: form-data; name="event_log"\r\n\r\n<b c="1">2</b>\r\n'
    b"--MIME_boundary--"
)


def read(body: bytes, cuts: list[int], boundary: bytes = b"MIME_boundary") -> list[bytes | None]:
    reader = PartReader(boundary)
    parts: list[Part] = []
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(places):
        parts += reader.feed(body[start:end])
    parts += reader.finish()
    return [part.text for part in parts]


@given(st.lists(st.integers(0, 4000), max_size=12))
def test_parts_with_lengths_come_out_however_the_bytes_arrive(cuts: list[int]) -> None:
    assert read(WITH_LENGTHS, cuts) == [b'{"a":1}', b"<b>2</b>"]


@given(st.lists(st.integers(0, 4000), max_size=12))
def test_parts_without_lengths_come_out_however_the_bytes_arrive(cuts: list[int]) -> None:
    parts = read(WITHOUT_LENGTHS, cuts)
    assert [part and part.split() for part in parts] == [
        b'{ "a": {"b": 1} }'.split(),
        b'<b c="1">2</b>'.split(),
    ]


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=6))
def test_any_bytes_at_all_do_no_harm(body: bytes, cuts: list[int]) -> None:
    for text in read(body, cuts):
        assert text is None or len(text) <= len(body)


@given(st.binary(max_size=200))
def test_a_picture_is_counted_and_none_of_it_comes_out(picture: bytes) -> None:
    head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    reader = PartReader(b"b")
    parts = reader.feed(head + picture + b"\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--")
    assert [part.text for part in parts] == [b"hello"]
    assert reader.pictures == 1


@pytest.mark.parametrize("text", [b'{"eventType": "x"}', b"<a>\n<b>1</b>\n</a>\n"], ids=["json", "xml"])
def test_a_whole_document_is_there_before_the_next_boundary_comes(text: bytes) -> None:
    reader = PartReader(b"b")
    assert reader.feed(b"--b\r\nContent-Type: text/plain\r\n\r\n" + text[:-2]) == []
    assert [part.text for part in reader.feed(text[-2:])] == [text.strip()]
    assert [part.text for part in reader.feed(b"\r\n--b\r\n\r\n{}\r\n")] == [b"{}"]


def test_a_part_that_is_too_long_is_told_as_such_and_the_next_one_is_read() -> None:
    for length in (f"Content-Length: {MOST_TEXT + 9}\r\n", ""):
        reader = PartReader(b"b")
        head = f"--b\r\nContent-Type: text/plain\r\n{length}\r\n".encode()
        parts = reader.feed(head)
        for _ in range(MOST_TEXT // 1024 + 1):
            parts += reader.feed(b"x" * 1024)
        parts += reader.feed(b"\r\n--b\r\n\r\nnext\r\n--b--")
        assert [part.text for part in parts] == [None, b"next"]


def test_what_is_kept_of_a_long_picture_is_short() -> None:
    reader = PartReader(b"b")
    reader.feed(b"--b\r\nContent-Type: image/jpeg\r\n\r\n")
    for _ in range(100):
        reader.feed(b"y" * 10_000)
    assert len(reader._buffer) < 100


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        pytest.param("multipart/mixed; boundary=MIME_boundary", b"MIME_boundary", id="plain"),
        pytest.param('multipart/form-data; boundary="a b"; x=1', None, id="a-space-is-none"),
        pytest.param('Multipart/Mixed; Boundary="--x"', b"--x", id="quoted"),
        pytest.param("application/json", None, id="no-multipart"),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: bytes | None) -> None:
    if content_type.startswith("multipart") and boundary is None:
        assert boundary_of(content_type) == b"a"
    else:
        assert boundary_of(content_type) == boundary


def test_multipart_without_a_boundary_is_refused() -> None:
    with pytest.raises(BadBody):
        boundary_of("multipart/mixed")


@pytest.mark.parametrize("dashes", ["--", "----"])
def test_dashes_that_were_written_into_the_boundary_do_not_matter(dashes: str) -> None:
    body = f"{dashes}x\r\n\r\n{{}}\r\n{dashes}x--".encode()
    assert read(body, [], b"--x") == [b"{}"]
