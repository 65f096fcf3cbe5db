"""The images on this machine: looking one up by any of its names, and keeping its layers while they are being used.

Reference counts are not stored: what is used is found by looking at the names, at the manifests and at the boxes.
Whoever adds images, or makes something that uses their layers, holds a shared lock on the layers directory; whoever
removes layers that nothing uses holds it exclusively.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from fuse_overlay import layers, layout, oci
from rootless.errors import IntegrityError, InvalidDocument, NotFound
from rootless.record import record
from toolbox import paths, reference
from toolbox.images import keeping
from toolbox.registry import registries_conf


@record
class StoredImage:
    """An image with every name it has here; `image` is None where its documents are damaged on disk."""

    names: tuple[str, ...]
    digest: str
    image: oci.Image | None


def store() -> str:
    """The directory that holds images and layers."""
    return paths.data_home()


def find(text: str) -> oci.Image | None:
    """The stored image that a reference, short or full, means; None if it is not here or not all of its layers are.

    Raises InvalidDocument for what is no reference.
    """
    for name in local_names(text):
        try:
            image = layout.load(store(), name)
        except (NotFound, IntegrityError):
            continue  # damaged on disk; pulling it again mends that
        if image is not None and all(layers.present(store(), diff_id) for diff_id in image.config.diff_ids):
            return image
    return None


def local_names(text: str) -> list[str]:
    """The full names that a reference may have here, in the order to look: built ones (`localhost/`) first."""
    asked = reference.parse(text)
    candidates = registries_conf.candidates(registries_conf.load(), asked)
    if not asked.registry:
        candidates.insert(0, asked.at("localhost", asked.repository).full())
    return [str(candidate) for candidate in candidates]


def everything() -> list[StoredImage]:
    """Every image here, in the order of its first name."""
    by_digest: dict[str, list[str]] = {}
    for name, digest in sorted(layout.names(store())):
        by_digest.setdefault(digest, []).append(name)
    found = []
    for digest, names in by_digest.items():
        try:
            image = layout.load(store(), names[0])
        except (NotFound, IntegrityError, InvalidDocument):
            image = None
        found.append(StoredImage(tuple(names), digest, image))
    return found


@contextlib.contextmanager
def keeping_layers() -> Iterator[None]:
    """While inside, no layer is removed that nothing refers to yet (several may be inside at once)."""
    fd = keeping.layers()
    try:
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def removing_layers() -> Iterator[bool]:
    """Gives True when unused layers may be removed inside, False when somebody is adding some just now."""
    fd = keeping.open_layers()
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def size(image: oci.Image) -> int:
    """Bytes of the image's layers as plain tars; a layer that stands in it twice counts once."""
    return sum(layers.size(store(), diff_id) for diff_id in set(image.config.diff_ids))
