"""What `create` and `exec` do alike around a process that is to be the container's.

Apart from both, so that `exec`, which a health check may want every second, loads nothing of what makes a container.
"""

from __future__ import annotations

from rootless import capabilities, channel, kernel
from rootless import system as os
from rootless.errors import InvalidDocument, KernelError, PtbError, UsageError
from rootless.process import Around, Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Spec

CLONE_FLAGS = {
    "user": kernel.CLONE_NEWUSER,
    "mount": kernel.CLONE_NEWNS,
    "pid": kernel.CLONE_NEWPID,
    "network": kernel.CLONE_NEWNET,
    "ipc": kernel.CLONE_NEWIPC,
    "uts": kernel.CLONE_NEWUTS,
    "cgroup": kernel.CLONE_NEWCGROUP,
    "time": kernel.CLONE_NEWTIME,
}

NAMESPACE_FILES = {kind: {"mount": "mnt", "network": "net"}.get(kind, kind) for kind in CLONE_FLAGS}
"""The names of each kind in /proc/PID/ns (namespaces(7))."""


def check_terminal(terminal: bool, console_socket: str, *, keeps: bool) -> None:
    """Raises UsageError where a terminal has nobody to go to, or a console socket nothing to get."""
    if terminal and not console_socket and not keeps:
        raise UsageError("process.terminal is true but nobody takes the terminal", hint="give a --console-socket")
    if console_socket and not terminal:
        raise UsageError("a --console-socket is given but process.terminal is false")


def surroundings(spec: Spec, preserved: int) -> Around:
    """What a process of this container is started with, but for the procfs that only it can open. Raises PtbError."""
    return Around(
        proc_fd=-1,
        filter=_compile_filter(spec),
        preserved=preserved,
        last_capability=capabilities.last_capability(),
        keep_groups=spec.annotations.get("run.oci.keep_original_groups") == "1",
        personality=spec.linux.personality,
    )


def _compile_filter(spec: Spec) -> Filter | None:
    """The compiled linux.seccomp, with a connection to the agent of its notify action."""
    profile = spec.linux.seccomp
    if not profile:
        return None
    from rootless import seccomp_load

    flags = seccomp_load.filter_flags(profile)
    program = seccomp_load.cached_program(profile, os.uname().machine, seccomp_load.cache_directory())
    agent = None
    if flags & seccomp_load.NEW_LISTENER:
        path = profile.get("listenerPath") or ""
        if not path:
            raise InvalidDocument("linux.seccomp.listenerPath is missing: SCMP_ACT_NOTIFY needs someone to notify")
        try:
            agent = channel.connect_path(path)
        except PtbError as error:
            raise PtbError(
                f"linux.seccomp.listenerPath: failed to connect with seccomp agent: {error.message}"
            ) from error
    return Filter(program, flags, agent, profile.get("listenerMetadata") or "")


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid to `path`, whole or not at all. Raises KernelError."""
    parent, slash, name = path.rpartition("/")
    temporary = f"{parent}{slash}.{name}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(str(pid))
        os.rename(temporary, path)
    except OSError as error:
        raise KernelError("writing", f'pid file "{path}"', error.errno or 0) from error


def set_oom_score(adjustment: int) -> None:
    """Set the caller's /proc/self/oom_score_adj (proc(5)); to be done while it is still its own file."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as stream:
            stream.write(str(adjustment))
    except OSError as error:
        with open("/proc/self/oom_score_adj", encoding="utf-8") as stream:
            now = int(stream.read())
        if now == adjustment:
            return
        hint = f"an ordinary user may only raise it: it is {now} now" if adjustment < now else None
        raise KernelError("setting", "process.oomScoreAdj", error.errno or 0, hint=hint) from error


def namespace_root(pid: int | str) -> tuple[int, int]:
    """The (uid, gid) of root in the user namespace of `pid`, or of whoever comes first where its map has no root."""
    with open(f"/proc/{pid}/uid_map", encoding="utf-8") as uids, open(f"/proc/{pid}/gid_map", encoding="utf-8") as gids:
        uid, gid = (_first_of([line.split() for line in lines]) for lines in (uids, gids))
    return uid, gid


def _first_of(ranges: list[list[str]]) -> int:
    return min((int(fields[0]) for fields in ranges), default=0)


def become_namespace_root(root: tuple[int, int], *, keep_groups: bool) -> None:
    """Turn into `root` (uid, gid) of the user namespace the caller is in, with every capability it has."""
    uid, gid = root
    if not keep_groups:
        try:
            os.setgroups([])
        except OSError:
            pass  # denied for good where only one id is mapped
    os.setresgid(gid, gid, gid)
    kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    permitted = kernel.permitted_capabilities()
    kernel.set_capabilities(permitted, permitted, 0)
