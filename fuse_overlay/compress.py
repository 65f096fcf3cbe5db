"""The plain tar inside whatever a layer blob is: gzip, zstd or nothing. The only door to isal and zstd.

What a layer is compressed with is told by its first bytes; media types in the wild are wrong often enough. Output is
made in pieces of at most the size the reader asks for, so no archive, however well it compresses, takes memory.
"""

from __future__ import annotations

import io
import sys
import zlib
from types import ModuleType
from typing import Protocol

from rootless.errors import InvalidDocument

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

inflate: ModuleType
try:
    from isal import isal_zlib
except ImportError:
    inflate = zlib
else:
    inflate = isal_zlib

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # its first byte is 0x50 to 0x5f (RFC 8878, 3.1.2)
_UNSUPPORTED_MAGIC = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4"}
_GZIP_WRAPPER = 31  # zlib.h, inflateInit2: 15 bits of window, 16 for a gzip header and trailer
_INPUT_SIZE = 256 << 10
_BROKEN_GZIP: tuple[type[Exception], ...] = (zlib.error, inflate.error)


class Source(Protocol):
    """What compressed bytes come from: an unbuffered file, a pipe, a BytesIO."""

    def read(self, size: int, /) -> bytes | None: ...


def reader(media_type: str, source: Source) -> io.RawIOBase:
    """A reader of the plain bytes behind `source`, of which `readinto` is the fast call.

    Reading raises InvalidDocument where the compressed stream is broken or ends early, or its compression is unknown.
    """
    if media_type.endswith("+encrypted"):
        raise InvalidDocument(f'layers of type "{media_type}" are encrypted and cannot be read')
    head = b""
    while len(head) < 6 and (piece := source.read(6 - len(head))):
        head += piece
    for magic, name in _UNSUPPORTED_MAGIC.items():
        if head.startswith(magic):
            raise InvalidDocument(f"the layer is compressed with {name}, which layers never are (image-spec, layer.md)")
    if head.startswith(_GZIP_MAGIC):
        return _Gzip(head, source)
    if head.startswith(_ZSTD_MAGIC) or (head[1:4] == _ZSTD_SKIPPABLE_MAGIC and head[0] & 0xF0 == 0x50):
        return _Zstd(head, source)
    return _Plain(head, source)


class _Plain(io.RawIOBase):
    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def readable(self) -> bool:
        return True

    def _input(self, size: int) -> bytes:
        """The next compressed bytes; none at the end."""
        piece, self._head = self._head, b""
        return piece or self._source.read(size) or b""

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        piece = self._input(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Gzip(_Plain):
    """One member after another (RFC 1952, 2.2), with zeros between and behind them ignored as gzip(1) does."""

    def __init__(self, head: bytes, source: Source) -> None:
        super().__init__(head, source)
        self._member = inflate.decompressobj(_GZIP_WRAPPER)
        self._hungry = True

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        try:
            while True:
                if self._member.eof:
                    rest = self._member.unused_data.lstrip(b"\0")
                    while not rest:
                        piece = self._input(_INPUT_SIZE)
                        if not piece:
                            return 0
                        rest = piece.lstrip(b"\0")
                    self._member = inflate.decompressobj(_GZIP_WRAPPER)
                else:
                    # A call that filled the buffer may have more to give without any further input.
                    rest = self._member.unconsumed_tail
                    if not rest and self._hungry:
                        rest = self._input(_INPUT_SIZE)
                        if not rest:
                            raise InvalidDocument("the gzip stream of the layer ends early")
                plain = self._member.decompress(rest, len(buffer))
                self._hungry = len(plain) < len(buffer)
                if plain:
                    buffer[: len(plain)] = plain
                    return len(plain)
        except _BROKEN_GZIP as error:
            raise InvalidDocument(f"the gzip stream of the layer is broken: {error}") from error


class _Zstd(_Plain):
    """One frame after another, skippable ones among them (RFC 8878, 3.1)."""

    def __init__(self, head: bytes, source: Source) -> None:
        super().__init__(head, source)
        self._frame = zstd.ZstdDecompressor()

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        try:
            while True:
                rest = b""
                if self._frame.eof:
                    rest = self._frame.unused_data or self._input(_INPUT_SIZE)
                    if not rest:
                        return 0
                    self._frame = zstd.ZstdDecompressor()
                elif self._frame.needs_input:
                    rest = self._input(_INPUT_SIZE)
                    if not rest:
                        raise InvalidDocument("the zstd stream of the layer ends early")
                plain = self._frame.decompress(rest, len(buffer))
                if plain:
                    buffer[: len(plain)] = plain
                    return len(plain)
        except zstd.ZstdError as error:
            raise InvalidDocument(f"the zstd stream of the layer is broken: {error}") from error
