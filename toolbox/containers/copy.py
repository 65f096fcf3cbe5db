"""`cp` between a container and the host, or between two containers, in docker's manner.

What is copied goes through a pipe as a tar archive: one side packs it, in the container as root of its user namespace,
the other unpacks. Paths in a container are resolved beneath its root by descriptor; nothing that a container puts in
their way, or swaps while they are being copied, leads out of it.
"""

from __future__ import annotations

import os
import stat
import sys

from fuse_overlay import extract, tarwrite
from fuse_overlay.tarstream import TarReader
from rootless.errors import NotFound, PtbError, UsageError
from rootless.record import record
from toolbox.containers import filesystem, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from typing import BinaryIO

    from toolbox.containers.record import ContainerRecord

_BLOCK = 1 << 20


@record
class Place:
    """One side: a path of the host's (`container` None), of a container, or "-" for an archive."""

    container: ContainerRecord | None
    path: str


def copy(source: str, target: str, *, archive: str, follow_link: bool, overwrite: bool, pause: str, quiet: bool) -> int:
    """`cp`. Raises UsageError, NotFound."""
    from_, to = _place(source), _place(target)
    if from_.container is None and to.container is None:
        raise UsageError(
            "one side must be CONTAINER:PATH", hint="ptb cp web:/etc/nginx.conf . copies out of a container"
        )
    keep_owner = archive.lower() not in ("false", "0", "f")
    read_end, write_end = os.pipe()
    asked = _Asked(from_.path, to.path, follow_link, overwrite, keep_owner)
    names_read, names_write = os.pipe()

    def pack(root: int) -> None:
        _close(read_end, names_read)
        # Closed whatever happens: the other side waits for their ends.
        with open(names_write, "wb") as names, open(write_end, "wb", buffering=_BLOCK) as pipe:
            _pack(asked, root, pipe, names, host=from_.container is None)

    def unpack(root: int) -> None:
        _close(write_end, names_write)
        with open(names_read, "rb") as names, open(read_end, "rb", buffering=0) as pipe:
            _unpack(asked, root, pipe, names, host=to.container is None)

    if from_.container is None:
        assert to.container is not None  # noqa: S101 # checked above
        filesystem.visit(to.container, unpack, meanwhile=lambda: _on_host(pack))
    elif to.container is None:
        filesystem.visit(from_.container, pack, meanwhile=lambda: _on_host(unpack))
    else:
        second = to.container
        filesystem.visit(
            from_.container,
            pack,
            meanwhile=lambda: filesystem.visit(
                second, unpack, meanwhile=lambda: _close(read_end, names_read, write_end, names_write)
            ),
        )
    return 0


def _close(*descriptors: int) -> None:
    for fd in descriptors:
        os.close(fd)


@record
class _Asked:
    source: str
    target: str
    follow_link: bool
    overwrite: bool
    keep_owner: bool


def _place(text: str) -> Place:
    name, colon, path = text.partition(":")
    if colon and name and "/" not in name and not name.startswith("."):
        return Place(store.need(name), path if path.startswith("/") else f"/{path}")
    return Place(None, text)


def _on_host(task: Callable[[int], None]) -> None:
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        task(root)
    finally:
        os.close(root)


def _pack(asked: _Asked, root: int, out: BinaryIO, names: BinaryIO, *, host: bool) -> None:
    """Write what is to be copied: first its kind and name, then the archive."""
    path = asked.source
    if host and path == "-":
        names.write(b"archive\0")
        names.close()
        while data := os.read(0, _BLOCK):
            out.write(data)
        return
    if host:
        path = os.path.abspath(path) + ("/." if path.endswith("/.") else "")
    contents_only = path.endswith("/.") or path == "."
    real = path.removesuffix("/.") or "/"
    try:
        if asked.follow_link or contents_only:
            fd = filesystem.open_beneath(root, real, os.O_PATH)
            real = _inside(root, fd)
            os.close(fd)
        parent, name = filesystem.parent_of(root, real) if real != "/" else (os.dup(root), "")
        status = os.stat(name or ".", dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise NotFound(f'"{asked.source}": {os.strerror(error.errno or 0)}') from error
    directory = stat.S_ISDIR(status.st_mode)
    if contents_only and not directory:
        raise PtbError(f'"{asked.source}" is not a directory')
    base = os.path.basename(path.removesuffix("/.").rstrip("/"))
    kind = b"contents" if contents_only or not name else b"directory" if directory else b"file"
    names.write(kind + b"\0" + os.fsencode(base or "root"))
    names.close()
    tarwrite.write_one(parent, os.fsencode(name or "."), out.write, name=os.fsencode(base or "root"))
    tarwrite.end(out.write)
    os.close(parent)


def _inside(root: int, fd: int) -> str:
    """The path of an open file beneath the root."""
    top = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
    return os.readlink(f"/proc/self/fd/{fd}").removeprefix(top) or "/"


def _unpack(asked: _Asked, root: int, archive: FileIO, names: BinaryIO, *, host: bool) -> None:
    kind, _nul, name = names.read().partition(b"\0")
    if not kind:
        return  # the other side says why
    if host and asked.target == "-":
        _to_standard_output(archive)
        return
    target = os.path.abspath(asked.target) if host else asked.target
    directory, new_name = _where(asked, root, target, kind, name)
    try:
        extraction = extract.Extraction(
            root,
            directory,
            owner=(os.getuid(), os.getgid()) if host else (None if asked.keep_owner and kind == b"archive" else (0, 0)),
            names=None if kind == b"archive" else (name, new_name),
            follow=not host,
            overwrite=asked.overwrite,
        )
        extraction.everything(TarReader(lambda: _whole_block(archive.read)))
    finally:
        os.close(directory)


def _whole_block(read: Callable[[int], bytes | None]) -> bytes:
    """The next piece of the archive: whole records, but for the last."""
    block = read(_BLOCK) or b""
    while block and len(block) % 512:
        more = read(512 - len(block) % 512)
        if not more:
            break
        block += more
    return block


def _where(asked: _Asked, root: int, target: str, kind: bytes, name: bytes) -> tuple[int, bytes]:
    """The directory that things go to and the name they get, b"" for the directory's own contents (docker-cp(1))."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        found = filesystem.open_beneath(root, target, flags)
    except FileNotFoundError:
        found = -1
    except NotADirectoryError:
        if kind in (b"directory", b"contents") and not asked.overwrite:
            raise PtbError(f'"{asked.target}" is a file: a directory cannot be copied to it') from None
        found = -1
    except OSError as error:
        raise PtbError(f'"{asked.target}": {os.strerror(error.errno or 0)}') from error
    if found >= 0:
        return found, name if kind in (b"file", b"directory") else b""
    if kind == b"archive":
        raise NotFound(f'"{asked.target}" is not a directory')
    if asked.target.endswith("/") and kind == b"file":
        raise NotFound(f'"{asked.target}" is not a directory', hint="leave the / at the end out to name a file")
    try:
        parent, last = filesystem.parent_of(root, target)
    except OSError as error:
        raise NotFound(f'"{os.path.dirname(target.rstrip("/"))}": {os.strerror(error.errno or 0)}') from error
    return parent, os.fsencode(last)


def _to_standard_output(archive: FileIO) -> None:
    if sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="redirect the output")
    while data := archive.read(_BLOCK):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
