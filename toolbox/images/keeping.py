"""The lock that keeps layers which nothing refers to yet from being removed: shared by who adds, exclusive for who removes."""

from __future__ import annotations

import fcntl

from rootless import system as os
from toolbox import paths


def open_layers() -> int:
    """The directory of all layers, which carries the lock."""
    directory = f"{paths.data_home()}/layers"
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def layers() -> int:
    """Take the lock shared; it is held until the descriptor is closed."""
    fd = open_layers()
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd
