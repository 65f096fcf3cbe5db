"""`diff`: what was added to a container, changed and deleted."""

from __future__ import annotations

import os

from fuse_overlay import changes
from rootless import userns
from toolbox import paths
from toolbox.containers import store
from toolbox.containers.record import ContainerRecord

_WORDS = {changes.ADDED: "added", changes.CHANGED: "changed", changes.DELETED: "deleted"}


def show(name: str | None, *, format: str, latest: bool) -> int:  # noqa: A002 - the option's name
    """`diff`: lines of A, C or D and a path, or JSON."""
    container = store.newest() if latest else store.need(name or "")
    found = of(container)
    if format == "json":
        from toolbox import output

        by_word = {word: [path for kind, path in found if kind == key] for key, word in _WORDS.items()}
        output.print_json(by_word)
    else:
        for kind, path in found:
            print(kind, path)
    return 0


def of(container: ContainerRecord) -> list[tuple[str, str]]:
    """The (kind, path) of every change, read as root of the user namespace."""
    read_end, write_end = os.pipe()
    place = paths.data_home()
    lower = tuple(f"{place}/layers/{layer.partition(':')[2]}/diff" for layer in reversed(container.layers))
    found: list[tuple[str, str]] = []

    def task() -> None:
        with open(write_end, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.writelines(
                f"{change.kind}{change.path}\0"
                for change in changes.changes(f"{store.directory(container.id)}/upper", lower)
            )

    def read() -> None:
        os.close(write_end)
        with open(read_end, encoding="utf-8", errors="surrogateescape") as stream:
            found.extend((entry[0], entry[1:]) for entry in stream.read().split("\0") if entry)

    userns.run_mapped(task, meanwhile=read)
    return found
