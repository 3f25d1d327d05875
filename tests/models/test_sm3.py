"""SM3 against the examples of GB/T 32905."""

import pytest

from models.sm3 import sm3


@pytest.mark.parametrize(
    ("data", "digest"),
    [  # GB/T 32905-2016, annexes A.1 and A.2
        (b"abc", "66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0"),
        (b"abcd" * 16, "DEBE9FF92275B8A138604889C18E5A4D6FDB70E5387E5765293DCBA39C0C5732"),
    ],
)
def test_the_published_digests_are_met(data: bytes, digest: str) -> None:
    assert sm3(data) == bytes.fromhex(digest)
