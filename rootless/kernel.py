"""Every syscall that Python 3.11 does not offer, as thin functions with the kernel's own names. No policy.

The only module that calls into libc: with the C half of ctypes alone, as the `ctypes` package around it takes longer
to load than all calls together. Structures are packed as the headers have them. Constants are the headers'
(linux/sched.h, linux/mount.h, linux/openat2.h, linux/prctl.h, linux/capability.h). Every call raises `OSError` with
the call's errno; callers that know more about the cause turn it into a `PtbError`. System call numbers above 423 are
the same on every architecture; the others are asked of libc, which has had them for long enough.
"""

from __future__ import annotations

import _ctypes
from _struct import pack, unpack_from

from rootless import system as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    _Simple: TypeAlias = _ctypes._SimpleCData[Any]  # noqa: SLF001
    _Argument: TypeAlias = "int | bytes | _Memory | None"
else:
    _Simple = _ctypes._SimpleCData  # noqa: SLF001

CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWTIME = 0x00000080
CLONE_INTO_CGROUP = 0x200000000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MNT_DETACH = 2

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x00000004
MOVE_MOUNT_T_EMPTY_PATH = 0x00000040

FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSMOUNT_CLOEXEC = 1

MOUNT_ATTR_RDONLY = 0x00000001
MOUNT_ATTR_NOSUID = 0x00000002
MOUNT_ATTR_NODEV = 0x00000004
MOUNT_ATTR_NOEXEC = 0x00000008
MOUNT_ATTR__ATIME = 0x00000070
MOUNT_ATTR_NOATIME = 0x00000010
MOUNT_ATTR_STRICTATIME = 0x00000020
MOUNT_ATTR_NODIRATIME = 0x00000080
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
SYSFS_MAGIC = 0x62656572
CGROUP2_SUPER_MAGIC = 0x63677270

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

CLOSE_RANGE_CLOEXEC = 4

KEYCTL_JOIN_SESSION_KEYRING = 1

SECCOMP_SET_MODE_FILTER = 1

IN_MODIFY = 0x00000002
IN_CLOSE_WRITE = 0x00000008
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100

_ENOSYS = 38
_SIGPIPE = 13
_SIGXFSZ = 25

_MACHINE = os.uname().machine
_GENERIC = {"clone": 220, "keyctl": 219, "ioprio_set": 30, "sched_setattr": 274, "seccomp": 277, "bpf": 280}
_BY_MACHINE = {
    "x86_64": {"clone": 56, "keyctl": 250, "ioprio_set": 251, "sched_setattr": 314, "seccomp": 317, "bpf": 321},
    "ppc64le": {"clone": 120, "keyctl": 271, "ioprio_set": 273, "sched_setattr": 355, "seccomp": 358, "bpf": 361},
    "s390x": {"clone": 120, "keyctl": 280, "ioprio_set": 282, "sched_setattr": 345, "seccomp": 348, "bpf": 351},
}
_NR = _BY_MACHINE.get(_MACHINE, _GENERIC)
"""Numbers that differ by architecture; those without a table of their own use asm-generic/unistd.h."""

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_CLONE3 = 435
_NR_CLOSE_RANGE = 436
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442

_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _Int(_Simple):
    _type_ = "i"


class _Long(_Simple):
    _type_ = "l"


class _Address(_Simple):
    _type_ = "z"


class _Char(_Simple):
    _type_ = "c"


class _Memory(_ctypes.Array):  # type: ignore[type-arg]
    """Memory for the kernel to write to."""

    _type_ = _Char
    _length_ = 512


class _Function(_ctypes.CFuncPtr):
    """A function of libc; where it returns a long, say so in `restype`."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _LockedFunction(_ctypes.CFuncPtr):
    """As `_Function`, called without releasing the interpreter's lock."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _Int


_LIBC = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
_syscall_function = _Function(_ctypes.dlsym(_LIBC, "syscall"))
_syscall_function.restype = _Long
_locked_syscall_function = _LockedFunction(_ctypes.dlsym(_LIBC, "syscall"))
_locked_syscall_function.restype = _Long
_prctl_function = _Function(_ctypes.dlsym(_LIBC, "prctl"))


def _call(function: _ctypes.CFuncPtr, arguments: tuple[_Argument, ...], name: str, subject: str) -> int:
    """Call with every number as a long, bytes and memory by address, None as NULL. Raises OSError."""
    result: int = function(*[_Long(value) if type(value) is int else value for value in arguments])
    if result < 0:
        errno = _ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}", subject or None)
    return result


def _libc(name: str, *arguments: _Argument, subject: str = "") -> int:
    return _call(_Function(_ctypes.dlsym(_LIBC, name)), arguments, name, subject)


def _syscall(number: int, name: str, *arguments: _Argument, subject: str = "") -> int:
    return _call(_syscall_function, (number, *arguments), name, subject)


def _address(data: bytes) -> int:
    """Where `data` is, for as long as the caller keeps it."""
    found: int = unpack_from("P", _Address(data))[0]
    return found


def unshare(flags: int) -> None:
    """Leave the named namespaces for new ones (unshare(2))."""
    _libc("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace that `fd` is, or those in `flags` of the process that the pidfd `fd` is (setns(2))."""
    _libc("setns", fd, flags)


def mount(source: str, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    kind = fstype.encode() if fstype else None
    options = data.encode() if data else None
    _libc("mount", os.fsencode(source), os.fsencode(target), kind, flags, options, subject=target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _libc("umount2", os.fsencode(target), flags, subject=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root mount and move the old one to `put_old` (pivot_root(2))."""
    _libc("pivot_root", os.fsencode(new_root), os.fsencode(put_old), subject=new_root)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """A descriptor of the mount at `path`, or with OPEN_TREE_CLONE of a detached copy of it (open_tree(2))."""
    return _syscall(_NR_OPEN_TREE, "open_tree", dirfd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC, subject=path)


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the mount `from_fd` on the file or directory `to_fd` (move_mount(2))."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _syscall(_NR_MOVE_MOUNT, "move_mount", from_fd, b"", to_fd, b"", flags)


def fsopen(fstype: str) -> int:
    """A descriptor of a file system being configured (fsopen(2))."""
    return _syscall(_NR_FSOPEN, "fsopen", fstype.encode(), FSOPEN_CLOEXEC, subject=fstype)


def fsconfig(fd: int, command: int, key: str | None, value: str | None, aux: int = 0) -> None:
    """Set one parameter of the file system being configured, or create it (fsconfig(2))."""
    name = key.encode() if key is not None else None
    text = value.encode() if value is not None else None
    _syscall(_NR_FSCONFIG, "fsconfig", fd, command, name, text, aux, subject=key or "create")


def fsmount(fd: int, attributes: int) -> int:
    """A descriptor of a detached mount of the configured file system (fsmount(2))."""
    return _syscall(_NR_FSMOUNT, "fsmount", fd, FSMOUNT_CLOEXEC, attributes)


def new_file_system(kind: str, options: Mapping[str, str | None], attributes: int) -> int:
    """A detached mount of a new file system; an option without a value is a flag (fsopen(2)). Raises OSError."""
    context = fsopen(kind)
    try:
        for key, value in options.items():
            fsconfig(context, FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING, key, value)
        fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def mount_setattr(
    dirfd: int, path: str, flags: int, *, attr_set: int = 0, attr_clr: int = 0, propagation: int = 0, userns_fd: int = 0
) -> None:
    """Change attributes or propagation of a mount, with AT_RECURSIVE of all below it (mount_setattr(2))."""
    attributes = pack("QQQQ", attr_set, attr_clr, propagation, userns_fd)
    arguments = (dirfd, os.fsencode(path), flags, attributes, len(attributes))
    _syscall(_NR_MOUNT_SETATTR, "mount_setattr", *arguments, subject=path)


def openat2(dirfd: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` below `dirfd` with the walk restricted by `resolve` (openat2(2)). Retries the EAGAIN of a race."""
    how = pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    attempts = 1000  # any rename or mount on the machine is taken for a race while a path with ".." is walked
    while True:
        attempts -= 1
        try:
            arguments = (dirfd, os.fsencode(path), how, len(how))
            return _syscall(_NR_OPENAT2, "openat2", *arguments, subject=os.fsdecode(path))
        except BlockingIOError:
            if attempts == 0:
                raise


def syncfs(fd: int) -> None:
    """Write the file system that holds `fd` to its device (syncfs(2))."""
    _libc("syncfs", fd)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)."""
    return _call(_prctl_function, (option, arg2, arg3, arg4, arg5), "prctl", "")


def set_process_name(name: bytes) -> None:
    """Name the calling thread as `ps` and /proc/PID/comm show it; at most 15 bytes (PR_SET_NAME)."""
    _libc("prctl", PR_SET_NAME, name[:15], 0, 0, 0)


def restore_signals() -> None:
    """Undo what the interpreter does to SIGPIPE and SIGXFSZ, which an executed program would inherit (signal(7))."""
    for number in (_SIGPIPE, _SIGXFSZ):
        _libc("signal", number, None)


def raise_ambient_capabilities() -> None:
    """Let every permitted capability survive the next execve of an ordinary user (capabilities(7), ambient set)."""
    permitted = permitted_capabilities()
    set_capabilities(permitted, permitted, permitted)
    for number in range(64):
        if permitted & 1 << number:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


_CAPABILITIES_OF_CALLER = pack("Ii", _LINUX_CAPABILITY_VERSION_3, 0)


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of the calling thread, as bit masks by capability number (capset(2))."""
    sets = (effective, permitted, inheritable)
    halves = (mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in sets)
    _libc("capset", _CAPABILITIES_OF_CALLER, pack("6I", *halves))


def permitted_capabilities() -> int:
    """The permitted set of the calling thread, as a bit mask (capget(2))."""
    data = _Memory()
    _libc("capget", _CAPABILITIES_OF_CALLER, data)
    low, high = unpack_from("4xI8xI", data)
    return int(low) | int(high) << 32


def drop_effective_capabilities() -> None:
    """Give up every capability of the calling thread, for good (capset(2))."""
    set_capabilities(0, 0, 0)


def clone(flags: int, *, cgroup_fd: int = -1) -> int:
    """Fork with `flags` (CLONE_NEW…, CLONE_PARENT); the child starts in the cgroup that `cgroup_fd` is (clone3(2)).

    Returns as fork(2) does. The interpreter's own fork handlers do not run, so the caller must have one thread; the
    call is made without releasing the interpreter's lock, so that both sides hold it on return. Where an outer
    container's filter hides clone3, clone(2) stands in, and a `cgroup_fd` raises its ENOSYS.
    """
    signal = 0 if flags & CLONE_PARENT else 17
    into = CLONE_INTO_CGROUP if cgroup_fd >= 0 else 0
    arguments = pack("Q24xQ40xQ", flags | into, signal, max(cgroup_fd, 0))
    try:
        return _call(_locked_syscall_function, (_NR_CLONE3, arguments, len(arguments)), "clone", "")
    except OSError as error:
        if error.errno != _ENOSYS or cgroup_fd >= 0:
            raise
    first, second = (0, flags | signal) if _MACHINE == "s390x" else (flags | signal, 0)
    return _call(_locked_syscall_function, (_NR["clone"], first, second, 0, 0, 0), "clone", "")


def close_range(first: int, last: int, flags: int) -> None:
    """Close descriptors `first` to `last`, or with CLOSE_RANGE_CLOEXEC have execve close them (close_range(2))."""
    _syscall(_NR_CLOSE_RANGE, "close_range", first, last, flags)


def filesystem_type(fd: int) -> int:
    """The magic number of the file system that `fd` is in (fstatfs(2), linux/magic.h)."""
    status = _Memory()
    _libc("fstatfs", fd, status)
    return int(unpack_from("I" if _MACHINE == "s390x" else "l", status)[0]) & 0xFFFFFFFF


def sethostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    _libc("sethostname", encoded, len(encoded), subject=name)


def setdomainname(name: str) -> None:
    """Set the NIS domain name (setdomainname(2))."""
    encoded = name.encode()
    _libc("setdomainname", encoded, len(encoded), subject=name)


def personality(persona: int) -> None:
    """Set the execution domain (personality(2))."""
    _libc("personality", persona)


def join_session_keyring(name: str) -> None:
    """Have a session keyring of the given name, so that the caller's is not inherited (keyctl(2))."""
    _syscall(_NR["keyctl"], "keyctl", KEYCTL_JOIN_SESSION_KEYRING, name.encode(), 0, 0)


def ioprio_set(priority: int) -> None:
    """The calling process's I/O class and priority (ioprio_set(2))."""
    _syscall(_NR["ioprio_set"], "ioprio_set", 1, 0, priority)


def sched_setattr(attributes: bytes) -> None:
    """Scheduling policy of the calling thread; `attributes` is struct sched_attr (sched_setattr(2))."""
    _syscall(_NR["sched_setattr"], "sched_setattr", 0, attributes, 0)


def load_device_program(program: bytes, cgroup_fd: int) -> None:
    """Load the eBPF `program` and guard the devices of the cgroup with it, in place of the caller's last (bpf(2)).

    BPF_PROG_TYPE_CGROUP_DEVICE, attached with BPF_F_ALLOW_MULTI so that those of cgroups above hold as well.
    """
    licence = b"Apache"
    places = (_address(program), _address(licence))
    loaded = _bpf(_BPF_PROG_LOAD, pack("IIQQ24x", _BPF_PROG_TYPE_CGROUP_DEVICE, len(program) // 8, *places))
    try:
        for old in _attached_device_programs(cgroup_fd):
            _bpf(_BPF_PROG_DETACH, pack("4I", cgroup_fd, old, _BPF_CGROUP_DEVICE, 0))
            os.close(old)
        _bpf(_BPF_PROG_ATTACH, pack("4I", cgroup_fd, loaded, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))
    finally:
        os.close(loaded)


_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_DETACH, _BPF_PROG_GET_FD_BY_ID, _BPF_PROG_QUERY = 5, 8, 9, 13, 16
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI = 15, 6, 2


def _bpf(command: int, attributes: bytes | _Memory) -> int:
    return _syscall(_NR["bpf"], "bpf", command, attributes, len(attributes))


def _attached_device_programs(cgroup_fd: int) -> list[int]:
    """Descriptors of the device programs attached to the cgroup itself."""
    identities = _Memory()
    place, room = _ctypes.addressof(identities), len(identities) // 4
    question = pack("4IQI", cgroup_fd, _BPF_CGROUP_DEVICE, 0, 0, place, room)
    query = _Memory.from_buffer_copy(question.ljust(_Memory._length_, b"\0"))
    _bpf(_BPF_PROG_QUERY, query)
    count = unpack_from("24xI", query)[0]
    listed = unpack_from(f"{count}I", identities)
    return [_bpf(_BPF_PROG_GET_FD_BY_ID, pack("4I", identity, 0, 0, 0)) for identity in listed]


def seccomp(operation: int, flags: int, program: bytes) -> int:
    """Load the classic BPF `program`, an array of struct sock_filter (seccomp(2)); returns the listener or 0."""
    return _syscall(_NR["seccomp"], "seccomp", operation, flags, pack("HP", len(program) // 8, _address(program)))


def inotify_init1(flags: int) -> int:
    """A descriptor from which events of watched files are read; `flags` are O_NONBLOCK and O_CLOEXEC (inotify(7))."""
    return _libc("inotify_init1", flags)


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Have the events in `mask`, IN_…, of the file or directory `path` come to `fd` (inotify_add_watch(2))."""
    return _libc("inotify_add_watch", fd, os.fsencode(path), mask, subject=path)
