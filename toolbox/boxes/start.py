"""Starting a box that does not run: its overlay, its mounts and its anchor."""

from __future__ import annotations

import pwd

from rootless import anchor, ids, processes
from rootless import system as os
from rootless.errors import PtbError
from toolbox import __version__, paths
from toolbox.boxes import desktop, hostbox, populate, store
from toolbox.boxes.identity import Identity
from toolbox.boxes.store import BoxRecord, State


def start(box: BoxRecord) -> tuple[State, int]:
    """Start the box, unless it runs; its state and a pidfd of its anchor. The caller holds its lock.

    Raises HostUnfit, KernelError, NotFound (a volume or home that is gone).
    """
    running = store.read_state(store.directory(box.id))
    if running is not None:
        return running
    anchor.check_host()
    who = ids.subordinates()
    run_lock = _take_over(box)
    try:
        me = _identity()
        started = anchor.start(
            who,
            who.swap_maps(),
            _overlay(box, who),
            f"{store.directory(box.id)}/root",
            desktop.mounts(box, _container_env(box)),
            lambda root: populate.populate(root, box, _with_shell(root, me)),
            run_lock,
        )
    finally:
        os.close(run_lock)
    state = store.write_state(box, started.pid, started.started, paths.home())
    pidfd = processes.open_process(started.pid, started.started)
    if pidfd is None:
        raise PtbError(f'box "{box.name}" stopped as soon as it had started', hint=f"see {_log(box)}")
    return state, pidfd


def _identity() -> Identity:
    import grp

    uid, gid = os.getuid(), os.getgid()
    try:
        entry = pwd.getpwuid(uid)
        name, gecos, shell = entry.pw_name, entry.pw_gecos, entry.pw_shell
    except KeyError:
        name, gecos, shell = os.environ.get("USER") or f"user{uid}", "", "/bin/sh"
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = name
    return Identity(name, uid, group, gid, gecos.replace(":", " "), paths.home(), shell)


def _with_shell(root: int, who: Identity) -> Identity:
    shell = populate.choose_shell(root, who.shell)
    return Identity(who.name, who.uid, who.group, who.gid, who.gecos, who.home, shell)


def _overlay(box: BoxRecord, who: ids.Subordinates) -> anchor.Overlay:
    """fuse-overlayfs's options; all paths but the host's root are relative to the store, so that they stay short."""
    uid_ranges, gid_ranges = list(who.uid_ranges), list(who.gid_ranges)
    if hostbox.is_host(box):
        hostbox.prepare(f"{store.directory(box.id)}/upper", who.swap_maps())
        lower = "/"
        mapping = (ids.host_mapping(who.uid, uid_ranges), ids.host_mapping(who.gid, gid_ranges))
    else:
        layers = [f"layers/{digest.partition(':')[2]}/diff" for digest in reversed(box.layers)]
        lower = ":".join(layers) or f"containers/{box.id}/root"
        mapping = (ids.overlay_mapping(who.uid, uid_ranges), ids.overlay_mapping(who.gid, gid_ranges))
    own = f"containers/{box.id}"
    options = f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work"
    return anchor.Overlay(paths.data_home(), f"{options},uidmapping={mapping[0]},gidmapping={mapping[1]}", _log(box))


def _log(box: BoxRecord) -> str:
    return f"{store.directory(box.id)}/overlay.log"


def _container_env(box: BoxRecord) -> str:
    """The text of /run/.containerenv, as podman writes it."""
    fields = {
        "engine": f"ptb-{__version__}",
        "name": box.name,
        "id": box.id,
        "image": box.image,
        "imageid": box.image_digest,
    }
    return "".join(f'{key}="{value}"\n' for key, value in fields.items()) + "rootless=1\n"


def _take_over(box: BoxRecord) -> int:
    """The lock that an anchor holds as long as it lives; an anchor that nobody knows of is ended first.

    Such a one is left when ptb is killed between starting it and noting so.
    """
    import fcntl

    fd = os.open(f"{store.directory(box.id)}/work", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        for pid in anchors_of(box):
            started = processes.start_time(pid)
            pidfd = None if started is None else processes.open_process(pid, started)
            if pidfd is not None:
                processes.kill_and_wait(pidfd)
                os.close(pidfd)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def anchors_of(box: BoxRecord) -> list[int]:
    """The pids of processes that serve this box's overlay, found by looking."""
    mark = f"upperdir=containers/{box.id}/upper,".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as stream:
                if mark in stream.read():
                    found.append(int(entry))
        except OSError:
            continue
    return found
