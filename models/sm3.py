"""SM3 (GB/T 32905)."""

from cryptography.hazmat.primitives import hashes


def sm3(data: bytes) -> bytes:
    """32 bytes."""
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()
