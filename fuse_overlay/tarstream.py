"""Tar archives read in one pass: what tar(5), POSIX pax(1) and GNU tar put into headers, made plain.

V7, ustar, GNU and pax archives; long names, extended and global headers, base-256 numbers, sparse files of every GNU
flavour. The archive is hostile: whatever it says, reading it raises nothing but InvalidDocument and keeps no more in
memory than one block, one extended header and one sparse map. Nothing here touches a file system.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from rootless.errors import InvalidDocument

FILE = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"

_RECORD = 512
_ZEROS = bytes(_RECORD)
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
_EXTENDED_AT_MOST = 1 << 20  # of bytes in extended headers; Go's archive/tar has the same limit
_GLOBAL_AT_MOST = 1 << 16  # of bytes in global headers, which every member pays for
_SEGMENTS_AT_MOST = 1 << 17
_NAME_AT_MOST = 4095  # PATH_MAX without its NUL
_ID_LIMIT = (1 << 32) - 1  # the last one means "no id" to chown(2)
_SIZE_LIMIT = 1 << 63
_SECONDS_AT_MOST = 1 << 34  # what ext4 can keep; later times are this one
_SECONDS_AT_LEAST = -(1 << 31)
_XATTR = b"SCHILY.xattr."
_HEADER_KEYS = frozenset((b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"))
_NOTHING = memoryview(b"")

_FILE_FLAGS = frozenset((b"\0", b"0", b"7", b"S"))
_PLAIN_FLAGS = frozenset((HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
_SKIPPED_FLAGS = frozenset((b"V", b"N"))  # volume label, names of an obsolete kind


class Entry:
    """One member. Times in nanoseconds; `size` is the file's; `segments` says where a sparse file has data.

    A plain class because there may be millions: `@record` takes five times as long to fill.
    """

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime", "name", "segments", "size", "uid", "xattrs")

    def __init__(self, name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = b""
        self.device = (0, 0)
        self.xattrs: tuple[tuple[bytes, bytes], ...] = ()
        self.segments: list[tuple[int, int]] | None = None


class TarReader:
    """The entries of an archive, and between two of them the data of the first.

    `next_block` gives the archive piece by piece and an empty one at its end. Every piece but the last is a multiple of
    512 bytes long, and stays as it is until the next one is asked for.
    """

    def __init__(self, next_block: Callable[[], memoryview | bytes]) -> None:
        self._next_block = next_block
        self._block = _NOTHING
        self._at = 0
        self._left = 0
        self._padding = 0
        self._global: dict[bytes, bytes] = {}
        self._ended = False

    def next(self) -> Entry | None:
        """The next entry, or None at the end of the archive. What is left of the data of the last one is skipped."""
        records: dict[bytes, bytes] = {}
        sparse: list[int] = []
        long_name = long_link = b""
        extended = False
        while fields := self._header():
            flag = fields[7]
            if flag in _FILE_FLAGS or flag in _PLAIN_FLAGS or flag == b"D":
                if self._global:
                    records = self._global | records
                entry = self._entry(fields, records, long_name, long_link)
                if flag == b"S":
                    self._old_sparse(entry, fields)
                elif entry.kind == FILE and records:
                    self._pax_sparse(entry, records, sparse)
                return entry
            size = _number(fields[4], "size")
            if flag in (b"x", b"X"):
                records, sparse = _records(self._extended(size))
            elif flag == b"g":
                found = _records(self._extended(size))[0]
                self._global |= {
                    key: value for key, value in found.items() if key in _HEADER_KEYS or key.startswith(_XATTR)
                }
                if sum(len(key) + len(value) for key, value in self._global.items()) > _GLOBAL_AT_MOST:
                    raise InvalidDocument("tar: the global headers are too large")
                continue
            elif flag == b"L":
                long_name = self._extended(size).partition(b"\0")[0]
            elif flag == b"K":
                long_link = self._extended(size).partition(b"\0")[0]
            elif flag in _SKIPPED_FLAGS:
                self._expect(size)
                continue
            else:
                raise InvalidDocument(f"tar: {quoted(fields[0])} is of the unknown type {flag!r}")
            extended = True
        if extended:
            raise InvalidDocument("tar: the archive ends behind an extended header")
        return None

    def chunk(self) -> memoryview:
        """More of the data of the current entry, as much as is at hand; empty when there is no more.

        Valid until the next call. Of a sparse file it is the data of its segments, one behind the other.
        """
        left = self._left
        if not left:
            return _NOTHING
        if self._at == len(self._block) and not self._fetch():
            raise InvalidDocument("tar: the archive ends within the data of a file")
        start = self._at
        block = self._block
        end = min(start + left, len(block))
        self._at = end
        self._left = left - (end - start)
        return block[start:end]

    def _expect(self, size: int) -> None:
        self._left = size
        self._padding = -size % _RECORD

    def _fetch(self) -> bool:
        """Go on to the next block; False at the end."""
        self._block = memoryview(self._next_block())
        self._at = 0
        return len(self._block) > 0

    def _record(self) -> memoryview | None:
        """The next 512 bytes, or None where there are none at all."""
        if self._at == len(self._block) and not self._fetch():
            return None
        start = self._at
        self._at = end = start + _RECORD
        if end > len(self._block):
            raise InvalidDocument("tar: the archive ends within a header")
        return self._block[start:end]

    def _skip(self, size: int) -> None:
        while size:
            have = len(self._block) - self._at
            if have >= size:
                self._at += size
                return
            size -= have
            if not self._fetch():
                raise InvalidDocument("tar: the archive ends within the data of a file")

    def _header(self) -> tuple[bytes, ...] | None:
        """The fields of the next header, its checksum verified; None at the end of the archive."""
        if self._ended:
            return None
        pending = self._left + self._padding
        if pending:
            self._left = self._padding = 0
            self._skip(pending)
        record = self._record()
        if record is None or record == _ZEROS:
            # Two records of zeros end an archive. Some writers leave off one or both; what follows is no one's business.
            if record is not None and (self._record() or _ZEROS) != _ZEROS:
                raise InvalidDocument("tar: a lone record of zeros in the middle of the archive")
            self._ended = True
            return None
        fields: tuple[bytes, ...] = _HEADER.unpack(record)
        try:
            wanted = _number(fields[6], "checksum")
        except InvalidDocument:
            wanted = -1
        # The checksum counts its own field as spaces. Adler-32's low half is the sum of all bytes plus one, modulo 65521,
        # and thirty times as fast as sum(); the exact sum, unsigned or as some old writers have it signed, comes second.
        if zlib.adler32(record) & 0xFFFF != (wanted + sum(fields[6]) - 8 * 0x20 + 1) % 65521:
            rest = bytes(record[:148]) + b" " * 8 + bytes(record[156:])
            if wanted not in (sum(rest), sum(byte - 256 if byte > 127 else byte for byte in rest)):
                raise InvalidDocument("tar: a header has a wrong checksum, or this is no tar archive")
        return fields

    def _entry(
        self, fields: tuple[bytes, ...], records: dict[bytes, bytes], long_name: bytes, long_link: bytes
    ) -> Entry:
        flag = fields[7]
        name = fields[0].partition(b"\0")[0]
        prefix = fields[14]
        if prefix[0] and fields[9].startswith(b"ustar\0"):
            if fields[15][8:] == b"tar\0":  # star(1) keeps times in the last bytes of the prefix
                prefix = prefix[:131]
            name = prefix.partition(b"\0")[0] + b"/" + name
        link = fields[8].partition(b"\0")[0]
        size = _number(fields[4], "size")
        mtime = _clamped(_number(fields[5], "mtime", negative=True)) * 1_000_000_000
        uid = _number(fields[2], "uid")
        gid = _number(fields[3], "gid")
        if records:
            name = records.get(b"path") or name
            link = records.get(b"linkpath") or link
            if value := records.get(b"size"):
                size = _decimal(value, "size")
            if value := records.get(b"uid"):
                uid = _decimal(value, "uid")
            if value := records.get(b"gid"):
                gid = _decimal(value, "gid")
            if value := records.get(b"mtime"):
                mtime = _time(value)
        name = long_name or name
        link = long_link or link
        if len(name) > _NAME_AT_MOST or len(link) > _NAME_AT_MOST or b"\0" in name or b"\0" in link:
            raise InvalidDocument(f"tar: the name {quoted(name)} or what it links to is too long or has a NUL in it")
        if uid >= _ID_LIMIT or gid >= _ID_LIMIT:
            raise InvalidDocument(f"tar: {quoted(name)} has an owner that cannot be: {uid}:{gid}")
        if flag in _FILE_FLAGS:
            kind = DIRECTORY if flag == b"\0" and name.endswith(b"/") else FILE
        else:
            kind = DIRECTORY if flag == b"D" else flag
        entry = Entry(name, kind, _number(fields[1], "mode") & 0o7777, uid, gid, size, mtime)
        entry.link = link
        if kind == FILE or flag == b"D":
            self._expect(size)
        elif kind in (CHARACTER, BLOCK_DEVICE):
            entry.device = (_number(fields[12], "device"), _number(fields[13], "device"))
        if records:
            entry.xattrs = tuple(
                (key[len(_XATTR) :], value)
                for key, value in records.items()
                if key.startswith(_XATTR) and len(key) > len(_XATTR)
            )
        return entry

    def _extended(self, size: int) -> bytes:
        """The whole content of an extended header."""
        if size > _EXTENDED_AT_MOST:
            raise InvalidDocument(f"tar: an extended header of {size} bytes")
        self._expect(size)
        parts = []
        while chunk := self.chunk():
            parts.append(bytes(chunk))
        return b"".join(parts)

    def _old_sparse(self, entry: Entry, fields: tuple[bytes, ...]) -> None:
        """The map of a GNU sparse file: four segments in the header, 21 in each record that follows (tar(5))."""
        # from offset 345 on: 41 bytes of other things, the map, "goes on", the real size
        area = fields[14] + fields[15]
        numbers = _segment_numbers(area[41:137])
        more = area[137]
        entry.size = _number(area[138:150], "size")
        while more:
            record = self._record()
            if record is None:
                raise InvalidDocument("tar: the archive ends within a sparse map")
            numbers += _segment_numbers(bytes(record[:504]))
            more = record[504]
            if len(numbers) > 2 * _SEGMENTS_AT_MOST:
                raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} is too large")
        entry.segments = _segments(entry, numbers, self._left)

    def _pax_sparse(self, entry: Entry, records: dict[bytes, bytes], repeated: list[int]) -> None:
        """The map of a sparse file in GNU's pax formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files")."""
        version = (records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b""))
        if version == (b"1", b"0"):
            numbers = self._sparse_map_in_data(entry)
        elif version not in ((b"", b""), (b"0", b"0"), (b"0", b"1")):
            raise InvalidDocument(f"tar: {quoted(entry.name)} is sparse in an unknown format")
        elif b"GNU.sparse.map" in records:
            text = records[b"GNU.sparse.map"]
            numbers = [_decimal(item, "sparse map") for item in text.split(b",")] if text else []
        elif b"GNU.sparse.numblocks" in records or repeated:
            numbers = repeated
        else:
            return
        name = records.get(b"GNU.sparse.name")
        if name is not None:
            if not name or b"\0" in name or len(name) > _NAME_AT_MOST:
                raise InvalidDocument(f"tar: the name {quoted(name)} of a sparse file is not one")
            entry.name = name
        size = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if size is None:
            raise InvalidDocument(f"tar: the sparse file {quoted(entry.name)} does not say how large it is")
        entry.size = _decimal(size, "size")
        entry.segments = _segments(entry, numbers, self._left)

    def _sparse_map_in_data(self, entry: Entry) -> list[int]:
        """Format 1.0: decimal lines at the start of the data, the count first, padded to a full record."""
        numbers: list[int] = []
        wanted = 1
        rest = b""
        while len(numbers) < wanted:
            record = self._record() if self._left >= _RECORD else None
            if record is None:
                raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} ends early")
            self._left -= _RECORD
            *lines, rest = (rest + bytes(record)).split(b"\n")
            if len(rest) > _RECORD:
                raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} is not one")
            for line in lines:
                if len(numbers) == wanted:
                    break
                numbers.append(_decimal(line, "sparse map"))
                if len(numbers) == 1:
                    wanted = 1 + 2 * numbers[0]
                    if numbers[0] > _SEGMENTS_AT_MOST:
                        raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} is too large")
        return numbers[1:]


def quoted(name: bytes) -> str:
    """A name from an archive as an error may print it: in quotes, on one line, not endless."""
    text = name[:300].decode("utf-8", "backslashreplace")
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return f'"{shown}"' if len(name) <= 300 else f'"{shown}…"'


def _number(field: bytes, what: str, *, negative: bool = False) -> int:
    """A number of a header: octal digits with spaces or NULs around them, or base-256 (GNU tar manual, "Extensions")."""
    text = field.strip(b" \0")
    if not text:
        return 0
    if text.isdigit():
        try:
            return int(text, 8)
        except ValueError:
            raise InvalidDocument(f"tar: a {what} of {field!r}") from None
    if field[0] & 0x80:
        number = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The top bit is the mark; the one below it is the sign of the rest.
        number = number - (1 << bits) if field[0] & 0x40 else number - (1 << (bits - 1))
        if (number >= 0 or negative) and -_SIZE_LIMIT < number < _SIZE_LIMIT:
            return number
    digits = text.partition(b"\0")[0].rstrip(b" ")
    if digits != text and digits.isdigit():
        return _number(digits, what)
    raise InvalidDocument(f"tar: a {what} of {field!r}")


def _decimal(text: bytes, what: str) -> int:
    if len(text) > 19 or not text.isdigit() or (number := int(text)) >= _SIZE_LIMIT:
        raise InvalidDocument(f"tar: a {what} of {text[:100]!r}")
    return number


def _clamped(seconds: int) -> int:
    return max(_SECONDS_AT_LEAST, min(seconds, _SECONDS_AT_MOST))


def _time(text: bytes) -> int:
    """Nanoseconds from a pax time: seconds since the epoch, perhaps negative, perhaps with a fraction."""
    whole, _point, fraction = text.removeprefix(b"-").partition(b".")
    if len(text) > 100 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        raise InvalidDocument(f"tar: a time of {text[:100]!r}")
    seconds, below = int(whole), int(fraction[:9].ljust(9, b"0"))
    if text.startswith(b"-"):
        seconds, below = (-seconds - 1, 1_000_000_000 - below) if below else (-seconds, 0)
    return _clamped(seconds) * 1_000_000_000 + below


def _records(body: bytes) -> tuple[dict[bytes, bytes], list[int]]:
    """The records of a pax extended header, and the numbers of a sparse map of format 0.0, whose keys repeat."""
    records: dict[bytes, bytes] = {}
    numbers: list[int] = []
    start = 0
    while start < len(body):
        space = body.find(b" ", start, start + 20)
        length = body[start:space]
        if space < 0 or not length.isdigit():
            raise InvalidDocument("tar: an extended header has a record without a length")
        end = start + int(length)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not space < end - 1 < len(body) or body[end - 1] != 0x0A or not key or not equals or b"\0" in key:
            raise InvalidDocument("tar: an extended header has a broken record")
        if key == b"GNU.sparse.offset":
            numbers += (_decimal(value, "sparse map"), 0)
        elif key == b"GNU.sparse.numbytes":
            if not numbers:
                raise InvalidDocument("tar: a sparse map begins with a length")
            numbers[-1] = _decimal(value, "sparse map")
        else:
            records[key] = value
        start = end
    return records, numbers


def _segment_numbers(area: bytes) -> list[int]:
    """Pairs of twelve-byte numbers, up to the first that is empty."""
    numbers: list[int] = []
    for at in range(0, len(area) - 23, 24):
        if not area[at] or not area[at + 12]:
            break
        numbers += (_number(area[at : at + 12], "sparse map"), _number(area[at + 12 : at + 24], "sparse map"))
    return numbers


def _segments(entry: Entry, numbers: list[int], stored: int) -> list[tuple[int, int]]:
    """The (offset, length) pairs in order, checked: apart from each other, within the file, and as long as the data."""
    segments = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for offset, length in segments:
        if offset < end:
            raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} is out of order")
        end = offset + length
    if len(numbers) % 2 or end > entry.size or sum(numbers[1::2]) != stored:
        raise InvalidDocument(f"tar: the sparse map of {quoted(entry.name)} does not fit the file")
    return [segment for segment in segments if segment[1]]
