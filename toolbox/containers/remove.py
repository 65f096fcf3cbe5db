"""Removing containers: `rm`, `container prune`, and what `--rm` does at the end."""

from __future__ import annotations

import fcntl
import sys

from rootless import paths as confined
from rootless import system as os
from rootless import userns
from rootless.errors import InUse, NotFound, PtbError
from toolbox import names
from toolbox.containers import events, store
from toolbox.containers.record import ContainerRecord

_REMOVING = ".removing-"


def remove(
    wanted: list[str],
    *,
    all: bool,  # noqa: A002 - the option's name
    force: bool,
    volumes: bool,
    ignore: bool,
    time: str,
    latest: bool,
    depend: bool,
    cidfile: list[str] | None,
    filters: list[str] | None,
) -> int:
    """`rm`: containers, and boxes that are named. Nothing is removed if one of the names is nobody's."""
    from toolbox.containers import lifecycle, verbs

    boxes = [name for name in wanted if names.id_of(name, names.BOX) is not None]
    others = [name for name in wanted if name not in boxes]
    if others or all or latest or cidfile or filters or not boxes:
        _refuse_unknown(others, ignore=ignore or force)
        containers = verbs.chosen(
            others, all=all, latest=latest, ignore=ignore or force, cidfile=cidfile, filters=filters
        )
    else:
        containers = []
    if boxes:
        from toolbox.boxes import remove as box_removal

        box_removal.remove(boxes, all=False, force=force)
    if depend:
        containers = [*containers, *_dependent(containers)]
    wait_for = verbs.seconds(time, "--time")

    def work(container: ContainerRecord) -> str:
        remove_one(container, force=force, with_volumes=volumes, seconds=wait_for)
        return container.id if all or latest else container.name

    return _then_sweep(lifecycle.each(containers, work))


def _then_sweep(status: int) -> int:
    """Clear what a creation or a removal left that was cut short."""
    from toolbox.boxes import remove as box_removal

    box_removal.sweep()
    return status


def _refuse_unknown(wanted: list[str], *, ignore: bool) -> None:
    for name in wanted:
        if not ignore and store.find(name) is None:
            raise NotFound(f'"{name}" is neither a container nor a box', hint="ptb ps -a, ptb list")


def _dependent(containers: list[ContainerRecord]) -> list[ContainerRecord]:
    """The containers that share a namespace with one of these."""
    found = []
    ids = {container.id for container in containers}
    for other in store.everything():
        uses = [(use.mode, use.value) for use in (other.pid, other.ipc, other.uts, other.cgroup)]
        uses.append((other.network.mode, other.network.value))
        if other.id not in ids and any(mode == "container" and value in ids for mode, value in uses):
            found.append(other)
    return found


def remove_one(
    container: ContainerRecord, *, force: bool, with_volumes: bool = False, seconds: float | None = None
) -> None:
    """Remove one container; with `force` it is stopped first. Raises InUse; that it has gone meanwhile is no error."""
    if force:
        from toolbox.containers import lifecycle

        lifecycle.stop(container, seconds=seconds)
    try:
        held = store.lock(container)
    except NotFound:
        return
    try:
        state = store.status(container).state
        if state not in ("created", "exited"):
            raise InUse(
                f'container "{container.name}" is {state} and cannot be removed',
                hint=f"ptb stop {container.name}, or ptb rm --force {container.name}",
            )
        userns.run_mapped(lambda: forget(container, with_volumes=with_volumes))
    finally:
        os.close(held)


def prune(*, force: bool, filters: list[str] | None) -> int:
    """`container prune`: asks first on a terminal."""
    from toolbox.containers import lifecycle

    if not force and sys.stdin.isatty():
        print(
            "WARNING! This will remove all non running containers.\nAre you sure you want to continue? [y/N] ", end=""
        )
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 0
    found = store.everything()
    if filters:
        from toolbox.containers import selection

        found = selection.matching(found, filters)
    stopped = [container for container in found if store.status(container).state in ("created", "exited")]

    def work(container: ContainerRecord) -> str:
        remove_one(container, force=False)
        return container.id

    return _then_sweep(lifecycle.each(stopped, work))


def forget_at_end(container: ContainerRecord) -> None:
    """What `--rm` does, in the monitor."""
    # Where somebody else has the lock they wait for this monitor; either way `sweep` sees that it is being removed.
    held = os.open(store.directory(container.id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    try:
        forget(container, with_volumes=True)
    finally:
        os.close(held)


def forget(container: ContainerRecord, *, with_volumes: bool) -> None:
    """Remove a container that does not run: its name, then its directory; as root of the user namespace."""
    names.release(container.name)
    events.note("container", "remove", container.id, container.name, Image=container.image, Attributes=container.labels)
    going = f"{_REMOVING}{container.id}"
    os.rename(store.directory(container.id), f"{names.containers()}/{going}")
    store.forget(going)
    _remove_runtime_directory(container)
    if with_volumes:
        _remove_anonymous(container)


def _remove_runtime_directory(container: ContainerRecord) -> None:
    try:
        parent = os.open(
            os.path.dirname(store.runtime_directory(container.id)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return  # nothing has run since this login began
    try:
        confined.remove_tree(parent, container.id)
    except FileNotFoundError:
        pass
    finally:
        os.close(parent)


def _remove_anonymous(container: ContainerRecord) -> None:
    for mount in container.mounts:
        if mount.kind == "volume" and mount.anonymous:
            used = any(mount.name == other.name for one in store.everything() for other in one.mounts)
            if not used:
                from toolbox.containers import volumes

                try:
                    volumes.remove(mount.name)
                except PtbError:
                    continue
