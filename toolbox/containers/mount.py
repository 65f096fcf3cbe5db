"""`mount` and `unmount`: a container's root file system, seen from the host.

An ordinary user's mounts are seen only in that user's own namespaces. What is printed is the way in through the container
itself while it runs; one that does not run has no such way, and the error says what to do instead.
"""

from __future__ import annotations

from rootless.errors import HostUnfit
from toolbox import output
from toolbox.containers import lifecycle, store, verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.containers.record import ContainerRecord


def mount(names: list[str], *, all: bool, format: str, latest: bool, no_trunc: bool) -> int:  # noqa: A002
    """`mount`: prints a path for each; without names, what is mounted."""
    if not names and not all and not latest:
        found = [container for container in store.everything() if store.status(container).pid]
        if format == "json":
            output.print_json([{"id": one.id, "Mountpoint": _path(one)} for one in found])
        else:
            for container in found:
                print(f"{container.id if no_trunc else container.id[:12]}  {_path(container)}")
        return 0
    return lifecycle.each(verbs.chosen(names, all=all, latest=latest), _path)


def _path(container: ContainerRecord) -> str:
    pid = store.status(container).pid
    if not pid:
        raise HostUnfit(
            f'container "{container.name}" does not run: an ordinary user cannot mount its files where the host sees them',
            hint=f"ptb cp {container.name}:/PATH ., ptb export {container.name}, or ptb start {container.name} first",
        )
    return f"/proc/{pid}/root"


def unmount(names: list[str], *, all: bool, force: bool, latest: bool) -> int:  # noqa: A002
    """`unmount`: there is nothing to undo; prints the ids, as podman does."""
    return lifecycle.each(verbs.chosen(names, all=all, latest=latest), lambda container: container.id)
