"""What `inspect` says of an image, in podman's fields."""

from __future__ import annotations

import json

from rootless.errors import NotFound
from toolbox.images import remove, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toolbox.images.stored import StoredImage


def find(text: str) -> StoredImage | None:
    """The stored image with this name or id."""
    try:
        chosen = remove.named(stored.everything(), text)
    except NotFound:
        return None
    return next(iter(chosen.values()), None)


def document(found: StoredImage) -> dict[str, Any]:
    """The image, in the fields of `podman image inspect`."""
    image = found.image
    if image is None:
        return {"Id": "", "Digest": found.digest, "RepoTags": list(found.names), "Damaged": True}
    raw = json.loads(image.config.raw)
    tags = [name for name in found.names if "@" not in name]
    repositories = dict.fromkeys(name.partition("@")[0].rpartition(":")[0] for name in found.names)
    return {
        "Id": image.manifest.config.digest.partition(":")[2],
        "Digest": found.digest,
        "RepoTags": tags,
        "RepoDigests": [f"{repository}@{found.digest}" for repository in repositories],
        "Parent": "",
        "Comment": (raw.get("history") or [{}])[-1].get("comment", ""),
        "Created": image.config.created,
        "Config": raw.get("config") or {},
        "Version": "",
        "Author": raw.get("author", ""),
        "Architecture": image.config.architecture,
        "Os": image.config.os,
        "Size": stored.size(image),
        "VirtualSize": stored.size(image),
        "RootFS": {"Type": "layers", "Layers": list(image.config.diff_ids)},
        "Labels": (raw.get("config") or {}).get("Labels"),
        "Annotations": {},
        "ManifestType": image.manifest.media_type,
        "User": image.config.user,
        "History": raw.get("history") or [],
        "NamesHistory": list(found.names),
    }
