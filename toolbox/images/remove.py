"""Removing images: their names, and then whatever no image and no box refers to any more."""

from __future__ import annotations

import functools

from fuse_overlay import layers, layout
from rootless import userns
from rootless.errors import InUse, NotFound, UsageError
from toolbox.boxes import store as boxes
from toolbox.boxes.store import BoxRecord
from toolbox.containers import store as containers
from toolbox.containers.record import ContainerRecord
from toolbox.images import stored
from toolbox.images.stored import StoredImage


def remove(names: list[str], *, all: bool, force: bool) -> int:  # noqa: A002 - the option's name
    """Remove the images by name or id, or all; prints what is gone.

    A name of an image that has others is only taken off it. An image that a box was made from is removed with its boxes
    if `force`, else InUse is raised. Nothing is removed if any of the names is unknown (NotFound) or in use.
    """
    if not names and not all:
        raise UsageError("name the images to remove, or use --all")
    images = stored.everything()
    chosen: dict[str, StoredImage] = {}
    if all:
        chosen = {name: image for image in images for name in image.names}
    for text in names:
        chosen |= named(images, text)
    records: list[BoxRecord | ContainerRecord] = [*boxes.all_records(), *containers.everything()]
    doomed: list[BoxRecord | ContainerRecord] = []
    for image in images:
        if not _wholly(image, chosen):
            continue
        users = [one for one in records if one.image_digest == image.digest]
        if users and not force:
            kind = "box" if isinstance(users[0], BoxRecord) else "container"
            raise InUse(
                f'image "{image.names[0]}" is used by {kind} "{users[0].name}"',
                hint=f"ptb rm {users[0].name} first, or use --force",
            )
        doomed += users
    for one in doomed:
        if isinstance(one, BoxRecord):
            from toolbox.boxes import remove as boxes_remove

            boxes_remove.remove([one.name], all=False, force=True)
        else:
            from toolbox.containers import remove as containers_remove

            containers_remove.remove_one(one, force=True, seconds=0)
            print(one.name)
    for name in chosen:
        if layout.untag(stored.store(), name):
            print(f"untagged: {name}")
    collect()
    for image in images:
        if _wholly(image, chosen) and image.image is not None:
            print(f"deleted: {image.image.manifest.config.digest}")
    return 0


def collect() -> None:
    """Remove the layers that no image, box or container refers to, and what killed pulls left, unless some are being added."""
    place = stored.store()
    with stored.removing_layers() as alone:
        if not alone:
            return
        used = {diff_id for box in boxes.all_records() for diff_id in box.layers}
        used.update(diff_id for container in containers.everything() for diff_id in container.layers)
        for item in stored.everything():
            if item.image is not None:
                used.update(item.image.config.diff_ids)
        unused = layers.unused(place, used)
        if unused or layers.unfinished(place):
            userns.run_mapped(functools.partial(_remove_layers, place, unused))


def _remove_layers(place: str, unused: list[str]) -> None:
    for diff_id in unused:
        layers.remove(place, diff_id)
    layers.sweep(place)


def named(images: list[StoredImage], text: str) -> dict[str, StoredImage]:
    """The name that is meant, or every name of the image with this id."""
    by_id = [image for image in images if _has_id(image, text)]
    if len(by_id) == 1:
        return dict.fromkeys(by_id[0].names, by_id[0])
    if by_id:
        raise NotFound(f'"{text}" is the beginning of {len(by_id)} image ids', hint="ptb images")
    for name in stored.local_names(text):
        for image in images:
            if name in image.names:
                return {name: image}
    raise NotFound(f'image "{text}" does not exist', hint="ptb images")


def _has_id(image: StoredImage, text: str) -> bool:
    start = text.removeprefix("sha256:")
    ids = [image.digest] + ([image.image.manifest.config.digest] if image.image is not None else [])
    return len(start) >= 3 and any(found.partition(":")[2].startswith(start) for found in ids)


def _wholly(image: StoredImage, chosen: dict[str, StoredImage]) -> bool:
    """Whether every name of the image is among the chosen."""
    return not set(image.names) - chosen.keys()
