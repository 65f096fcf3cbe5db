"""`ps`: which containers to show, in which order, and how."""

from __future__ import annotations

from rootless.errors import UsageError
from toolbox.containers import described, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from toolbox.containers.record import ContainerRecord

_COLUMNS = (
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "CreatedHuman"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
)
_NAMESPACE_COLUMNS = (
    ("CONTAINER ID", "ID"),
    ("NAMES", "Names"),
    ("PID", "Pid"),
    *((kind.upper(), kind.upper()) for kind in ("cgroupns", "ipc", "mnt", "net", "pidns", "userns", "uts")),
)
_LIVE = ("running", "paused", "restarting")


def show(
    *,
    all: bool,  # noqa: A002 - the option's name
    last: str,
    latest: bool,
    no_trunc: bool,
    quiet: bool,
    size: bool,
    filters: list[str] | None,
    format: str,  # noqa: A002 - the option's name
    sort: str,
    noheading: bool,
    namespaces: bool,
    watch: str,
) -> int:
    """`ps`."""
    if watch:
        return _again_and_again(watch, locals())
    containers = _chosen(all=all, last=last, latest=latest, filters=filters)
    if sort:
        containers = _sorted(containers, sort)
    if quiet and not format:
        for container in containers:
            print(container.id if no_trunc else container.id[:12])
        return 0
    from toolbox import listing

    rows = [described.row(container, whole=no_trunc, size=size) for container in containers]
    columns: tuple[tuple[str, str], ...] = _COLUMNS
    if namespaces:
        columns = _NAMESPACE_COLUMNS
        rows = [{**row, **_namespace_ids(row["Pid"])} for row in rows]
    elif size:
        columns = (*_COLUMNS, ("SIZE", "Size"))
    listing.show(
        rows,
        columns=columns,
        format=format,
        quiet="ID" if quiet else None,
        noheading=noheading,
        json_rows=[described.json_row(container, size=size) for container in containers] if format == "json" else None,
    )
    return 0


def _again_and_again(watch: str, given: dict[str, object]) -> int:
    import time

    if not watch.isdecimal() or int(watch) < 1:
        raise UsageError(f'--watch takes a number of seconds, not "{watch}"')
    given["watch"] = ""
    while True:
        print("\x1b[2J\x1b[H", end="")
        show(**given)  # type: ignore[arg-type] # the very arguments it was called with
        time.sleep(int(watch))


def _chosen(*, all: bool, last: str, latest: bool, filters: list[str] | None) -> list[ContainerRecord]:  # noqa: A002
    found = store.everything()
    if latest or last:
        if last and (not last.lstrip("-").isdecimal()):
            raise UsageError(f'--last takes a number, not "{last}"')
        count = 1 if latest else int(last)
        return found[:count] if count >= 0 else found
    if filters:
        from toolbox.containers import selection

        by_state = any(text.partition("=")[0] in ("status", "exited", "id", "name") for text in filters)
        found = selection.matching(found, filters)
        all = all or (by_state and any(text.partition("=")[0] in ("status", "exited") for text in filters))  # noqa: A001
    if not all:
        found = [container for container in found if store.status(container).state in _LIVE]
    return found


def _sorted(containers: list[ContainerRecord], by: str) -> list[ContainerRecord]:
    keys = {
        "created": lambda one: -one.created,
        "command": lambda one: one.arguments,
        "id": lambda one: one.id,
        "image": lambda one: one.image,
        "names": lambda one: one.name,
        "runningfor": lambda one: store.status(one).started_at,
        "status": lambda one: store.status(one).state,
        "size": _size,
    }
    if by not in keys:
        raise UsageError(f'--sort takes one of {", ".join(sorted(keys))}, not "{by}"')
    return sorted(containers, key=keys[by])


def _size(container: ContainerRecord) -> int:
    from toolbox.containers import sizes_on_disk

    return sizes_on_disk.of(container)[0]


def _namespace_ids(pid: int) -> dict[str, str]:
    import os

    found = {}
    names = {
        "CGROUPNS": "cgroup",
        "IPC": "ipc",
        "MNT": "mnt",
        "NET": "net",
        "PIDNS": "pid",
        "USERNS": "user",
        "UTS": "uts",
    }
    for column, name in names.items():
        try:
            found[column] = os.readlink(f"/proc/{pid}/ns/{name}").partition("[")[2].rstrip("]")
        except OSError:
            found[column] = ""
    return found
