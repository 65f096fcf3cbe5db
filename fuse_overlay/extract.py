"""A tar archive unpacked into a directory that is in use: what `cp` does at its target. (Layers are `apply`'s.)

The archive, and the tree it goes into, may be a container's and hostile. Each entry is made in its parent directory by
descriptor. Parents are resolved beneath a root that nothing leads out of; what lies there in the place of a parent may
be a link of the container's own where `follow` says so, as it would be for a process in it, and never on the host.
"""

from __future__ import annotations

import os
import stat

from fuse_overlay import tarstream
from rootless import kernel
from rootless.errors import InvalidDocument, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fuse_overlay.tarstream import Entry, TarReader

_MODE = 0o7777


class Extraction:
    """Where an archive goes: `directory` is open and beneath `root`, both descriptors.

    `owner` is who everything belongs to, None for who the archive says; `names` renames the first component of each
    entry, from the archive's to the one wanted.
    """

    def __init__(
        self,
        root: int,
        directory: int,
        *,
        owner: tuple[int, int] | None,
        names: tuple[bytes, bytes] | None = None,
        follow: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._root = root
        self._directory = directory
        self._owner = owner
        self._names = names
        self._resolve = kernel.RESOLVE_IN_ROOT if follow else kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS
        self._overwrite = overwrite
        self._times: list[tuple[bytes, int]] = []

    def everything(self, archive: TarReader) -> None:
        """Unpack the archive. Raises InvalidDocument, PtbError for a file in a directory's place, OSError."""
        while (entry := archive.next()) is not None:
            path = self._path(entry.name)
            if path:
                self._one(entry, path, archive)
            elif entry.kind != tarstream.DIRECTORY:
                raise InvalidDocument("tar: the top of the archive is not a directory")
        for path, time in reversed(self._times):
            parent = self._parent(path.rpartition(b"/")[0])
            try:
                os.utime(path.rpartition(b"/")[2], ns=(time, time), dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(parent)

    def _path(self, name: bytes) -> bytes:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise InvalidDocument(f"tar: {tarstream.quoted(name)} points out of the archive")
        if self._names is not None and parts:
            before, after = self._names
            if parts[0] != before:
                raise InvalidDocument(f"tar: {tarstream.quoted(name)} is not below {tarstream.quoted(before)}")
            parts = [after, *parts[1:]] if after else parts[1:]
        return b"/".join(parts)

    def _parent(self, path: bytes) -> int:
        """The directory `path` below the target, made where it is missing."""
        current = os.dup(self._directory)
        for part in path.split(b"/") if path else ():
            try:
                inner = self._open_directory(current, part)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=current)
                if self._owner is not None:
                    os.chown(part, *self._owner, dir_fd=current, follow_symlinks=False)
                inner = self._open_directory(current, part)
            os.close(current)
            current = inner
        return current

    def _open_directory(self, current: int, part: bytes) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY
        if self._resolve != kernel.RESOLVE_IN_ROOT:
            return kernel.openat2(current, part, flags, 0, self._resolve)
        try:
            return kernel.openat2(current, part, flags, 0, kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS)
        except OSError as error:
            if error.errno != 40:  # ELOOP: a link, which leads where it would lead the container
                raise
        target = os.readlink(part, dir_fd=current)
        if target.startswith(b"/"):
            return kernel.openat2(self._root, target, flags, 0, kernel.RESOLVE_IN_ROOT)
        where = os.readlink(f"/proc/self/fd/{current}")
        top = os.readlink(f"/proc/self/fd/{self._root}").rstrip("/")
        inside = os.fsencode(where.removeprefix(top))
        return kernel.openat2(self._root, inside + b"/" + target, flags, 0, kernel.RESOLVE_IN_ROOT)

    def _one(self, entry: Entry, path: bytes, archive: TarReader) -> None:
        head, _slash, base = path.rpartition(b"/")
        parent = self._parent(head)
        try:
            if entry.kind == tarstream.DIRECTORY:
                self._make_directory(parent, base, entry)
                self._times.append((path, entry.mtime))
                return
            self._clear(parent, base, path)
            if entry.kind == tarstream.FILE:
                self._make_file(parent, base, entry, archive)
            elif entry.kind == tarstream.SYMLINK:
                os.symlink(entry.link, base, dir_fd=parent)
                self._own(parent, base, entry)
            elif entry.kind == tarstream.HARD_LINK:
                self._link(parent, base, entry)
            elif entry.kind == tarstream.FIFO:
                os.mkfifo(base, entry.mode & _MODE, dir_fd=parent)
                self._own(parent, base, entry)
            # Devices are nobody's to make here.
        finally:
            os.close(parent)

    def _clear(self, parent: int, base: bytes, path: bytes) -> None:
        try:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(base, dir_fd=parent)
        elif self._overwrite:
            from rootless import paths

            paths.remove_tree(parent, os.fsdecode(base))
        else:
            raise PtbError(
                f'"{os.fsdecode(path)}" is a directory there, and no file takes its place', hint="cp --overwrite"
            )

    def _make_directory(self, parent: int, base: bytes, entry: Entry) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or (
                stat.S_ISLNK(status.st_mode) and self._resolve == kernel.RESOLVE_IN_ROOT
            ):
                return
            if not self._overwrite:
                raise PtbError(
                    f'"{os.fsdecode(base)}" is a file there, and no directory takes its place', hint="cp --overwrite"
                ) from None
            os.unlink(base, dir_fd=parent)
            os.mkdir(base, 0o700, dir_fd=parent)
        self._own(parent, base, entry)
        os.chmod(base, entry.mode & _MODE, dir_fd=parent)

    def _make_file(self, parent: int, base: bytes, entry: Entry, archive: TarReader) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(base, flags, 0o600, dir_fd=parent)
        try:
            if entry.segments is None:
                while data := archive.chunk():
                    while data:
                        data = data[os.write(fd, data) :]
            else:
                self._fill_sparse(fd, entry, archive)
            owner = self._owner or (entry.uid, entry.gid)
            os.fchown(fd, *owner)
            os.fchmod(fd, entry.mode & _MODE)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _fill_sparse(self, fd: int, entry: Entry, archive: TarReader) -> None:
        data = memoryview(b"")
        for offset, length in entry.segments or ():
            os.lseek(fd, offset, os.SEEK_SET)
            while length:
                data = data or archive.chunk()
                written = os.write(fd, data[:length])
                data, length = data[written:], length - written
        os.ftruncate(fd, entry.size)

    def _own(self, parent: int, base: bytes, entry: Entry) -> None:
        os.chown(base, *(self._owner or (entry.uid, entry.gid)), dir_fd=parent, follow_symlinks=False)
        if entry.kind != tarstream.DIRECTORY:
            os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _link(self, parent: int, base: bytes, entry: Entry) -> None:
        target = self._path(entry.link)
        head, _slash, name = target.rpartition(b"/")
        source = self._parent(head)
        try:
            os.link(name, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)
