"""Removing containers: `rm`, `container prune`, and what `--rm` does at the end."""

from __future__ import annotations

import os

from rootless import paths as confined
from rootless import userns
from rootless.errors import InUse, PtbError
from toolbox import names
from toolbox.containers import store, volumes
from toolbox.containers.record import ContainerRecord

_REMOVING = ".removing-"


def forget(container: ContainerRecord, *, volumes: bool) -> None:
    """Remove a container that does not run: its name, then its directory; as root of the user namespace."""
    names.release(container.name)
    going = f"{_REMOVING}{container.id}"
    os.rename(store.directory(container.id), f"{names.containers()}/{going}")
    store.forget(going)
    _remove_runtime_directory(container)
    if volumes:
        _remove_anonymous(container)


def _remove_runtime_directory(container: ContainerRecord) -> None:
    place = store.runtime_directory(container.id)
    parent = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confined.remove_tree(parent, container.id)
    except FileNotFoundError:
        pass
    finally:
        os.close(parent)


def _remove_anonymous(container: ContainerRecord) -> None:
    for mount in container.mounts:
        if mount.kind == "volume" and mount.anonymous:
            used = any(mount.name == other.name for one in store.everything() for other in one.mounts)
            if not used:
                try:
                    volumes.remove(mount.name)
                except PtbError:
                    continue
