"""What `TarReader` makes of archives: of honest ones the same as Python's tarfile and GNU tar, of others InvalidDocument."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from fuse_overlay import tarstream
from fuse_overlay.tarstream import Entry, TarReader, quoted
from rootless.errors import InvalidDocument
from tests import tar_writer as tar

SECOND = 1_000_000_000


def reader(data: bytes, *, records: int = 64) -> TarReader:
    """A reader that is given so many records at a time."""
    blocks = (data[start : start + 512 * records] for start in range(0, len(data), 512 * records))
    return TarReader(lambda: next(blocks, b""))


def read(data: bytes, *, records: int = 64) -> list[tuple[Entry, bytes]]:
    """All entries and their content."""
    archive = reader(data, records=records)
    found = []
    while (entry := archive.next()) is not None:
        found.append((entry, content(entry, archive)))
    assert archive.next() is None
    return found


def content(entry: Entry, archive: TarReader) -> bytes:
    stored = bytearray()
    while chunk := archive.chunk():
        stored += chunk
    if entry.segments is None:
        return bytes(stored)
    whole = bytearray(entry.size)
    at = 0
    for offset, length in entry.segments:
        whole[offset : offset + length] = stored[at : at + length]
        at += length
    assert at == len(stored)
    return bytes(whole)


def only(data: bytes) -> Entry:
    [(entry, _content)] = read(data)
    return entry


# --- what tarfile writes, read as tarfile reads it ---

NOT_UTF_8 = [chr(0xDC00 + byte) for byte in range(0x80, 0x100)]
LETTERS = st.characters(codec="utf-8", exclude_characters="/\0") | st.sampled_from(NOT_UTF_8)
COMPONENTS = st.text(LETTERS, min_size=1, max_size=120) | st.sampled_from(["x" * 99, "x" * 100, "x" * 101, "y" * 155])
NAMES = st.lists(COMPONENTS, min_size=1, max_size=5).map("/".join).filter(lambda name: len(os.fsencode(name)) < 4000)
IDS = st.sampled_from([0, 1, 1000, 0o7777777, 0o7777777 + 1, 65535, 1 << 31, (1 << 32) - 2]) | st.integers(
    0, (1 << 32) - 2
)
TIMES = st.sampled_from([0, 1, -1, 0o77777777777, 0o77777777777 + 1, -(1 << 31), 1 << 34]) | st.integers(
    -(1 << 31), 1 << 34
)
XATTR_NAMES = st.text(
    st.characters(codec="ascii", exclude_characters="=\0", min_codepoint=0x21), min_size=1, max_size=40
)
TYPES = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
    + [tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)


@st.composite
def members(draw: st.DrawFn, *, pax: bool) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(NAMES))
    info.type = draw(TYPES)
    # tarfile looks for the slash of a directory at the end of what is left of the name in the header.
    assume(info.type != tarfile.AREGTYPE or len(os.fsencode(info.name)) < 100)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(IDS), draw(IDS)
    info.mtime = draw(TIMES)
    data = b""
    if info.type in tarfile.REGULAR_TYPES:
        data = draw(st.binary(max_size=1500))
        info.size = len(data)
    elif info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        info.linkname = draw(NAMES)
    elif info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = draw(st.integers(0, 0o777777)), draw(st.integers(0, 0o777777))
    if pax:
        xattrs = draw(st.dictionaries(XATTR_NAMES, st.text(max_size=30), max_size=3))
        info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in xattrs.items()}
    return info, data


def written(found: Iterable[tuple[tarfile.TarInfo, bytes]], kind: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for info, data in found:
            try:
                archive.addfile(info, io.BytesIO(data))
            except (ValueError, UnicodeEncodeError):
                assume(False)  # ustar has no room for it, or it cannot be said in UTF-8
    return buffer.getvalue()


def as_tarfile_has_it(data: bytes) -> list[tuple[Any, ...]]:
    found = []
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive.getmembers():
            stream = archive.extractfile(info) if info.isreg() else None
            xattrs = {
                name.removeprefix("SCHILY.xattr."): value
                for name, value in info.pax_headers.items()
                if name.startswith("SCHILY.xattr.")
            }
            found.append(
                (
                    os.fsencode(info.name),
                    b"0" if info.isreg() else info.type,
                    info.mode,
                    (info.uid, info.gid),
                    int(info.mtime),
                    os.fsencode(info.linkname),
                    stream.read() if stream else b"",
                    {os.fsencode(name): os.fsencode(value) for name, value in xattrs.items()},
                    (info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else (0, 0),
                )
            )
    return found


def as_we_have_it(data: bytes, records: int) -> list[tuple[Any, ...]]:
    return [
        (
            entry.name.rstrip(b"/") if entry.kind == tarstream.DIRECTORY else entry.name,
            entry.kind,
            entry.mode,
            (entry.uid, entry.gid),
            entry.mtime // SECOND,
            entry.link,
            stored,
            dict(entry.xattrs),
            entry.device,
        )
        for entry, stored in read(data, records=records)
    ]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], deadline=None)
@given(data=st.data(), records=st.integers(1, 20))
def test_the_same_as_tarfile(kind: int, data: st.DataObject, records: int) -> None:
    found = data.draw(st.lists(members(pax=kind == tarfile.PAX_FORMAT), max_size=4))
    made = written(found, kind)
    assert as_we_have_it(made, records) == as_tarfile_has_it(made)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(name=NAMES, link=NAMES, uid=IDS, gid=IDS, mtime=TIMES)
def test_what_goes_in_comes_out(kind: int, name: str, link: str, uid: int, gid: int, mtime: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.uid, info.gid, info.mtime = tarfile.SYMTYPE, link, uid, gid, mtime
    entry = only(written([(info, b"")], kind))
    assert (entry.name, entry.link) == (os.fsencode(name), os.fsencode(link))
    assert (entry.uid, entry.gid, entry.mtime) == (uid, gid, mtime * SECOND)


# --- numbers, names and times, one by one ---


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"000644 \0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0\0\0\0\0", 0o644),
        (b"644     ", 0o644),
        (b"00000644", 0o644),
        (b"\0\0\0\0\0\0\0\0", 0),
        (b"        ", 0),
        (b"644\0junk", 0o644),
        (b"\x80\0\0\0\0\0\x01\xa4", 0o644),
    ],
)
def test_numbers_as_all_kinds_of_tar_write_them(field: bytes, number: int) -> None:
    record = bytearray(tar.header(b"file"))
    record[100:108] = field
    assert only(tar.archive(with_checksum(record))).mode == number


@pytest.mark.parametrize(
    "field",
    [b"0000648\0", b"-000644\0", b"0x00644\0", b"64 4\0\0\0\0", b"\xff" * 8, b"\x80" + b"\xff" * 7, b"+644\0\0\0\0"],
)
def test_a_number_that_is_none(field: bytes) -> None:
    record = bytearray(tar.header(b"file"))
    record[124:136] = field.ljust(12, b"\0")
    with pytest.raises(InvalidDocument):
        read(tar.archive(with_checksum(record)))


def with_checksum(record: bytes | bytearray) -> bytes:
    record = bytearray(record)
    record[148:156] = b" " * 8
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record)


@pytest.mark.parametrize("uid", [0, (1 << 21) - 1, 1 << 21, (1 << 32) - 2])
def test_large_owners(uid: int) -> None:
    by_header = only(tar.archive(tar.file(b"f", uid=uid, gid=uid)))
    by_pax = only(tar.archive(tar.file(b"f", pax={b"uid": b"%d" % uid, b"gid": b"%d" % uid})))
    for entry in (by_header, by_pax):
        assert (entry.uid, entry.gid) == (uid, uid)


@pytest.mark.parametrize("uid", [(1 << 32) - 1, 1 << 32, 1 << 62, -1])
def test_an_owner_that_cannot_be(uid: int) -> None:
    for made in (tar.file(b"f", uid=uid), tar.file(b"f", gid=uid), tar.file(b"f", pax={b"uid": b"%d" % uid})):
        with pytest.raises(InvalidDocument):
            read(tar.archive(made))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"1.", SECOND),
        (b"1234567890.123456789", 1234567890_123456789),
        (b"1234567890.1234567899", 1234567890_123456789),
        (b"-1", -SECOND),
        (b"-1.25", -1_250_000_000),
        (b"-0.5", -500_000_000),
        (b"9" * 50, (1 << 34) * SECOND),
        (b"-" + b"9" * 50, -(1 << 31) * SECOND),
    ],
)
def test_times_to_the_nanosecond(text: bytes, nanoseconds: int) -> None:
    assert only(tar.archive(tar.file(b"f", pax={b"mtime": text}))).mtime == nanoseconds


@pytest.mark.parametrize("text", [b"-", b".5", b"1e9", b"0x10", b"1.-5", b"--1", b"nan", b" 1", b"1" * 101, b"1.5.5"])
def test_a_time_that_is_none(text: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read(tar.archive(tar.file(b"f", pax={b"mtime": text})))


@given(seconds=st.integers(-(1 << 31) + 1, 1 << 33), nanoseconds=st.integers(0, SECOND - 1))
def test_every_time_comes_back(seconds: int, nanoseconds: int) -> None:
    total = seconds * SECOND + nanoseconds
    sign, (whole, below) = b"-" if total < 0 else b"", divmod(abs(total), SECOND)
    text = b"%b%d.%09d" % (sign, whole, below)
    assert only(tar.archive(tar.file(b"f", pax={b"mtime": text}))).mtime == total


def test_the_prefix_is_ustars_alone() -> None:
    both = {b"ustar\x0000": b"some/where/file", b"ustar  \0": b"file", b"": b"file"}
    for magic, name in both.items():
        assert only(tar.archive(tar.header(b"file", magic=magic, prefix=b"some/where"))).name == name


def test_star_keeps_times_behind_the_prefix() -> None:
    prefix = b"some/where".ljust(131, b"\0") + b"14000000000\0" + b"14000000000\0" + bytes(8) + b"tar\0"
    assert only(tar.archive(tar.header(b"file", prefix=prefix))).name == b"some/where/file"


def test_a_file_of_the_oldest_kind_whose_name_ends_in_a_slash_is_a_directory() -> None:
    assert only(tar.archive(tar.header(b"old/", b"\0"))).kind == tarstream.DIRECTORY
    assert only(tar.archive(tar.header(b"old", b"\0"))).kind == tarstream.FILE


def test_long_names_of_gnu_hold_for_one_member() -> None:
    first, second = b"a" * 300, b"b" * 4000
    made = tar.archive(
        tar.long_name(first), tar.long_name(second, b"K"), tar.symlink(b"cut", b"cut"), tar.symlink(b"next", b"there")
    )
    [(long, _none), (plain, _none)] = read(made)
    assert (long.name, long.link) == (first, second)
    assert (plain.name, plain.link) == (b"next", b"there")


def test_global_headers_hold_until_the_end_and_yield_to_a_members_own() -> None:
    made = tar.archive(
        tar.file(b"before"),
        tar.pax({b"uid": b"7", b"SCHILY.xattr.user.all": b"yes", b"comment": b"c"}, b"g"),
        tar.file(b"after"),
        tar.file(b"own", pax={b"uid": b"8"}),
        tar.file(b"none", uid=9, pax={b"uid": b""}),
    )
    found = {entry.name: entry for entry, _content in read(made)}
    assert [found[name].uid for name in (b"before", b"after", b"own", b"none")] == [0, 7, 8, 9]
    assert (found[b"before"].xattrs, found[b"own"].xattrs) == ((), ((b"user.all", b"yes"),))


def test_what_global_headers_say_of_no_member_is_forgotten() -> None:
    assert only(tar.archive(*[tar.pax({b"comment": b"c" * 100_000}, b"g")] * 5, tar.file(b"f"))).name == b"f"


@given(
    values=st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: not set(key) & {0, 0x3D}), st.binary(max_size=200)
    )
)
def test_attributes_may_hold_any_bytes(values: dict[bytes, bytes]) -> None:
    pax = {b"SCHILY.xattr." + key: value for key, value in values.items()}
    assert dict(only(tar.archive(tar.file(b"f", pax=pax))).xattrs) == values


def test_what_a_header_says_of_the_size_of_something_without_content_is_ignored() -> None:
    made = tar.archive(
        tar.directory(b"dir", size=4096), tar.symlink(b"link", b"x", size=9), tar.hard_link(b"hard", b"f", size=1 << 40)
    )
    assert [entry.name for entry, _content in read(made)] == [b"dir", b"link", b"hard"]


def test_a_volume_label_is_passed_over() -> None:
    assert only(tar.archive(tar.header(b"label", b"V"), tar.file(b"f", b"data"))).name == b"f"


# --- the end, and what lies behind it ---


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"whatever" * 64])
def test_ends_that_archives_in_the_wild_have(end: bytes) -> None:
    assert read(tar.file(b"f", b"data") + end)[0][1] == b"data"


def test_an_archive_of_nothing() -> None:
    assert read(b"") == read(bytes(512)) == read(bytes(10240)) == []


def test_a_lone_record_of_zeros_is_not_the_end() -> None:
    with pytest.raises(InvalidDocument):
        read(tar.file(b"f") + bytes(512) + tar.archive(tar.file(b"hidden")))


FULL = [
    tar.file(b"plain", b"x" * 700),
    tar.file(b"n" * 200, b"y" * 512),
    tar.long_name(b"g" * 300) + tar.header(b"g"),
    tar.directory(b"dir"),
    tar.file(b"f", b"z", pax={b"SCHILY.xattr.user.a": b"b" * 600}),
    tar.header(
        b"sparse",
        b"S",
        size=512,
        prefix=bytes(41) + tar.octal(0, 12) + tar.octal(512, 12) + bytes(73) + tar.octal(9999, 12),
    )
    + bytes(range(256)) * 2,
]


@given(cut=st.integers(0, sum(map(len, FULL)) - 1))
@example(cut=700)
@example(cut=512 + 699)
def test_a_cut_archive_is_no_archive_unless_cut_between_members(cut: int) -> None:
    starts = [sum(map(len, FULL[:count])) for count in range(len(FULL))]
    data = b"".join(FULL)[:cut]
    if cut in starts:
        assert len(read(data)) == starts.index(cut)
        return
    with pytest.raises(InvalidDocument):
        read(data)


def test_the_whole_of_what_was_cut_above_reads_well() -> None:
    assert len(read(b"".join(FULL))) == len(FULL)


# --- what is not an archive ---


@given(st.binary(max_size=3000))
@example(b"\x1f\x8b" + bytes(1022))
@example(b"x" * 512)
def test_garbage_is_an_invalid_document_or_nothing(data: bytes) -> None:
    assume(any(data[:512]))
    with pytest.raises(InvalidDocument):
        read(data)


FIELDS = {"name": (0, 100), "numbers": (100, 148), "kind": (156, 157), "link": (157, 257), "rest": (257, 512)}


@settings(max_examples=400)
@given(
    which=st.integers(0, len(FULL) - 1),
    at=st.integers(0, 511),
    junk=st.binary(min_size=1, max_size=24)
    | st.sampled_from([b"\xff" * 12, b"\x80" + bytes(11), b"7" * 12, b"9", b" ", b"S", b"x", b"g", b"L"]),
    records=st.integers(1, 4),
)
def test_a_header_may_say_anything(which: int, at: int, junk: bytes, records: int) -> None:
    """Damaged headers with checksums that are right: what is read may be nonsense, but reading it raises nothing else."""
    damaged = bytearray(FULL[which])
    damaged[at : at + len(junk)] = junk
    damaged = damaged[: len(FULL[which])]
    damaged[:512] = with_checksum(damaged[:512])
    never_anything_else(b"".join([*FULL[:which], bytes(damaged), *FULL[which + 1 :]]), records)


KEYS = st.sampled_from(
    [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"SCHILY.xattr.user.x", b"SCHILY.xattr.", b"comment"]
    + [
        b"GNU.sparse." + key
        for key in (b"major", b"minor", b"name", b"realsize", b"size", b"map", b"numblocks", b"offset", b"numbytes")
    ]
)
VALUES = st.binary(max_size=20) | st.sampled_from(
    [
        b"",
        b"0",
        b"1",
        b"-1",
        b"512",
        b"9" * 19,
        b"9" * 30,
        b"0,5",
        b"0,512,512,0",
        b"a\0b",
        b"/",
        b"..",
        b"1\n",
        "\u0663".encode(),
    ]
)


@settings(max_examples=400)
@given(
    records=st.lists(st.tuples(KEYS, VALUES), max_size=6),
    kind=st.sampled_from([b"x", b"g"]),
    data=st.binary(max_size=1200),
)
@example([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")], b"x", b"1\n0\n")
@example([(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.offset", b"5"), (b"GNU.sparse.size", b"9")], b"x", b"")
def test_an_extended_header_may_say_anything(records: list[tuple[bytes, bytes]], kind: bytes, data: bytes) -> None:
    never_anything_else(tar.archive(tar.pax(records, kind), tar.file(b"f", data), tar.file(b"g")), 3)


@given(body=st.binary(max_size=60) | st.text("0123456789 =\nab", max_size=60).map(str.encode))
@example(b"0 a=b\n")
@example(b"99999999999999999999 a=b\n")
@example(b"6 a=b")
@example(b"5 a=b\n")
@example(b"7 a=b\n\n")
@example(b"4 =\n\n")
@example(b"-6 a=b\n")
@example(b"6 a=b\n" + bytes(10))
def test_the_body_of_an_extended_header_may_be_anything(body: bytes) -> None:
    never_anything_else(tar.header(b"x", b"x", size=len(body)) + tar.padded(body) + tar.archive(tar.file(b"f")), 3)


def never_anything_else(data: bytes, records: int) -> None:
    archive = reader(data, records=records)
    try:
        while archive.next() is not None:
            while archive.chunk():
                pass
    except InvalidDocument as error:
        assert error.message.isprintable()  # no control character of the archive reaches a terminal


@pytest.mark.parametrize(
    "made",
    [
        tar.header(b"f", checksum=b"000000\0 "),
        tar.header(b"f", checksum=b"garbage!"),
        tar.header(b"f", b"M"),
        tar.header(b"f", b"\xff"),
        tar.header(b"x", b"x", size=(1 << 20) + 1),
        tar.header(b"x", b"x", size=(1 << 33)),
        tar.header(b"x", b"L", size=(1 << 33)),
        tar.header(b"f", size=1 << 63),
        tar.header(b"f", size=-1),
        tar.file(b"f", pax={b"size": b"-1"}),
        tar.file(b"f", pax={b"path": b"a\0b"}),
        tar.file(b"f", pax={b"path": b"p" * 4096}),
        tar.symlink(b"f", b"", pax={b"linkpath": b"p" * 4096}),
        tar.long_name(b"p" * 5000) + tar.header(b"f"),
        tar.pax({b"comment": b"no member follows"}),
        tar.long_name(b"no member follows"),
    ],
)
def test_refused(made: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read(tar.archive(made))


def test_a_checksum_of_signed_bytes_is_one_too() -> None:
    record = bytearray(tar.header("naïve".encode("latin-1")))
    record[148:156] = b" " * 8
    signed = sum(byte - 256 if byte > 127 else byte for byte in record)
    record[148:156] = b"%06o\0 " % signed
    assert only(tar.archive(bytes(record))).name == b"na\xefve"


@given(at=st.integers(0, 511), change=st.integers(1, 255))
def test_a_changed_byte_shows_in_the_checksum(at: int, change: int) -> None:
    assume(not 148 <= at < 156)
    record = bytearray(tar.header(b"file", mode=0o755, uid=1000))
    record[at] = (record[at] + change) % 256
    with pytest.raises(InvalidDocument):
        read(tar.archive(bytes(record)))


# --- sparse files ---


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sparse")


SPARSE_FORMATS = {
    "old GNU": ["--format=gnu"],
    "pax 0.0": ["--format=posix", "--sparse-version=0.0"],
    "pax 0.1": ["--format=posix", "--sparse-version=0.1"],
    "pax 1.0": ["--format=posix", "--sparse-version=1.0"],
}


@pytest.mark.parametrize("kind", SPARSE_FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    islands=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=1500)), max_size=60),
    tail=st.integers(0, 5000) | st.integers(50_001, 100_000),
    name=st.sampled_from(["short", "l" * 150]),
)
@example(islands=[(count * 2, b"data") for count in range(80)], tail=100_000, name="short")
@example(islands=[], tail=100_000, name="short")
@example(islands=[(1, b"x" * 512)], tail=99_999, name="l" * 150)
def test_sparse_files_as_gnu_tar_writes_them(
    place: Path, kind: str, islands: list[tuple[int, bytes]], tail: int, name: str
) -> None:
    size = max((where * 512 + len(data) for where, data in islands), default=0) + tail
    with open(place / name, "wb") as file:
        file.truncate(size)  # GNU tar looks for holes only where a file has fewer blocks than its size needs
        for where, data in islands:
            os.pwrite(file.fileno(), data, where * 512)
    whole = (place / name).read_bytes()
    command = ["tar", "-S", "--hole-detection=raw", *SPARSE_FORMATS[kind], "-cf", "-", name]
    made = subprocess.run(command, cwd=place, check=True, capture_output=True).stdout
    [(entry, found)] = read(made, records=3)
    assert (entry.name, entry.size, found) == (name.encode(), len(whole), whole)
    if tail > 50_000:
        assert entry.segments is not None  # or else this tests nothing


def test_a_sparse_file_far_larger_than_the_disk() -> None:
    """Eight exabytes with one byte in them: sizes are numbers, nothing is made of them."""
    size = (1 << 63) - 1
    prefix = bytes(41) + tar.base256(size - 512, 12) + tar.octal(512, 12) + bytes(73) + tar.base256(size, 12)
    archive = reader(tar.archive(tar.header(b"f", b"S", size=512, prefix=prefix) + b"x" * 512))
    entry = archive.next()
    assert entry is not None
    assert (entry.size, entry.segments) == (size, [(size - 512, 512)])


def sparse(numbers: list[int], *, size: int, data: bytes, version: str) -> bytes:
    """A sparse file whose map says just this."""
    real = b"%d" % size
    if version == "0.0":
        pairs = [
            (b"GNU.sparse.offset" if at % 2 == 0 else b"GNU.sparse.numbytes", b"%d" % number)
            for at, number in enumerate(numbers)
        ]
        return tar.pax(
            [(b"GNU.sparse.size", real), (b"GNU.sparse.numblocks", b"%d" % (len(numbers) // 2)), *pairs]
        ) + tar.file(b"f", data)
    if version == "0.1":
        pax = {
            b"GNU.sparse.size": real,
            b"GNU.sparse.map": b",".join(b"%d" % number for number in numbers),
            b"GNU.sparse.name": b"f",
        }
        return tar.file(b"GNUSparseFile.0/f", data, pax=pax)
    table = tar.padded(b"".join(b"%d\n" % number for number in [len(numbers) // 2, *numbers]))
    pax = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": real, b"GNU.sparse.name": b"f"}
    return tar.file(b"GNUSparseFile.0/f", table + data, pax=pax)


VERSIONS = pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])


@VERSIONS
def test_sparse_maps(version: str) -> None:
    made = tar.archive(sparse([1, 2, 5, 1, 9, 0], size=9, data=b"abc", version=version), tar.file(b"next"))
    [(entry, found), (following, _content)] = read(made)
    assert (entry.name, found, following.name) == (b"f", b"\0ab\0\0c\0\0\0", b"next")


@VERSIONS
@pytest.mark.parametrize(
    ("numbers", "size", "data"),
    [
        pytest.param([0, 5], 4, b"x" * 5, id="beyond the end"),
        pytest.param([5, 1, 0, 1], 9, b"xx", id="out of order"),
        pytest.param([0, 5, 4, 1], 9, b"x" * 6, id="overlapping"),
        pytest.param([0, 5], 9, b"x" * 4, id="less data"),
        pytest.param([0, 5], 9, b"x" * 6, id="more data"),
        pytest.param([(1 << 63) - 1, 5], (1 << 63) - 1, b"x" * 5, id="overflow"),
    ],
)
def test_a_sparse_map_that_does_not_fit(version: str, numbers: list[int], size: int, data: bytes) -> None:
    with pytest.raises(InvalidDocument):
        read(tar.archive(sparse(numbers, size=size, data=data, version=version)))


@pytest.mark.parametrize(
    "table",
    [b"", b"1", b"1\n0\n", b"x\n", b"-1\n", b"\n\n", b"131073\n", b"9" * 1024, b"1\n0\n5", b"99999999999999999999\n"],
)
def test_a_sparse_map_in_the_data_that_is_none(table: bytes) -> None:
    pax = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"5", b"GNU.sparse.name": b"f"}
    with pytest.raises(InvalidDocument):
        read(tar.archive(tar.file(b"f", tar.padded(table), pax=pax)))


# --- memory ---


def peak(make: Callable[[], Iterable[bytes]]) -> int:
    """Bytes allocated at most while an archive streams by."""
    parts = iter(make())
    archive = TarReader(lambda: next(parts, b""))
    tracemalloc.start()
    try:
        while archive.next() is not None:
            pass
    except InvalidDocument:
        pass
    finally:
        _now, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def endless(made: bytes, count: int) -> Callable[[], Iterable[bytes]]:
    return lambda: (made for _ in range(count))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(endless(tar.file(b"f"), 20_000), id="members"),
        pytest.param(endless(tar.pax({b"comment": b"c" * 100_000}), 500), id="extended headers"),
        pytest.param(endless(tar.long_name(b"n" * 100_000), 500), id="long names"),
        pytest.param(
            lambda: (tar.pax({b"SCHILY.xattr.user.%d" % number: b"v" * 500}, b"g") for number in range(2000)),
            id="global headers",
        ),
        pytest.param(endless(b"S", 1), id="nothing"),
        pytest.param(
            lambda: (
                tar.header(b"f", b"S", prefix=bytes(41) + bytes(96) + b"\1" + tar.octal(0, 12))
                if not number
                else (b"00000000001\0" * 42).ljust(504) + b"\1".ljust(8, b"\0")
                for number in range(100_000)
            ),
            id="sparse map",
        ),
    ],
)
def test_memory_stays_bounded(make: Callable[[], Iterable[bytes]]) -> None:
    assert peak(make) < 24 << 20


# --- names in errors ---


@given(st.binary(max_size=1000))
def test_a_quoted_name_is_one_printable_line(name: bytes) -> None:
    shown = quoted(name)
    assert shown.isprintable()
    assert len(shown) < 3500
