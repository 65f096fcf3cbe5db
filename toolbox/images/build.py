"""Images made here: from a container's changes, or from an archive. A layer first, then the two documents, then the name."""

from __future__ import annotations

import datetime
import io
import json
import os

from fuse_overlay import layout, oci, unpacker
from rootless import userns
from rootless.errors import InvalidDocument
from rootless.record import record
from toolbox import reference
from toolbox.images import instructions, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO


@record
class Settings:
    """What the image says of itself besides its files; `platform` is (os, architecture, variant), "" for this machine's."""

    changes: tuple[str, ...] = ()
    author: str = ""
    message: str = ""
    platform: tuple[str, str, str] = ("", "", "")
    created_by: str = ""


def make_layer(fill: Callable[[int], None], media_type: str = oci.OCI_LAYER) -> tuple[str, int]:
    """A layer of what `fill` writes to a pipe; its diff id and the bytes of its plain tar.

    `fill` runs in the caller's process, the unpacking as root of the user namespace. Raises PtbError.
    """
    read_end, write_end = os.pipe()
    result_read, result_write = os.pipe()
    made: list[str] = []

    def unpack() -> None:
        os.close(write_end)
        with open(read_end, "rb", buffering=0) as source:
            diff_id, size = unpacker.make_layer(stored.store(), source, media_type)
        os.write(result_write, f"{diff_id} {size}".encode())

    def feed() -> None:
        os.close(read_end)
        os.close(result_write)
        try:
            fill(write_end)
        finally:
            os.close(write_end)
        with open(result_read, encoding="ascii") as stream:
            made.extend(stream.read().split())

    userns.run_mapped(unpack, meanwhile=feed)
    return made[0], int(made[1])


def name_of(text: str) -> str:
    """The full name that a new image gets: `localhost/` is where those made here are."""
    if not text:
        return ""
    parsed = reference.parse(text)
    if parsed.digest:
        raise InvalidDocument(f'"{text}": an image that is being made has no digest yet')
    return str((parsed if parsed.registry else parsed.at("localhost", parsed.repository)).full())


def add(
    name: str,
    base: dict[str, Any],
    base_layers: list[dict[str, Any]],
    diff_id: str,
    size: int,
    settings: Settings,
    *,
    media_type: str = oci.OCI_MANIFEST,
) -> str:
    """Write an image of the base's layers and one more, and name it; returns its id. `base` is a whole configuration.

    Without a name it gets its id as one, as docker's images without a tag.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
    config = dict(base.get("config") or {})
    for change in settings.changes:
        instructions.apply(config, change)
    host = oci.host_platform()
    document = {
        key: value for key, value in base.items() if key not in ("id", "container", "container_config", "parent")
    }
    document |= {
        "created": now,
        "architecture": settings.platform[1] or base.get("architecture") or host.architecture,
        "os": settings.platform[0] or base.get("os") or "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [*(base.get("rootfs") or {}).get("diff_ids", ()), diff_id]},
        "history": [*(base.get("history") or ()), _history(now, settings)],
    }
    variant = settings.platform[2] or base.get("variant") or ("" if settings.platform[1] else host.variant)
    if variant:
        document["variant"] = variant
    if settings.author:
        document["author"] = settings.author
    config_text = json.dumps(document, separators=(",", ":")).encode()
    docker = media_type == oci.DOCKER_MANIFEST
    config_type = oci.DOCKER_CONFIG if docker else oci.OCI_CONFIG
    layer_type = oci.DOCKER_LAYER if docker else oci.OCI_LAYER
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(config_type, _digest(config_text), len(config_text)),
        "layers": [*base_layers, _descriptor(layer_type, diff_id, size)],
    }
    text = json.dumps(manifest, separators=(",", ":")).encode()
    image_id = _digest(config_text)
    layout.add(stored.store(), name or f"localhost/none@{_digest(text)}", media_type, text, config_text)
    return image_id


def _history(now: str, settings: Settings) -> dict[str, Any]:
    found = {"created": now, "created_by": settings.created_by, "author": settings.author, "comment": settings.message}
    return {key: value for key, value in found.items() if value}


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _digest(data: bytes) -> str:
    from fuse_overlay import digest

    return digest.of(data)


def from_archive(stream: BinaryIO, name: str, settings: Settings) -> str:
    """An image of one layer, which an archive is: plain, gzip or zstd. Returns its id."""
    full = name_of(name)
    for change in settings.changes:
        instructions.apply({}, change)
    head = stream.read(4)
    media_type = oci.OCI_LAYER
    if head[:2] == b"\x1f\x8b":
        media_type = oci.OCI_LAYER_GZIP
    elif head == b"\x28\xb5\x2f\xfd":
        media_type = oci.OCI_LAYER_ZSTD

    def fill(pipe: int) -> None:
        with open(pipe, "wb", buffering=0, closefd=False) as out:
            _copy(io.BytesIO(head), out)
            _copy(stream, out)

    with stored.keeping_layers():
        diff_id, size = make_layer(fill, media_type)
        return add(full, {}, [], diff_id, size, settings).partition(":")[2]


def _copy(source: BinaryIO, target: io.FileIO) -> None:
    while data := source.read(1 << 20):
        view = memoryview(data)
        while view:
            try:
                view = view[target.write(view) :]
            except BrokenPipeError:
                return  # the unpacker gave up and says why
