"""`ptb images`: the images that are here."""

from __future__ import annotations

import datetime

from toolbox import output
from toolbox.images import stored
from toolbox.images.stored import StoredImage


def show(*, format: str, quiet: bool) -> int:  # noqa: A002 - the option's name
    """Print the images, newest first, as a table, as JSON, or with `quiet` their ids only."""
    images = sorted(stored.everything(), key=_created, reverse=True)
    if quiet:
        for image in images:
            print(_id(image)[:12])
    elif output.check_format(format) == "json":
        output.print_json([_described(image) for image in images])
    else:
        rows = []
        for image in images:
            created = output.age(_created(image)) if _created(image) else ""
            size = output.size(stored.size(image.image)) if image.image is not None else "damaged"
            rows += [(*_split(name), _id(image)[:12], created, size) for name in image.names]
        output.print_table(("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"), rows)
    return 0


def _described(image: StoredImage) -> dict[str, object]:
    if image.image is None:
        return {"id": "", "names": list(image.names), "digest": image.digest, "damaged": True}
    config = image.image.config
    return {
        "id": _id(image),
        "names": list(image.names),
        "digest": image.digest,
        "created": config.created,
        "size": stored.size(image.image),
        "layers": list(config.diff_ids),
        "os": config.os,
        "architecture": config.architecture,
    }


def _id(image: StoredImage) -> str:
    """The digest of the configuration, as docker and podman have it; empty for an image whose documents are damaged."""
    return "" if image.image is None else image.image.manifest.config.digest.partition(":")[2]


def _split(name: str) -> tuple[str, str]:
    """Repository and tag; an image known by digest has no tag."""
    name, at, _digest = name.partition("@")
    repository, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return repository, tag
    return name, "<none>" if at else "latest"


def _created(image: StoredImage) -> int:
    """Seconds since 1970; 0 when the configuration does not say, or says nonsense."""
    if image.image is None:
        return 0
    try:
        return int(datetime.datetime.fromisoformat(image.image.config.created).timestamp())
    except (ValueError, OverflowError):
        return 0
