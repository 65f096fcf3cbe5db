"""Every access to a path inside a root file system goes through here, by descriptor and never by string.

A root file system is hostile: any component of any path may be a symlink to anywhere. `openat2` with RESOLVE_IN_ROOT
walks as if the given descriptor were `/`, and RESOLVE_NO_XDEV keeps the walk on the one mount that descriptor is in,
so that a link into something of the host's that is mounted there leads nowhere (openat2(2)).
"""

from __future__ import annotations

from rootless import kernel
from rootless import system as os

CONFINED = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_XDEV

ACROSS_MOUNTS = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
"""As `CONFINED`, but the walk may pass into what is mounted beneath the root."""

_ENOENT = 2
_EEXIST = 17
_ELOOP = 40
LINKS_FOLLOWED_AT_MOST = 40


def normalize(path: str) -> str:
    """The absolute form of `path` as its words have it, without `.` and `..`: for comparing, not for finding."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def open_in(root_fd: int, path: str | bytes, flags: int, mode: int = 0, *, how: int = CONFINED) -> int:
    """Open `path` as a process whose root is `root_fd` would; raises OSError."""
    return kernel.openat2(root_fd, path, flags, mode, how)


def exists_in(root_fd: int, path: str, *, how: int = CONFINED) -> bool:
    """Whether `path` leads to something beneath `root_fd`."""
    try:
        os.close(open_in(root_fd, path, os.O_PATH, how=how))
    except OSError:
        return False
    return True


def read_in(root_fd: int, path: str | bytes, limit: int = 1 << 20, *, how: int = CONFINED) -> bytes | None:
    """At most `limit` bytes of the regular file `path`, or None where there is none that can be read."""
    try:
        fd = open_in(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, how=how)
    except OSError:
        return None
    try:
        return os.read(fd, limit) if _is_regular(fd) else None
    finally:
        os.close(fd)


def _is_regular(fd: int) -> bool:
    return os.fstat(fd).st_mode & 0o170000 == 0o100000


def make_directories(root_fd: int, path: str, mode: int = 0o755, *, how: int = CONFINED) -> int:
    """An O_PATH descriptor of the directory `path`, made with `mode` along with its parents where they are missing.

    A dangling symlink on the way is followed and what it points to is made, as a container's root would see it.
    """
    return _make(root_fd, path, mode, LINKS_FOLLOWED_AT_MOST, how)


def _make(root_fd: int, path: str, mode: int, links_left: int, how: int) -> int:
    path = path.strip("/") or "."
    try:
        return open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY, how=how)
    except OSError as error:
        if error.errno != _ENOENT or path == ".":
            raise
    parent, _slash, name = path.rpartition("/")
    parent_fd = _make(root_fd, parent, mode, links_left, how)
    try:
        if name not in (".", ".."):
            _make_one(parent_fd, name, mode)
    except FileExistsError:
        try:
            target = os.readlink(name, dir_fd=parent_fd)
        except OSError:
            target = ""
        if target:
            if links_left == 0:
                raise OSError(_ELOOP, os.strerror(_ELOOP), path) from None
            aim = target if target.startswith("/") else f"{parent}/{target}"
            return _make(root_fd, aim, mode, links_left - 1, how)
    finally:
        os.close(parent_fd)
    return open_in(root_fd, path, os.O_PATH | os.O_DIRECTORY, how=how)


def _make_one(parent_fd: int, name: str, mode: int) -> None:
    """mkdir(2) whatever the umask; by descriptor, for someone may put a link in the directory's place at any moment."""
    os.mkdir(name, mode | 0o700, dir_fd=parent_fd)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def make_mount_point(root_fd: int, path: str, *, directory: bool, how: int = CONFINED, follow: int = 0) -> int:
    """An O_PATH descriptor of `path`, made as an empty directory or file where there is nothing to mount upon.

    A file takes the place of a dangling link, or is made where that points to, as far as `follow` links may be followed.
    """
    if directory:
        return make_directories(root_fd, path, how=how)
    try:
        return open_in(root_fd, path, os.O_PATH, how=how)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
    parent, _slash, name = path.strip("/").rpartition("/")
    parent_fd = make_directories(root_fd, parent, how=how)
    try:
        target = _dangling(name, parent_fd)
        if target and follow:
            aim = target if target.startswith("/") else f"{parent}/{target}"
            return make_mount_point(root_fd, aim, directory=False, how=how, follow=follow - 1)
        if target:
            os.unlink(name, dir_fd=parent_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(name, flags, 0o644, dir_fd=parent_fd))
        except FileExistsError:
            pass  # somebody else's by now, a FIFO perhaps: it is not opened, only mounted on
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def _dangling(name: str, parent_fd: int) -> str:
    """Where the link `name` points to; "" if it is none."""
    try:
        return os.readlink(name, dir_fd=parent_fd)
    except OSError:
        return ""


def write_in(root_fd: int, path: str, data: bytes, mode: int) -> None:
    """Make `path` a regular file with exactly this content and mode, owned by the caller's fsuid; atomic.

    Does nothing where it is so already. Whatever else has the name (a symlink too) is replaced, unless a directory.
    """
    parent, _slash, name = path.strip("/").rpartition("/")
    parent_fd = make_directories(root_fd, parent)
    try:
        if _holds(parent_fd, name, data, mode):
            return
        temporary = f".{name}.ptb"
        _unlink_if_there(temporary, parent_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=parent_fd)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def _holds(parent_fd: int, name: str, data: bytes, mode: int) -> bool:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent_fd)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if status.st_mode != 0o100000 | mode or status.st_size != len(data) or status.st_uid != os.geteuid():
            return False
        return os.read(fd, len(data) + 1) == data
    except OSError:
        return False
    finally:
        os.close(fd)


def _unlink_if_there(name: str, parent_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return


def link_in(root_fd: int, path: str, target: str) -> None:
    """Make `path` a symlink to `target`; what else has the name is replaced, unless it is a directory in use."""
    parent, _slash, name = path.strip("/").rpartition("/")
    parent_fd = make_directories(root_fd, parent)
    try:
        try:
            if os.readlink(name, dir_fd=parent_fd) == target:
                return
        except OSError:
            pass
        temporary = f".{name}.ptb"
        _unlink_if_there(temporary, parent_fd)
        os.symlink(target, temporary, dir_fd=parent_fd)
        try:
            os.rename(temporary, name, src_dir_fd=parent_fd, dst_dir_fd=parent_fd)
        except OSError:
            os.unlink(temporary, dir_fd=parent_fd)
            raise
    finally:
        os.close(parent_fd)


def remove_tree(parent_fd: int, name: str) -> None:
    """Remove `name` and all below it without following a symlink; what is not there is no error.

    Iterative, so that a tree as deep as the disk allows cannot exhaust the stack; one descriptor per level in use is
    replaced by moving deep directories up when the level passes 64.
    """
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (_EISDIR, _EPERM):
            raise
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        _empty(top, top, 0)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent_fd)


_EISDIR = 21
_EPERM = 1
_DEPTH_AT_MOST = 64


def _empty(top: int, directory: int, depth: int) -> None:
    """Remove everything in `directory`. Directories deeper than a limit are moved to `top` and removed from there."""
    again = True
    while again:
        again = False
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            if not is_directory:
                os.unlink(name, dir_fd=directory)
                continue
            try:
                os.rmdir(name, dir_fd=directory)
                continue
            except OSError:
                pass
            if depth >= _DEPTH_AT_MOST:
                os.rename(name, f".ptb-deep-{os.urandom(12).hex()}", src_dir_fd=directory, dst_dir_fd=top)
                continue
            child = _open_for_removal(name, directory)
            try:
                _empty(top, child, depth + 1)
            finally:
                os.close(child)
            os.rmdir(name, dir_fd=directory)
        if directory == top and depth == 0:
            again = bool(os.listdir(top))


def _open_for_removal(name: str, directory: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=directory)
        return os.open(name, flags, dir_fd=directory)
