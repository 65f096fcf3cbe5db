"""How much room a container takes: what it has written, and that with its image."""

from __future__ import annotations

import os

from fuse_overlay import changes, layers
from rootless import userns
from toolbox import paths
from toolbox.containers import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.containers.record import ContainerRecord


def of(container: ContainerRecord) -> tuple[int, int]:
    """(bytes written, bytes with the image)."""
    read_end, write_end = os.pipe()
    said: list[bytes] = []

    def measure() -> None:
        directory = os.open(f"{store.directory(container.id)}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.write(write_end, b"%d" % changes.size(directory))

    def read() -> None:
        os.close(write_end)
        said.append(os.read(read_end, 64))
        os.close(read_end)

    userns.run_mapped(measure, meanwhile=read)
    written = int(said[0] or 0)
    return written, written + sum(layers.size(paths.data_home(), layer) for layer in set(container.layers))
