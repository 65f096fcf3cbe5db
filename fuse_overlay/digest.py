"""Content digests as the OCI image specification writes them (image-spec, descriptor.md, "Digests"); sha256 only."""

from __future__ import annotations

from rootless.errors import InvalidDocument
from rootless.hashing import sha256

_PREFIX = "sha256:"
_HEX_LENGTH = 64
_HEX_DIGITS = "0123456789abcdef"


def check(text: str) -> str:
    """`text`, which is known afterwards to be "sha256:" and 64 lower-case hex digits; raises InvalidDocument."""
    encoded = text[len(_PREFIX) :]
    if not text.startswith(_PREFIX) or len(encoded) != _HEX_LENGTH or encoded.strip(_HEX_DIGITS):
        raise InvalidDocument(f"{text[:100]!r} is not a sha256 digest")
    return text


def encoded(text: str) -> str:
    """The 64 hex digits of a digest, fit for a file name; raises InvalidDocument."""
    return check(text)[len(_PREFIX) :]


def of(data: bytes) -> str:
    """The digest of `data`."""
    return _PREFIX + sha256(data)
