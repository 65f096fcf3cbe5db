"""What a container has changed: its upper directory compared with the layers below (docker diff's A, C and D)."""

from __future__ import annotations

import os
import stat

from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ADDED, CHANGED, DELETED = "A", "C", "D"

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@record
class Change:
    """One path, absolute in the container."""

    kind: str
    path: str


def changes(upper: str, lower: tuple[str, ...]) -> Iterator[Change]:
    """Every change in the directory `upper` over `lower`, the topmost first; parents before what is in them.

    The caller may read all of it.
    """
    opened = [os.open(place, _OPEN) for place in (upper, *lower)]
    try:
        yield from _walk(opened[0], opened[1:], "/")
    finally:
        for fd in opened:
            os.close(fd)


def _walk(directory: int, below: list[int], path: str) -> Iterator[Change]:
    for name in sorted(os.listdir(directory)):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        here = path + name
        before = _lookup(below, name)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            if before is not None:
                yield Change(DELETED, here)
            continue
        yield Change(ADDED if before is None else CHANGED, here)
        if not stat.S_ISDIR(status.st_mode):
            continue
        inner = os.open(name, _OPEN, dir_fd=directory)
        opaque = is_opaque(inner)
        under = _directories(below, name) if before is not None and stat.S_ISDIR(before.st_mode) else []
        try:
            if opaque:
                replaced = set(os.listdir(inner))
                yield from (
                    Change(DELETED, f"{here}/{gone}") for gone in sorted(_merged_names(under)) if gone not in replaced
                )
            yield from _walk(inner, under, here + "/")
        finally:
            for fd in (inner, *under):
                os.close(fd)


def _lookup(below: list[int], name: str) -> os.stat_result | None:
    """What the merged lower layers show under this name; None for nothing, or something deleted."""
    for fd in below:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        hidden = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        return None if hidden else status
    return None


def _directories(below: list[int], name: str) -> list[int]:
    """The directory of this name in each lower layer that contributes to the merged one."""
    found: list[int] = []
    for fd in below:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            break
        found.append(os.open(name, _OPEN, dir_fd=fd))
        if is_opaque(found[-1]):
            break
    return found


def _merged_names(directories: list[int]) -> set[str]:
    names: set[str] = set()
    hidden: set[str] = set()
    for fd in directories:
        for name in os.listdir(fd):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                hidden.add(name)
            elif name not in hidden:
                names.add(name)
    return names


def is_opaque(fd: int) -> bool:
    """Whether the directory hides what lower layers have in it."""
    for key in ("user.overlay.opaque", "user.fuseoverlayfs.opaque"):
        try:
            if os.getxattr(fd, key) in (b"y", b"x"):
                return True
        except OSError:
            continue
    return False


def size(directory: int) -> int:
    """The bytes of all regular files in the open directory, hard links counted once."""
    total, seen = 0, set()
    pending = [os.dup(directory)]
    while pending:
        fd = pending.pop()
        try:
            for name in os.listdir(fd):
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(os.open(name, _OPEN, dir_fd=fd))
                        continue
                except (FileNotFoundError, NotADirectoryError):
                    continue
                identity = (status.st_dev, status.st_ino)
                if stat.S_ISREG(status.st_mode) and identity not in seen:
                    total += status.st_size
                    if status.st_nlink > 1:
                        seen.add(identity)
        finally:
            os.close(fd)
    return total
