"""What comes out of `compress.reader`, whatever the sizes of the pieces in which it goes in."""

from __future__ import annotations

import gzip
import io
import sys
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuse_overlay import compress
from rootless.errors import InvalidDocument

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Dribble:
    """A pipe that gives at most `size` bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream = io.BytesIO(data)
        self._size = size

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._size))


def plain(data: bytes, *, give: int = 1 << 20, take: int = 1 << 20, media_type: str = "") -> bytes:
    stream = compress.reader(media_type, Dribble(data, give))
    buffer = bytearray(take)
    found = bytearray()
    while count := stream.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


def skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


ENCODERS = {
    "plain": lambda parts: b"".join(parts),
    "gzip members": lambda parts: b"".join(gzip.compress(part) for part in parts) or gzip.compress(b""),
    "gzip padded": lambda parts: (
        b"\0\0".join([*(gzip.compress(part) for part in parts), gzip.compress(b"")]) + b"\0" * 9
    ),
    "zstd frames": lambda parts: b"".join(zstd.compress(part) for part in parts) or zstd.compress(b""),
    "zstd skippable": lambda parts: b"".join(skippable(b"x") + zstd.compress(part) for part in [*parts, b""]),
}


@pytest.mark.parametrize("encoder", ENCODERS)
@given(
    parts=st.lists(st.binary(max_size=300).map(lambda part: b"tar" + part * 40), max_size=4),
    give=st.integers(1, 50),
    take=st.integers(1, 700),
)
@example(parts=[b"tar" + bytes(100_000)], give=7, take=512)
def test_comes_out_as_it_went_in(encoder: str, parts: list[bytes], give: int, take: int) -> None:
    assert plain(ENCODERS[encoder](parts), give=give, take=take) == b"".join(parts)


def test_stdlib_zlib_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "inflate", zlib)
    data = bytes(range(256)) * 5000
    assert plain(gzip.compress(data) + b"\0" * 512 + gzip.compress(data), give=1000, take=999) == data * 2


def test_the_media_type_is_not_believed() -> None:
    data = b"tar" * 1000
    assert plain(gzip.compress(data), media_type="application/vnd.oci.image.layer.v1.tar+zstd") == data
    assert plain(data, media_type="application/vnd.oci.image.layer.v1.tar+gzip") == data


@pytest.mark.parametrize("compressed", [gzip.compress(b"x" * 9999), zstd.compress(bytes(range(200)) * 50)])
def test_a_stream_that_ends_early_is_an_error(compressed: bytes) -> None:
    for length in range(8, len(compressed)):
        with pytest.raises(InvalidDocument, match="ends early"):
            plain(compressed[:length])


@pytest.mark.parametrize("compressed", [gzip.compress(b"x" * 9999), zstd.compress(bytes(range(200)) * 50)])
@given(data=st.data())
def test_damage_is_an_error_or_harmless(compressed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(compressed)
    damaged[data.draw(st.integers(0, len(compressed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        plain(bytes(damaged))
    except InvalidDocument as error:
        assert "\n" not in error.message


@pytest.mark.parametrize(
    "compressed", [gzip.compress(b"x") + b"garbage", zstd.compress(b"x") + b"garbage"], ids=["gzip", "zstd"]
)
def test_garbage_behind_the_stream_is_an_error(compressed: bytes) -> None:
    with pytest.raises(InvalidDocument, match="broken|ends early"):
        plain(compressed)


@pytest.mark.parametrize(
    ("head", "name"), [(b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\0\0", "xz"), (b"\x04\x22\x4d\x18xx", "lz4")]
)
def test_other_compressions_are_named(head: bytes, name: str) -> None:
    with pytest.raises(InvalidDocument, match=name):
        plain(head)


def test_encrypted_layers_are_named() -> None:
    with pytest.raises(InvalidDocument, match="encrypted"):
        plain(b"", media_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted")


@pytest.mark.parametrize("bomb", [gzip.compress(bytes(64 << 20)), zstd.compress(bytes(64 << 20))], ids=["gzip", "zstd"])
def test_a_bomb_comes_in_pieces_no_larger_than_asked(bomb: bytes) -> None:
    stream = compress.reader("", io.BytesIO(bomb))
    buffer = bytearray(4096)
    assert sum(iter(lambda: stream.readinto(buffer) or 0, 0)) == 64 << 20
