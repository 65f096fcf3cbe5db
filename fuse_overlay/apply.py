"""An archive turned into the directory of one layer (image-spec, layer.md), for overlay mounts to stack.

The directory starts empty and nobody else writes into it. Whiteouts become character devices 0:0 and opaque directories
get the xattrs of the kernel's overlay and of fuse-overlayfs. Both only ever hide what *lower* layers have: what this
layer brings itself stays, whichever comes first in the archive.

Names resolve as in a process whose root is the layer: symlinks that an earlier entry made lead, as far as they may, to
places in the layer. What climbs out is refused. An entry replaces whatever had its name, as docker has it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import BinaryIO

from fuse_overlay import tarstream
from fuse_overlay.tarstream import Entry, TarReader, quoted
from rootless import kernel, paths
from rootless.errors import HostUnfit, InvalidDocument, KernelError, PtbError

_WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS_OWN = b".wh..wh."
_OPAQUE_XATTRS = ("user.overlay.opaque", "user.fuseoverlayfs.opaque")
_NOT_FOR_IMAGES = (b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers.", b"trusted.", b"security.")
_CAPABILITY = b"security.capability"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 128
_LINKS_FOLLOWED_AT_MOST = 40
_IMPLIED_MODE = 0o755
_TIME = struct.Struct("=qIH")  # seconds, nanoseconds (as one number they need more than 64 bits), length of the path
_SECOND = 1_000_000_000

_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
_NAMES_AT_FAULT = frozenset((errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR))
_XATTR_REFUSED = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP))


def apply(root_fd: int, archive: TarReader, scratch: BinaryIO) -> None:
    """Make everything in `archive` in the empty directory `root_fd`.

    Call it as the root of a user namespace. `scratch` is an empty file for the times of directories, which can only be
    set when all is in place and of which there may be more than fit in memory. Raises InvalidDocument for an archive
    that is broken or wants out, HostUnfit for an owner that the user namespace lacks, KernelError for what the file
    system does not take, and OSError with ENOSPC or EDQUOT when it is full.
    """
    tree = _Tree(root_fd, scratch)
    entry = None
    try:
        while (entry := archive.next()) is not None:
            tree.add(entry, archive)
        tree.finish()
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise _explained(error, quoted(entry.name) if entry else "the root of the layer") from error
    finally:
        tree.close()


def _explained(error: OSError, subject: str) -> PtbError:
    number = error.errno or errno.EIO
    if number in _NAMES_AT_FAULT:
        return InvalidDocument(f"tar: {subject}: {os.strerror(number)}")
    return KernelError("cannot unpack", subject, number)


def _inside(name: bytes) -> bytes:
    """The path of `name` below the root, without ".", ".." and empty parts; b"" is the root itself."""
    path = name.strip(b"/").removeprefix(b"./")
    if not (path.startswith((b".", b"/")) or b"/." in path or b"//" in path):
        return path
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidDocument(f"tar: {quoted(name)} points out of the layer")
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


class _Tree:
    """The layer as it grows, with the directories that were used last held open."""

    def __init__(self, root_fd: int, scratch: BinaryIO) -> None:
        self._root = root_fd
        self._scratch = scratch
        self._open: dict[bytes, int] = {}
        self._outdated = False

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def add(self, entry: Entry, archive: TarReader) -> None:
        """Make one entry. A device other than 0:0, which is a whiteout by another name, is left out."""
        path = _inside(entry.name)
        parent, _slash, base = path.rpartition(b"/")
        kind = entry.kind
        if _WHITEOUT in path and self._hidden(entry, parent, base):
            return
        if kind == tarstream.FILE:
            self._file(entry, parent, base, archive)
        elif kind == tarstream.DIRECTORY:
            self._directory(entry, path, parent, base or b".")
        elif not base:
            raise InvalidDocument("tar: the root of the layer is not a directory")
        elif kind == tarstream.HARD_LINK:
            self._hard_link(entry, path, parent, base)
        elif kind == tarstream.SYMLINK:
            self._symlink(entry, parent, base)
        elif kind == tarstream.FIFO:
            self._fifo(entry, parent, base)
        elif kind == tarstream.CHARACTER and entry.device == (0, 0):
            self._whiteout(self._parent(parent), base)

    def finish(self) -> None:
        """Set the times of all directories."""
        self._scratch.seek(0)
        while head := self._scratch.read(_TIME.size):
            seconds, nanoseconds, length = _TIME.unpack(head)
            mtime = seconds * _SECOND + nanoseconds
            parent, _slash, base = self._scratch.read(length).rpartition(b"/")
            try:
                directory = self._parent(parent, make=False)
                if stat.S_ISDIR(os.stat(base or b".", dir_fd=directory, follow_symlinks=False).st_mode):
                    os.utime(base or b".", ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                # A later entry took its place.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise

    # --- directories on the way ---

    def _parent(self, path: bytes, *, make: bool = True) -> int:
        """A descriptor of the directory `path`, made with its parents where missing; good until the next call."""
        if self._outdated:
            self.close()
            self._outdated = False
        if not path:
            return self._root
        held = self._open.pop(path, None)
        if held is None:
            try:
                held = self._walk(path)
            except OSError as error:
                if not make or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    raise
                held = self._make_way(path)
            if len(self._open) >= _OPEN_DIRECTORIES:
                os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = held  # at the end: the first in the dictionary is the one used longest ago
        return held

    def _walk(self, path: bytes) -> int:
        return kernel.openat2(self._root, path or b".", os.O_PATH | os.O_DIRECTORY, 0, paths.CONFINED)

    def _make_way(self, path: bytes) -> int:
        """Make the directories of `path` that are missing; a dangling symlink has what it points to made."""
        todo = path.split(b"/")[::-1]
        done = b""
        links = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            step = done + b"/" + part
            try:
                os.close(self._walk(step))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR) or part == b"..":
                    raise
                target = self._make_step(done, part)
                if target is not None:
                    links += 1
                    if links > _LINKS_FOLLOWED_AT_MOST:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
                    todo += target.split(b"/")[::-1]
                    done = b"" if target.startswith(b"/") else done
                    continue
            done = step
        return self._walk(done)

    def _make_step(self, directory: bytes, name: bytes) -> bytes | None:
        """Make one directory; where a symlink is in its place, return what that says instead."""
        parent = self._walk(directory)
        try:
            try:
                os.mkdir(name, _IMPLIED_MODE, dir_fd=parent)
            except FileExistsError:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    return os.readlink(name, dir_fd=parent)
                if not _is_whiteout(status):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, _IMPLIED_MODE, dir_fd=parent)
                _make_opaque(parent, name)
            os.chmod(name, _IMPLIED_MODE, dir_fd=parent)
            os.chown(name, 0, 0, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)
        return None

    def _clear(self, directory: int, base: bytes) -> None:
        """Remove what has the name of a new entry, with all below it."""
        status = os.stat(base, dir_fd=directory, follow_symlinks=False)
        # Paths that lead through a directory or symlink lead elsewhere from now on; `directory` itself is still in use.
        self._outdated = stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            paths.remove_tree(directory, os.fsdecode(base))
        else:
            os.unlink(base, dir_fd=directory)

    # --- what lower layers have ---

    def _hidden(self, entry: Entry, parent: bytes, base: bytes) -> bool:
        """Act on a name that is a mark for lower layers and not a file; False if it is a file after all."""
        if parent.startswith(_WHITEOUT) or b"/" + _WHITEOUT in parent:
            if parent.startswith(_AUFS_OWN) or b"/" + _AUFS_OWN in parent:
                return True
            raise InvalidDocument(f"tar: {quoted(entry.name)} is below a whiteout")
        if not base.startswith(_WHITEOUT):
            return False
        if base == _OPAQUE:
            _make_opaque(self._parent(parent), b".")
        elif not base.startswith(_AUFS_OWN):
            hidden = base.removeprefix(_WHITEOUT)
            if hidden in (b"", b".", b".."):
                raise InvalidDocument(f"tar: {quoted(entry.name)} is a whiteout of nothing")
            self._whiteout(self._parent(parent), hidden)
        return True

    def _whiteout(self, directory: int, base: bytes) -> None:
        try:
            os.mknod(base, stat.S_IFCHR, 0, dir_fd=directory)
        except FileExistsError:
            # The layer has brought its own. A file hides what is below it anyway; a directory would be merged with it.
            if stat.S_ISDIR(os.stat(base, dir_fd=directory, follow_symlinks=False).st_mode):
                _make_opaque(directory, base)

    # --- the kinds of entries ---

    def _file(self, entry: Entry, parent: bytes, base: bytes, archive: TarReader) -> None:
        if not base:
            raise InvalidDocument("tar: the root of the layer is not a directory")
        directory = self._parent(parent)
        try:
            descriptor = os.open(base, _NEW_FILE, 0o600, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, base)
            descriptor = os.open(base, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            if entry.segments is None:
                while chunk := archive.chunk():
                    written = os.write(descriptor, chunk)
                    while written < len(chunk):
                        written += os.write(descriptor, chunk[written:])
            else:
                _write_sparse(descriptor, entry, entry.segments, archive)
            _own(entry, descriptor)
            os.fchmod(descriptor, entry.mode)
            if entry.xattrs:
                _set_xattrs(descriptor, entry)
            os.utime(descriptor, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(descriptor)

    def _directory(self, entry: Entry, path: bytes, parent: bytes, base: bytes) -> None:
        directory = self._parent(parent)
        try:
            os.mkdir(base, 0o700, dir_fd=directory)
        except FileExistsError:
            status = os.stat(base, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._clear(directory, base)
                os.mkdir(base, 0o700, dir_fd=directory)
                if _is_whiteout(status):
                    _make_opaque(directory, base)
        _own(entry, directory, base)
        os.chmod(base, entry.mode, dir_fd=directory)
        if entry.xattrs:
            descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                _set_xattrs(descriptor, entry)
            finally:
                os.close(descriptor)
        self._scratch.write(_TIME.pack(*divmod(entry.mtime, _SECOND), len(path)) + path)

    def _hard_link(self, entry: Entry, path: bytes, parent: bytes, base: bytes) -> None:
        target = _inside(entry.link)
        target_parent, _slash, target_base = target.rpartition(b"/")
        if target == path:
            return
        self._parent(parent)
        try:
            source = self._parent(target_parent, make=False)
            status = os.stat(target_base or b".", dir_fd=source, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is None or _is_whiteout(status):
            raise InvalidDocument(
                f"tar: {quoted(entry.name)} is a hard link to {quoted(entry.link)}, which the layer does not have"
            )
        if stat.S_ISDIR(status.st_mode):
            raise InvalidDocument(f"tar: {quoted(entry.name)} is a hard link to the directory {quoted(entry.link)}")
        directory = self._parent(parent)
        try:
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(status, os.stat(base, dir_fd=directory, follow_symlinks=False)):
                return
            self._clear(directory, base)
            self._hard_link(entry, path, parent, base)

    def _symlink(self, entry: Entry, parent: bytes, base: bytes) -> None:
        if not entry.link:
            raise InvalidDocument(f"tar: {quoted(entry.name)} is a symlink to nothing")
        directory = self._parent(parent)
        try:
            os.symlink(entry.link, base, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, base)
            os.symlink(entry.link, base, dir_fd=directory)
        _own(entry, directory, base)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def _fifo(self, entry: Entry, parent: bytes, base: bytes) -> None:
        directory = self._parent(parent)
        try:
            os.mkfifo(base, 0o600, dir_fd=directory)
        except FileExistsError:
            self._clear(directory, base)
            os.mkfifo(base, 0o600, dir_fd=directory)
        _own(entry, directory, base)
        os.chmod(base, entry.mode, dir_fd=directory)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _make_opaque(directory: int, base: bytes) -> None:
    """Hide what lower layers have in the directory `base` (overlayfs.rst, "whiteouts and opaque directories")."""
    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        for name in _OPAQUE_XATTRS:
            os.setxattr(descriptor, name, b"y")
    finally:
        os.close(descriptor)


def _own(entry: Entry, descriptor: int, base: bytes = b"") -> None:
    """Give the file `descriptor`, or `base` in that directory, its owner. Before its mode: chown clears setuid."""
    try:
        if base:
            os.chown(base, entry.uid, entry.gid, dir_fd=descriptor, follow_symlinks=False)
        else:
            os.fchown(descriptor, entry.uid, entry.gid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        for kind, number in (("user", entry.uid), ("group", entry.gid)):
            if not _is_mapped(number, "uid_map" if kind == "user" else "gid_map"):
                raise HostUnfit(
                    f"{quoted(entry.name)} belongs to {kind} id {number}, which has no place in the user namespace: "
                    "the subordinate range is too small",
                    hint=f"give yourself more than {number} ids in /etc/sub{kind[0]}id (usermod --add-sub{kind[0]}ids)",
                ) from error
        raise


def _is_mapped(number: int, kind: str) -> bool:
    with open(f"/proc/self/{kind}", encoding="ascii") as lines:
        ranges = [line.split() for line in lines]
    return any(int(inside) <= number < int(inside) + int(length) for inside, _outside, length in ranges)


def _set_xattrs(descriptor: int, entry: Entry) -> None:
    """Set what the file system and the kernel let us.

    What would steer the overlay itself is dropped, and what belongs to the machine's own policy, as SELinux labels do.
    """
    for name, value in entry.xattrs:
        if name.startswith(_NOT_FOR_IMAGES) and name != _CAPABILITY:
            continue
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno not in _XATTR_REFUSED:
                subject = f"attribute {quoted(name)} of {quoted(entry.name)}"
                raise KernelError("cannot set", subject, error.errno or errno.EIO) from error


def _write_sparse(descriptor: int, entry: Entry, segments: list[tuple[int, int]], archive: TarReader) -> None:
    os.ftruncate(descriptor, entry.size)
    chunk = memoryview(b"")
    for offset, length in segments:
        while length:
            chunk = chunk or archive.chunk()
            written = os.pwrite(descriptor, chunk[:length], offset)
            chunk = chunk[written:]
            offset += written
            length -= written
