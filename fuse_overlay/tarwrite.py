"""Tar archives written in one pass from a tree of files (pax, POSIX.1-2001; ustar headers wherever those suffice).

The tree may be changing or hostile: everything is opened by descriptor, beneath the directory it was found in and never
through a link, and a file is as long as its header says whatever becomes of it meanwhile. With `layer` the tree is the
upper directory of an overlay and what it hides is written as the image specification has it (layer.md, "Whiteouts").
"""

from __future__ import annotations

import os
import stat

from fuse_overlay import changes, tarstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[bytes | memoryview], object]

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"

_RECORD = 512
_CHUNK = 1 << 20
_OURS = (b"user.overlay.", b"user.fuseoverlayfs.", b"trusted.overlay.")
_DEEPEST = 1000
_ENODATA, _ENOTSUP = 61, 95


def write_tree(
    directory: int,
    write: Write,
    *,
    name: bytes = b"",
    layer: bool = False,
    one_file_system: bool = False,
) -> None:
    """Write everything in the open `directory`, under `name/` where one is given, sorted by name. Raises OSError.

    With `one_file_system` what is mounted below shows as empty directories.
    """
    device = os.fstat(directory).st_dev if one_file_system else -1
    writer = _Writer(write, layer=layer, device=device)
    if name:
        writer.entry(name, os.fstat(directory), xattrs=writer.xattrs_of(directory))
    writer.contents(directory, name + b"/" if name else b"", 0)


def write_one(parent: int, base: bytes, write: Write, *, name: bytes) -> None:
    """Write what `base` in the open directory `parent` is, called `name` in the archive, with all below it."""
    writer = _Writer(write, layer=False, device=-1)
    writer.member(parent, base, name, 0)


def end(write: Write) -> None:
    """The end of an archive."""
    write(bytes(2 * _RECORD))


class _Writer:
    def __init__(self, write: Write, *, layer: bool, device: int) -> None:
        self._write = write
        self._layer = layer
        self._device = device
        self._links: dict[tuple[int, int], bytes] = {}

    def contents(self, directory: int, prefix: bytes, depth: int) -> None:
        if depth > _DEEPEST:
            raise OSError(40, os.strerror(40), os.fsdecode(prefix))
        if self._layer and depth and changes.is_opaque(directory):
            self._marker(prefix + OPAQUE)
        for text in sorted(os.listdir(directory)):
            base = os.fsencode(text)
            if self._layer and base.startswith(WHITEOUT):
                continue  # no layer can hold a file of this name: it would hide another
            self.member(directory, base, prefix + base, depth)

    def member(self, parent: int, base: bytes, name: bytes, depth: int) -> None:
        try:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        kind = stat.S_IFMT(status.st_mode)
        if self._layer and kind == stat.S_IFCHR and status.st_rdev == 0:
            head, slash, last = name.rpartition(b"/")
            self._marker(head + slash + WHITEOUT + last)
        elif kind == stat.S_IFDIR:
            self._directory(parent, base, name, status, depth)
        elif kind == stat.S_IFREG:
            self._file(parent, base, name)
        elif kind == stat.S_IFLNK:
            if not self._linked(name, status):
                self.entry(name, status, link=os.readlink(base, dir_fd=parent))
        elif kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK) and not self._linked(name, status):
            self.entry(name, status)
        # A socket is of no use to anybody but the process that listens there.

    def _directory(self, parent: int, base: bytes, name: bytes, status: os.stat_result, depth: int) -> None:
        try:
            fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            self.entry(name, status, xattrs=self.xattrs_of(fd))
            if self._device in (-1, status.st_dev):
                self.contents(fd, name + b"/", depth + 1)
        finally:
            os.close(fd)

    def _file(self, parent: int, base: bytes, name: bytes) -> None:
        try:
            fd = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or self._linked(name, status):
                return
            self.entry(name, status, xattrs=self.xattrs_of(fd))
            left = status.st_size
            while left:
                data = os.read(fd, min(left, _CHUNK))
                if not data:
                    data = bytes(min(left, _CHUNK))  # it was cut meanwhile; the header has promised more
                self._write(data)
                left -= len(data)
            self._write(bytes(-status.st_size % _RECORD))
        finally:
            os.close(fd)

    def _linked(self, name: bytes, status: os.stat_result) -> bool:
        """Write a hard link where the file was written before under another name."""
        if status.st_nlink < 2:
            return False
        known = self._links.setdefault((status.st_dev, status.st_ino), name)
        if known == name:
            return False
        self.entry(name, status, link=known, kind=tarstream.HARD_LINK)
        return True

    def xattrs_of(self, fd: int) -> list[tuple[bytes, bytes]]:
        """The extended attributes that belong to the file and not to the overlay it lies in."""
        found = []
        try:
            for text in sorted(os.listxattr(fd)):
                key = os.fsencode(text)
                if not key.startswith(_OURS) and key != b"system.posix_acl_access":
                    found.append((key, os.getxattr(fd, key)))
        except OSError as error:
            if error.errno not in (_ENOTSUP, _ENODATA):
                raise
        return found

    def _marker(self, name: bytes) -> None:
        self._write(_header(name, tarstream.FILE, 0o600, 0, 0, 0, 0, b"", (0, 0)))

    def entry(
        self,
        name: bytes,
        status: os.stat_result,
        *,
        link: bytes = b"",
        kind: bytes = b"",
        xattrs: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Write a header, with an extended one before it where something does not fit in."""
        kind = kind or _KINDS[stat.S_IFMT(status.st_mode)]
        if kind == tarstream.DIRECTORY:
            name += b"/"
        size = status.st_size if kind == tarstream.FILE else 0
        seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
        records = [(b"SCHILY.xattr." + key, value) for key, value in xattrs or ()]
        if len(name) > 100 or not name.isascii():
            records.append((b"path", name))
        if len(link) > 100 or not link.isascii():
            records.append((b"linkpath", link))
        if nanoseconds or not 0 <= seconds < 8**11:
            text = b"%d.%09d" % (seconds, nanoseconds) if nanoseconds else b"%d" % seconds
            records.append((b"mtime", text.rstrip(b"0") if nanoseconds else text))
        for key, number, width in ((b"size", size, 11), (b"uid", status.st_uid, 7), (b"gid", status.st_gid, 7)):
            if number >= 8**width:
                records.append((key, b"%d" % number))
        if records:
            data = b"".join(_record(key, value) for key, value in sorted(records))
            self._write(_header(b"PaxHeaders/" + name[:80].rstrip(b"/"), b"x", 0o644, 0, 0, len(data), 0, b"", (0, 0)))
            self._write(data + bytes(-len(data) % _RECORD))
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in b"34" else (0, 0)
        mode = stat.S_IMODE(status.st_mode)
        self._write(_header(name, kind, mode, status.st_uid, status.st_gid, size, max(0, seconds), link, device))


_KINDS = {
    stat.S_IFREG: tarstream.FILE,
    stat.S_IFDIR: tarstream.DIRECTORY,
    stat.S_IFLNK: tarstream.SYMLINK,
    stat.S_IFCHR: tarstream.CHARACTER,
    stat.S_IFBLK: tarstream.BLOCK_DEVICE,
    stat.S_IFIFO: tarstream.FIFO,
}


def _record(key: bytes, value: bytes) -> bytes:
    """One record of an extended header: its length counts its own digits (pax(1), "pax Extended Header")."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _octal(number: int, width: int) -> bytes:
    """A number in a header's field; one that is too large is 0 there and whole in the extended header."""
    return b"%0*o\0" % (width - 1, number if number < 8 ** (width - 1) else 0)


def _header(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    fields = (
        name[:100].ljust(100, b"\0"),
        _octal(mode, 8),
        _octal(uid, 8),
        _octal(gid, 8),
        _octal(size, 12),
        _octal(mtime, 12),
        b" " * 8,
        kind,
        link[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        _octal(device[0], 8),
        _octal(device[1], 8),
    )
    record = bytearray(b"".join(fields).ljust(_RECORD, b"\0"))
    record[148:156] = b"%06o\0 " % sum(record)
    return bytes(record)
