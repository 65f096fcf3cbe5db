"""Removing boxes, and clearing what an interrupted creation or removal left.

A box is given up in this order, each step safe to repeat: its processes end, its name goes, its directory is renamed
to `.removing-ID`, its files go. They belong to subordinate ids, so they are removed inside the user namespace.
"""

from __future__ import annotations

from rootless import paths as confined
from rootless import processes, userns
from rootless import system as os
from rootless.errors import InUse, NotFound, UsageError
from rootless.joiner import NAMESPACE_FD
from toolbox import names as shared_names
from toolbox.boxes import store
from toolbox.boxes.store import BoxRecord

_REMOVING = ".removing-"


def remove(names: list[str], *, all: bool, force: bool) -> int:  # noqa: A002 - the option's name
    """Remove the named boxes, or all; with `force` even while commands run in them. Prints each name.

    Raises NotFound before anything is removed if a name is unknown, InUse for a box that is in use.
    """
    if not names and not all:
        raise UsageError("name the boxes to remove, or use --all")
    boxes = store.all_records() if all else []
    for name in names:
        box = store.find(name)
        if box is None:
            if force:
                continue
            raise NotFound(f'box "{name}" does not exist', hint="ptb list")
        if box not in boxes:
            boxes.append(box)
    for box in boxes:
        remove_one(box, force=force)
        print(box.name)
    sweep()
    return 0


def remove_one(box: BoxRecord, *, force: bool) -> None:
    """Remove one box; that it has gone meanwhile is no error. Raises InUse."""
    lock = store.lock(box.id)
    if lock is None:
        return
    try:
        _end(box, force=force)
        shared_names.release(box.name)
        os.rename(store.directory(box.id), f"{store.containers()}/{_REMOVING}{box.id}")
        _remove_directories([f"{_REMOVING}{box.id}"])
    finally:
        os.close(lock)


def _end(box: BoxRecord, *, force: bool) -> None:
    running = store.read_state(store.directory(box.id))
    if running is None:
        return
    state, anchor = running
    try:
        inode = os.stat(f"/proc/{state.anchor_pid}/fd/{NAMESPACE_FD}").st_ino
        users = processes.in_mount_namespace(inode)
        if users and not force:
            pid, command = users[0]
            raise InUse(
                f'box "{box.name}" is in use by {command} (pid {pid})', hint=f"leave it, or ptb rm --force {box.name}"
            )
        while users:
            for pid, _command in users:
                started = processes.start_time(pid)
                user = None if started is None else processes.open_process(pid, started)
                if user is not None:
                    processes.kill_and_wait(user)
                    os.close(user)
            users = processes.in_mount_namespace(inode)
        processes.kill_and_wait(anchor)
    finally:
        os.close(anchor)


def _remove_directories(names: list[str]) -> None:
    place = store.containers()

    def task() -> None:
        parent = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in names:
            confined.remove_tree(parent, name)
        os.close(parent)

    userns.run_mapped(task)


def sweep() -> None:
    """Remove the directories of boxes whose creation or removal was cut short. One that is locked is being worked on."""
    import fcntl

    try:
        entries = os.listdir(store.containers())
    except FileNotFoundError:
        return
    named = {shared_names.id_of(name) for name in shared_names.all_names()}
    left, locks = [], []
    for entry in entries:
        if entry in named:
            continue
        try:
            lock = os.open(f"{store.containers()}/{entry}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if entry in {shared_names.id_of(name) for name in shared_names.all_names()}:
            os.close(lock)
            continue
        left.append(entry)
        locks.append(lock)
    if left:
        _remove_directories(left)
    for lock in locks:
        os.close(lock)
