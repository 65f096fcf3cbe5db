"""The box that needs no registry: its lower layer is the machine's own root file system.

What only the real root may read there (password hashes, keys, the package manager's locks) cannot be read by the box
either, not even by its root; a package manager that meets one gives up. So the box gets its own, empty ones in its
upper layer.
"""

from __future__ import annotations

from rootless import system as os
from rootless import userns
from rootless.errors import KernelError
from rootless.ids import IdMaps
from toolbox.boxes.store import BoxRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "host"

_SEARCHED = (
    "/etc",
    "/var/cache/apt",
    "/var/cache/debconf",
    "/var/cache/dnf",
    "/var/cache/ldconfig",
    "/var/cache/libdnf5",
    "/var/lib/apt",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/var/lib/sudo",
    "/var/log",
    "/root",
)
"""Where package managers and the files of users and groups live. All of /var would be searched for minutes."""

_NOT_SEARCHED = ("/var/lib/dpkg/info", "/var/log/journal")

_SUDOERS = b"Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"


def is_host(box: BoxRecord) -> bool:
    """Whether the box is made of the machine's own root."""
    return box.image == IMAGE


def prepare(upper: str, maps: IdMaps) -> None:
    """Once, at the first start: give the box its own of every file there that the caller may not read.

    `maps` is the box's, since its root shall own them. Raises KernelError.
    """
    if os.listdir(upper):
        return
    hidden = list(_unreadable())

    def write() -> None:
        top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchown(top, 0, 0)
        for path, mode, is_directory in hidden:
            try:
                _write_own(top, path, mode, is_directory=is_directory)
            except OSError as error:
                raise KernelError("writing", f'the box\'s own "{path}"', error.errno or 0) from error

    userns.run_mapped(write, maps)


def _unreadable() -> Iterator[tuple[str, int, bool]]:
    """(path, mode, whether it is a directory) of everything in the searched places that the caller may not read."""
    pending = [place for place in _SEARCHED if os.path.isdir(place) and not os.path.islink(place)]
    while pending:
        place = pending.pop()
        if not os.access(place, os.R_OK | os.X_OK):
            yield place, os.lstat(place).st_mode & 0o7777, True
            continue
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.path not in _NOT_SEARCHED:
                        pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and not os.access(entry.path, os.R_OK):
                    yield entry.path, entry.stat(follow_symlinks=False).st_mode & 0o7777, False


def _write_own(top: int, path: str, mode: int, *, is_directory: bool) -> None:
    """An empty file or opaque directory at `path` of the upper layer `top`, with its parents as the host has them."""
    parent, _slash, name = path.rpartition("/")
    parent_fd = _parents(top, parent)
    try:
        if is_directory:
            os.mkdir(name, dir_fd=parent_fd)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
            os.setxattr(fd, "user.fuseoverlayfs.opaque", b"y")
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=parent_fd)
            if path == "/etc/sudoers":
                os.write(fd, _SUDOERS)
        os.fchmod(fd, mode)
        os.close(fd)
    finally:
        os.close(parent_fd)


def _parents(top: int, path: str) -> int:
    fd = os.dup(top)
    walked = ""
    for name in path.strip("/").split("/"):
        if not name:
            continue
        walked += f"/{name}"
        try:
            os.mkdir(name, dir_fd=fd)
            os.chmod(name, os.lstat(walked).st_mode & 0o7777, dir_fd=fd)
        except FileExistsError:
            pass
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd
