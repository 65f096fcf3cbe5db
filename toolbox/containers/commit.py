"""`commit`: an image of a container's changes.

The changes are one more layer on the container's own: packed as the image specification has it and unpacked into the
store in one pass through a pipe, while a container that runs is held still.
"""

from __future__ import annotations

import json
import os

from fuse_overlay import layout, oci, tarwrite
from rootless import runtime, userns
from rootless.errors import HostUnfit, PtbError, UsageError
from toolbox.containers import store
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def commit(
    name: str,
    image: str | None,
    *,
    author: str,
    change: list[str] | None,
    format: str,  # noqa: A002 - the option's name
    iidfile: str,
    message: str,
    pause: str,
    quiet: bool,
    squash: bool,
) -> int:
    """`commit`: prints the new image's id."""
    from toolbox.images import build

    if format not in ("", "oci", "docker"):
        raise UsageError(f'--format takes oci or docker, not "{format}"')
    container = store.need(name)
    if container.rootfs:
        raise UsageError(f'container "{container.name}" was not made from an image: use export and import')
    settings = build.Settings(
        changes=tuple(change or ()),
        author=author,
        message=message,
        created_by=" ".join(container.arguments),
    )
    media_type = oci.DOCKER_MANIFEST if format == "docker" else oci.OCI_MANIFEST
    full = build.name_of(image or "")
    base, layers = _base(container)
    base["config"] = _config(container, base.get("config") or {})
    held = store.lock(container)
    try:
        with _held_still(container, pause.lower() not in ("false", "0", "f")), _keeping():
            if squash:
                base, layers = {**base, "rootfs": {"type": "layers", "diff_ids": []}, "history": []}, []
            diff_id, size = _whole_layer(container) if squash else _layer(container)
            image_id = build.add(full, base, layers, diff_id, size, settings, media_type=media_type)
    finally:
        os.close(held)
    if iidfile:
        with open(iidfile, "w", encoding="ascii") as stream:
            stream.write(image_id)
    print(image_id.partition(":")[2])
    return 0


def _keeping() -> Any:
    from toolbox.images import stored

    return stored.keeping_layers()


def _layer(container: ContainerRecord) -> tuple[str, int]:
    """The container's changes as a layer."""
    from toolbox.images import build

    upper = f"{store.directory(container.id)}/upper"

    def fill(pipe: int) -> None:
        def pack() -> None:
            directory = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with open(pipe, "wb", buffering=1 << 20, closefd=False) as stream:
                tarwrite.write_tree(directory, stream.write, layer=True)
                tarwrite.end(stream.write)

        userns.run_mapped(pack)

    return build.make_layer(fill)


def _whole_layer(container: ContainerRecord) -> tuple[str, int]:
    """Everything that is in the container as one layer."""
    from toolbox.containers import filesystem
    from toolbox.images import build

    def fill(pipe: int) -> None:
        def pack(root: int) -> None:
            with open(pipe, "wb", buffering=1 << 20, closefd=False) as stream:
                tarwrite.write_tree(root, stream.write, one_file_system=True)
                tarwrite.end(stream.write)

        filesystem.visit(container, pack, with_mounts=False)

    return build.make_layer(fill)


def _base(container: ContainerRecord) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration of the image the container was made from, and its layers' descriptors."""
    from toolbox.images import stored

    place = stored.store()
    try:
        manifest = json.loads(layout.get_blob(place, container.image_digest))
        config = json.loads(layout.get_blob(place, container.image_id))
    except PtbError:
        # The image is gone; its layers are the container's, and here.
        from fuse_overlay import layers

        described = [
            {"mediaType": oci.OCI_LAYER, "digest": layer, "size": layers.size(place, layer)}
            for layer in container.layers
        ]
        return {"rootfs": {"type": "layers", "diff_ids": list(container.layers)}}, described
    return config, manifest["layers"]


def _config(container: ContainerRecord, image: dict[str, Any]) -> dict[str, Any]:
    """The image's `config` section, as the container has it."""
    found = dict(image)
    found["Env"] = list(container.environment)
    found["Cmd"] = list(container.command)
    found["Entrypoint"] = list(container.entrypoint) or None
    found["WorkingDir"] = container.directory
    found["User"] = container.user
    found["Labels"] = dict(container.labels) or None
    if container.network.exposed:
        found["ExposedPorts"] = {port: {} for port in container.network.exposed}
    return {key: value for key, value in found.items() if value is not None}


class _held_still:  # noqa: N801 # used as a context manager
    """Pause a running container meanwhile; where it cannot be paused, it goes on, as the option's help says of rootless."""

    def __init__(self, container: ContainerRecord, wanted: bool) -> None:
        self._container = container
        self._wanted = wanted
        self._paused = False

    def __enter__(self) -> None:
        if self._wanted and store.status(self._container).state == "running" and not store.is_paused(self._container):
            try:
                runtime.pause(store.runtime_root(), self._container.id)
            except HostUnfit:
                return
            self._paused = True

    def __exit__(self, *_error: object) -> None:
        if self._paused:
            runtime.pause(store.runtime_root(), self._container.id, resume=True)
