"""SHA-256 by the interpreter's own module: hashlib brings OpenSSL with it, which costs more than what is hashed here."""

from __future__ import annotations


def sha256(data: bytes) -> str:
    """The hexadecimal digest of `data`."""
    try:
        from _sha2 import sha256 as algorithm  # type: ignore[import-not-found] # Python 3.12 and newer
    except ImportError:
        try:
            from _sha256 import sha256 as algorithm  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256 as algorithm
    return str(algorithm(data).hexdigest())
