"""Becoming the container's process: everything between a finished root file system and execve(2).

The same for PID 1 and for `exec`. In order: labels, keyring, limits and scheduling, which may need privileges; bounding
set; groups and user; working directory; then the system call filter and the capabilities, as late as can be. All
descriptors but those handed over are closed at execve, before the working directory is entered (CVE-2024-21626).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` without its enumerations, which cost 4 ms
import _socket
import _struct
import resource

from rootless import capabilities, json_text, kernel, paths, procfs
from rootless import system as os
from rootless.errors import CommandNotFound, CommandNotRunnable, KernelError, PtbError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from rootless.spec import Process

_ENOENT, _EACCES, _EPERM, _ENOTDIR = 2, 13, 1, 20
_INFINITY = (1 << 64) - 1


@record
class Filter:
    """A compiled system call filter with its flags (seccomp(2)); `agent` gets the listener of its notify action."""

    program: bytes
    flags: int
    agent: _socket.socket | None
    metadata: str


@record
class Around:
    """What a process is started with besides its own configuration.

    `proc_fd` is a trusted procfs (-1 until there is one), `filter` the system call filter or None, `preserved` how many
    descriptors from 3 on it gets, `last_capability` the kernel's highest, `keep_groups` whether the caller's groups
    stay, `personality` an execution domain or None.
    """

    proc_fd: int
    filter: Filter | None
    preserved: int
    last_capability: int
    keep_groups: bool
    personality: int | None


def become(process: Process, around: Around, state: dict[str, object], before_execute: Callable[[], None]) -> NoReturn:
    """Turn this process into `process`; call it as root of the container, inside its root file system.

    `state` is the container's, for the agent of a seccomp filter. `before_execute` is called when nothing but limits
    of the process itself can fail any more. Raises PtbError.
    """
    environment = dict(entry.partition("=")[::2] for entry in process.environment if "=" in entry)
    _set_labels(process, around.proc_fd)
    _set_scheduling(process)
    if around.personality is not None:
        kernel.personality(around.personality)
    for limit in process.rlimits:
        _set_limit(limit.type, limit.soft, limit.hard)
    _own_standard_descriptors(process.user.uid)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    environment.setdefault("HOME", _home_of(root, process.user.uid))
    os.close(root)
    _hide_descriptors(around.preserved)
    wanted = {name: capabilities.mask(names) for name, names in process.capabilities.items()}
    try:
        capabilities.drop_bounding(wanted["bounding"], around.last_capability)
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
        _set_user(process, keep_groups=around.keep_groups)
        permitted = kernel.permitted_capabilities()
        kernel.set_capabilities(permitted, permitted, 0)
    except OSError as error:
        user = f"user {process.user.uid}:{process.user.gid}"
        raise KernelError("becoming", user, error.errno or 0, hint=_why_not_user(process, error)) from error
    os.umask(0o022 if process.user.umask is None else process.user.umask)
    _enter_directory(process.directory)
    if process.terminal:
        environment.setdefault("TERM", "xterm")
    program = find_executable(process.arguments[0], environment)
    if process.no_new_privileges:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    before_execute()
    _reset_signals()
    final = [wanted[name] & permitted for name in ("effective", "permitted", "inheritable")]
    ambient = wanted["ambient"] & final[1] & final[2]
    if around.filter is not None:
        _load(around.filter, state)
    try:
        kernel.set_capabilities(*final)
        capabilities.set_ambient(ambient)
        os.execve(program, process.arguments, environment)
    except OSError as error:
        raise not_executable(process.arguments[0], error.errno or 0) from error


def not_executable(name: str, errno: int) -> PtbError:
    """What an execve(2) that failed means."""
    if errno in (_ENOENT, _ENOTDIR):
        return CommandNotFound(f'executable file "{name}" not found: {os.strerror(errno)}')
    return CommandNotRunnable(f'executable file "{name}" cannot be executed: {os.strerror(errno)}')


def find_executable(name: str, environment: dict[str, str]) -> str:
    """The path to execute for `name`, from PATH if it has no slash; as the caller, in its own root.

    A path through /proc's magic links is refused: it could lead to this interpreter itself (CVE-2019-5736). Raises
    CommandNotFound or CommandNotRunnable.
    """
    if "/" in name:
        candidates = [name]
    else:
        search = environment.get("PATH", os.defpath)
        candidates = [f"{place or '.'}/{name}" for place in search.split(":")]
    failure = _ENOENT
    for path in candidates:
        try:
            fd = kernel.openat2(-100, path, os.O_PATH, 0, kernel.RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno not in (_ENOENT, _ENOTDIR):
                failure = error.errno or _EACCES
            continue
        kind = os.fstat(fd).st_mode & 0o170000
        os.close(fd)
        if kind == 0o100000 and os.access(path, os.X_OK, effective_ids=True):
            return path
        failure = _EACCES
    if failure == _ENOENT and "/" not in name:
        raise CommandNotFound(f'executable file "{name}" not found in $PATH: {os.strerror(failure)}')
    raise not_executable(name, failure)


def _set_labels(process: Process, proc_fd: int) -> None:
    try:
        kernel.join_session_keyring("_ses.ptb")
    except OSError as error:
        if error.errno not in (_EPERM, 38, 122):  # filtered away, not built in, or the user's quota is full
            raise KernelError("joining", "a session keyring", error.errno or 0) from error
    if process.selinux_label:
        subject = f'SELinux label "{process.selinux_label}"'
        procfs.write(proc_fd, f"{_self(proc_fd)}/attr/exec", process.selinux_label, subject)
    if process.apparmor_profile:
        subject = f'AppArmor profile "{process.apparmor_profile}"'
        _write_apparmor(proc_fd, f"exec {process.apparmor_profile}", subject)


def _write_apparmor(proc_fd: int, text: str, subject: str) -> None:
    attribute = f"{_self(proc_fd)}/attr/apparmor/exec"
    if not paths.exists_in(proc_fd, attribute):
        raise PtbError(f"{subject} cannot be applied: this kernel has no AppArmor")
    procfs.write(proc_fd, attribute, text, subject)


def _self(proc_fd: int) -> str:
    """The caller's pid as that procfs counts, which may be another pid namespace's."""
    return os.readlink("self", dir_fd=proc_fd)


def _set_scheduling(process: Process) -> None:
    if process.scheduler is not None:
        found = process.scheduler
        times = (found.runtime, found.deadline, found.period)
        numbers = (48, found.policy, found.flags, found.nice, found.priority, *times)
        try:
            kernel.sched_setattr(_struct.pack("=IIQiIQQQ", *numbers))
        except OSError as error:
            raise KernelError("setting", "process.scheduler", error.errno or 0) from error
    if process.io_priority is not None:
        kind, level = process.io_priority
        try:
            kernel.ioprio_set(kind << 13 | level)
        except OSError as error:
            raise KernelError("setting", "process.ioPriority", error.errno or 0) from error


def raise_hard_limits(process: Process) -> None:
    """Raise the caller's hard limits to those of `process`, as far as it may; call it before it enters a user namespace.

    Only the machine's own root may raise them (setrlimit(2)), which nobody is in there.
    """
    for limit in process.rlimits:
        number, hard = _limit_number(limit.type), _limit_value(limit.hard)
        now = resource.getrlimit(number)
        if now[1] != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > now[1]):
            try:
                resource.setrlimit(number, (now[0], hard))
            except (OSError, ValueError):
                continue  # told of where the limit is set


def _limit_number(name: str) -> int:
    number: int | None = getattr(resource, name, {"RLIMIT_LOCKS": 10}.get(name))
    if number is None:
        raise PtbError(f"process.rlimits: this interpreter does not know {name}")
    return number


def _limit_value(value: int) -> int:
    return resource.RLIM_INFINITY if value >= _INFINITY or value < 0 else min(value, (1 << 63) - 1)


def _set_limit(name: str, soft: int, hard: int) -> None:
    number = _limit_number(name)
    try:
        resource.setrlimit(number, (_limit_value(soft), _limit_value(hard)))
    except (OSError, ValueError) as error:
        now = resource.getrlimit(number)
        raise PtbError(
            f"process.rlimits: {name} cannot be {soft}:{hard}: the caller's hard limit is {now[1]}",
            hint=f"ask for no more than {now[1]}, or raise the limit of your session",
        ) from error


def _own_standard_descriptors(uid: int) -> None:
    """Give the user what it reads and writes, so that /dev/stdout can be opened again; where that may be done."""
    for fd in (0, 1, 2):
        try:
            status = os.fstat(fd)
            null = status.st_mode & 0o170000 == 0o020000 and status.st_rdev == os.makedev(1, 3)
            if status.st_uid != uid and not null:
                os.fchown(fd, uid, -1)
        except OSError:
            continue


def _home_of(root: int, uid: int) -> str:
    content = paths.read_in(root, "/etc/passwd", how=paths.ACROSS_MOUNTS) or b""
    for line in content.decode(errors="surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid):
            return fields[5] or "/"
    return "/root" if uid == 0 else "/"


def _hide_descriptors(preserved: int) -> None:
    for fd in range(3, 3 + preserved):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            raise PtbError(f"descriptor {fd} is to be preserved but not open") from None
    kernel.close_range(3 + preserved, 0xFFFFFFFF, kernel.CLOSE_RANGE_CLOEXEC)


def _set_user(process: Process, *, keep_groups: bool) -> None:
    user = process.user
    if not keep_groups:
        try:
            os.setgroups(list(user.additional_gids))
        except OSError:
            # A namespace with a single id denies setgroups(2) for good; that matters only where groups were asked for.
            if user.additional_gids:
                raise
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)


def _why_not_user(process: Process, error: OSError) -> str | None:
    if error.errno == 22:
        return "its ids are not among the container's: see linux.uidMappings and linux.gidMappings"
    if error.errno == _EPERM and process.user.additional_gids:
        return "with a single mapped id there can be no additional groups"
    return None


def _enter_directory(path: str) -> None:
    try:
        fd = kernel.openat2(-100, path, os.O_PATH | os.O_DIRECTORY, 0, kernel.RESOLVE_NO_MAGICLINKS)
        os.fchdir(fd)
        os.close(fd)
        inside = os.getcwd().startswith("/")
    except OSError as error:
        raise KernelError("changing to", f'process.cwd "{path}"', error.errno or 0) from error
    if not inside:
        raise PtbError(f'process.cwd "{path}" is outside the container')


def _reset_signals() -> None:
    for number in range(1, 65):
        if _signal.getsignal(number) != _signal.SIG_DFL:
            try:
                _signal.signal(number, _signal.SIG_DFL)
            except (OSError, ValueError):
                continue  # 32 and 33 are libc's own
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _load(filter_: Filter, state: dict[str, object]) -> None:
    """Load the filter and send its listener to the agent (config-linux.md, containerProcessState)."""
    message = b""
    if filter_.agent is not None:
        content = {
            "ociVersion": "0.2.0",  # of this document: the specification's example and crun
            "fds": ["seccompFd"],
            "pid": state["pid"],
            "metadata": filter_.metadata,
            "state": state,
        }
        message = json_text.dump(content).encode(errors="surrogateescape")
    try:
        listener = kernel.seccomp(kernel.SECCOMP_SET_MODE_FILTER, filter_.flags, filter_.program)
    except OSError as error:
        raise KernelError("loading", "linux.seccomp", error.errno or 0) from error
    if filter_.agent is not None:
        rights = _struct.pack("i", listener)
        filter_.agent.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        os.close(listener)
