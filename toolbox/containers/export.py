"""`export` and `import`: a container's files as one archive, and an archive as an image of one layer."""

from __future__ import annotations

import os
import sys
import tempfile

from fuse_overlay import tarwrite
from rootless.errors import NotFound, PtbError, UsageError
from toolbox.containers import filesystem, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

TYPE_CHECKING = False


def export(name: str, *, output: str) -> int:
    """`export`: the root file system without what is mounted in it."""
    container = store.need(name)
    if output:
        try:
            fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise PtbError(f'"{output}" cannot be written: {os.strerror(error.errno or 0)}') from error
    else:
        if sys.stdout.isatty():
            raise UsageError("an archive is nothing for a terminal", hint="use --output FILE, or redirect the output")
        fd = 1
    write = writer(fd)

    def task(root: int) -> None:
        tarwrite.write_tree(root, write, one_file_system=True)
        tarwrite.end(write)

    filesystem.visit(container, task, with_mounts=False)
    return 0


def writer(fd: int) -> tarwrite.Write:
    """Something that writes all of what it is given to the descriptor, in large pieces."""
    stream = open(fd, "wb", buffering=1 << 20, closefd=False)  # noqa: SIM115 # closed with the process that fills it

    def write(data: bytes | memoryview) -> None:
        stream.write(data)
        if not any(data[:1]) and len(data) == 1024:
            stream.flush()

    return write


def import_image(
    source: str,
    reference: str | None,
    *,
    change: list[str] | None,
    message: str,
    quiet: bool,
    arch: str,
    os: str,
    variant: str,
) -> int:
    """`import`: prints the new image's id."""
    from toolbox.images import build

    with _opened(source) as stream:
        settings = build.Settings(
            changes=tuple(change or ()), message=message or f"Imported from {source}", platform=(os, arch, variant)
        )
        print(build.from_archive(stream, reference or "", settings))
    return 0


def _opened(source: str) -> BinaryIO:
    """The archive at a path, a URL, or "-". Raises NotFound, RegistryError."""
    if source == "-":
        return open(0, "rb", closefd=False)
    if source.startswith(("http://", "https://")):
        return _download(source)
    try:
        return open(source, "rb")
    except OSError as error:
        raise NotFound(f'"{source}": {error.strerror}') from error


def _download(url: str) -> BinaryIO:
    import threading

    from toolbox.registry.transport import Patience, Transport

    answer = Transport(Patience(), threading.Event()).send("GET", url, {}, verify=True)
    if answer.status != 200:
        answer.close()
        raise NotFound(f'"{url}": the server answers {answer.status}')
    file = tempfile.TemporaryFile()  # noqa: SIM115 # the caller closes it
    for chunk in answer.chunks():
        file.write(chunk)
    file.seek(0)
    return file
