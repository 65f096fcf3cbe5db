"""Copying what an image has in a directory into the tmpfs that is about to cover it (the `tmpcopyup` mount option)."""

from __future__ import annotations

from rootless import paths
from rootless import system as os

_DEPTH_AT_MOST = 200
_CHUNK = 1 << 20


def copy_contents(root_fd: int, path: str, target: int) -> None:
    """Copy everything in the directory `path` beneath `root_fd`, with owners, modes, times and xattrs, into `target`.

    Does nothing where there is no such directory. Raises OSError.
    """
    try:
        source = paths.open_in(root_fd, path, os.O_RDONLY | os.O_DIRECTORY, how=paths.ACROSS_MOUNTS)
    except OSError:
        return
    destination = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=target)
    try:
        _copy_directory(source, destination, _DEPTH_AT_MOST)
        _copy_status(source, destination)
    finally:
        os.close(source)
        os.close(destination)


def _copy_directory(source: int, destination: int, depth: int) -> None:
    if depth == 0:
        raise OSError(40, "directories too deep to copy")
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = status.st_mode & 0o170000
        if kind == 0o040000:
            os.mkdir(name, 0o700, dir_fd=destination)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=destination)
            _copy_directory(inner, made, depth - 1)
            _copy_status(inner, made)
        elif kind == 0o100000:
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=destination)
            while os.sendfile(made, inner, None, _CHUNK):
                pass
            _copy_status(inner, made)
        else:
            if kind == 0o120000:
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
            else:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=destination)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
            continue
        os.close(inner)
        os.close(made)


def _copy_status(source: int, destination: int) -> None:
    status = os.fstat(source)
    os.fchown(destination, status.st_uid, status.st_gid)
    os.fchmod(destination, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        try:
            os.setxattr(destination, name, os.getxattr(source, name))
        except OSError:
            continue  # tmpfs keeps fewer kinds of attribute than a disk's file system
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))
