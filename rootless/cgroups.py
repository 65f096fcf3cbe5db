"""Control groups of version 2: making, filling, limiting, freezing, killing and removing one (cgroups(7)).

There is a cgroup here only where the unified hierarchy is mounted: at /sys/fs/cgroup, or in the hybrid layout at
/sys/fs/cgroup/unified, where processes are grouped, frozen and killed but the controllers are those of version 1 and
nothing can be limited. Nothing waits by the clock: `cgroup.events` and `memory.events` say when they change (poll(2),
POLLPRI; the kernel's admin-guide/cgroup-v2.rst). Times are seconds, and only bound a wait.
"""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, EPERM, EROFS

from rootless import system as os
from rootless.errors import HostUnfit, InUse, InvalidDocument, KernelError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

UNIFIED = "/sys/fs/cgroup"
HYBRID = "/sys/fs/cgroup/unified"

DELEGATION_HINT = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && "
    "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
    "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload, then log in again"
)
VERSION_HINT = "boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line"

_POPULATED = 10.0
"""How long processes that were killed may take to leave."""

_GONE = (ENOENT, ENODEV)


@record
class Cgroup:
    """One cgroup; `path` is its directory, absolute."""

    path: str


@record
class OutOfMemory:
    """How often a cgroup, with all below it, met its memory limit and found nothing to free, and what that killed."""

    events: int
    kills: int


def find_hierarchy() -> str | None:
    """Where the unified hierarchy is mounted; None where there is none, or only elsewhere than containers expect it."""
    mounted = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _dash, after = line.partition(" - ")
            # a later line with the same mount point covers the earlier
            mounted[before.split(" ", 5)[4]] = after.split(" ", 1)[0]
    for path in (UNIFIED, HYBRID):
        if mounted.get(path) == "cgroup2":
            return path
    return None


def own_cgroup() -> str:
    """The caller's cgroup as a path from the root of the hierarchy. Raises HostUnfit where version 2 is not in use."""
    return cgroup_of("self")


def cgroup_of(process: int | str) -> str:
    """The cgroup of `process`, a pid or "self", as a path from the root of the caller's cgroup namespace.

    Raises HostUnfit where version 2 is not in use, KernelError for a process that is no more.
    """
    path = f"/proc/{process}/cgroup"
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if line.startswith("0::"):
                    return line[3:].rstrip("\n").removesuffix(" (deleted)")
    except OSError as error:
        raise KernelError("open", path, error.errno or 0) from None
    raise HostUnfit("cgroup v2 is not mounted", hint=VERSION_HINT)


def at(hierarchy: str, path: str) -> Cgroup:
    """The cgroup at `path` from the root of `hierarchy`. Raises InvalidDocument for a path that leads out of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise InvalidDocument(f'cgroup path "{path}" leads out of the hierarchy')
    return Cgroup("/".join([hierarchy, *parts]))


def create(hierarchy: str, relative_path: str, controllers_wanted: set[str]) -> tuple[Cgroup, list[str]]:
    """Make the cgroup and what is missing above it; the second value lists the directories made, outermost first.

    The wanted controllers are handed down from the root as far as the caller may: a parent that refuses, or that has
    processes of its own and so must not, is left as it is, and `apply` says what is missing. No process is moved.
    Raises KernelError, having removed what it made.
    """
    cgroup = at(hierarchy, relative_path)
    made: list[str] = []
    path = hierarchy
    try:
        for part in cgroup.path.removeprefix(hierarchy).split("/")[1:]:
            if controllers_wanted:
                enable_controllers(path, controllers_wanted)
            path = f"{path}/{part}"
            try:
                os.mkdir(path, 0o755)
                made.append(path)
            except FileExistsError:
                pass
    except OSError as error:
        for directory in reversed(made):
            os.rmdir(directory)
        raise KernelError("mkdir", path, error.errno or 0) from None
    return cgroup, made


def enable_controllers(path: str, wanted: set[str]) -> set[str]:
    """Hand the wanted controllers of the cgroup directory `path` to its children; returns those they have."""
    try:
        missing = wanted & set(_read(f"{path}/cgroup.controllers").split())
        enabled = set(_read(f"{path}/cgroup.subtree_control").split())
    except OSError:
        return set()
    # one at a time, for one that is refused must not take the others along
    for controller in sorted(missing - enabled):
        try:
            _write(f"{path}/cgroup.subtree_control", f"+{controller}")
            enabled.add(controller)
        except OSError:
            continue
    return enabled


def attach(cgroup: Cgroup, pid: int) -> None:
    """Move process `pid` into the cgroup; 0 is the caller.

    Raises KernelError: EBUSY if the cgroup hands controllers to its children and so may hold no process itself, EACCES
    if the caller may not write to the lowest cgroup above both where the process is and where it goes.
    """
    try:
        _write(f"{cgroup.path}/cgroup.procs", str(pid))
    except OSError as error:
        raise KernelError("move process into", cgroup.path, error.errno or 0) from None


def open_directory(cgroup: Cgroup) -> int:
    """A descriptor to clone into (clone3(2), CLONE_INTO_CGROUP) or to attach a device filter to."""
    try:
        return os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", cgroup.path, error.errno or 0) from None


def processes(cgroup: Cgroup) -> list[int]:
    """The processes in the cgroup and below, as the caller's pid namespace numbers them; none if it is gone."""
    found: dict[int, None] = {}
    for path in _tree(cgroup.path):
        try:
            try:
                text = _read(f"{path}/cgroup.procs")
            except OSError as error:
                if error.errno != EOPNOTSUPP:
                    raise
                # threaded: its processes are listed at the root of the threaded tree (cgroups(7), "Thread mode")
                text = _read(f"{path}/cgroup.threads")
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise KernelError("read", f"{path}/cgroup.procs", error.errno or 0) from None
        # 0 is a process of another pid namespace
        found.update((int(pid), None) for pid in text.split() if pid != "0")
    return list(found)


def kill(cgroup: Cgroup) -> None:
    """SIGKILL for every process in the cgroup and below, forking ones too; it does not wait for them to be gone."""
    try:
        _write(f"{cgroup.path}/cgroup.kill", "1")
    except OSError as error:
        if error.errno not in (ENOENT, EOPNOTSUPP, ENODEV):
            raise KernelError("kill", cgroup.path, error.errno or 0) from None
        # before Linux 5.14, or the cgroup is gone
        if os.path.isdir(cgroup.path):
            _kill_one_by_one(cgroup)


def _kill_one_by_one(cgroup: Cgroup) -> None:
    import signal

    try:
        # nothing that is frozen forks, and a frozen process dies of SIGKILL all the same
        freeze(cgroup)
        held = True
    except (KernelError, InUse):
        held = False
    killed: set[int] = set()
    try:
        while alive := [pid for pid in processes(cgroup) if pid not in killed]:
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                except PermissionError as error:
                    raise KernelError("kill", f"process {pid}", error.errno or 0) from None
                killed.add(pid)
    finally:
        if held:
            thaw(cgroup)


def freeze(cgroup: Cgroup, seconds: float = 10.0) -> None:
    """Stop every process in the cgroup and below, and return when all have stopped.

    Raises InUse, having thawed it again, if they do not within `seconds`: one may be in a wait that nothing interrupts.
    """
    _set_frozen(cgroup, frozen=True)
    if not _await_event(cgroup, "frozen", 1, seconds):
        _set_frozen(cgroup, frozen=False)
        raise InUse(f'"{cgroup.path}" has a process that did not freeze within {seconds:g} s')


def thaw(cgroup: Cgroup, seconds: float = 10.0) -> None:
    """Let the processes go on. Raises InUse if the cgroup stays frozen, as it does below a frozen one."""
    _set_frozen(cgroup, frozen=False)
    if not _await_event(cgroup, "frozen", 0, seconds):
        raise InUse(f'"{cgroup.path}" is still frozen: a cgroup above it is')


def frozen(cgroup: Cgroup) -> bool:
    """Whether all processes of the cgroup are frozen; False if it is gone."""
    try:
        return keyed(_read(f"{cgroup.path}/cgroup.events")).get("frozen") == 1
    except OSError:
        return False


def remove(cgroup: Cgroup, seconds: float = _POPULATED) -> None:
    """Remove the cgroup and all below it; processes that are on their way out are awaited, none is killed.

    Raises InUse if any is still there after `seconds`, KernelError where removing is not allowed. Gone is removed.
    """
    for path in reversed(_tree(cgroup.path)):
        _remove_directory(path, seconds)


def _remove_directory(path: str, seconds: float) -> None:
    for _attempt in range(16):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno in _GONE:
                return
            if error.errno != EBUSY:
                raise KernelError("rmdir", path, error.errno or 0) from None
        else:
            return
        # busy: processes that have not left yet, or a cgroup made while its siblings were removed
        if not _await_event(Cgroup(path), "populated", 0, seconds):
            alive = " ".join(map(str, processes(Cgroup(path))))
            raise InUse(f'cgroup "{path}" still has processes: {alive or "of another pid namespace"}')
        for child in reversed(_tree(path)[1:]):
            _remove_directory(child, seconds)
    raise InUse(f'cgroup "{path}" is busy: something is mounted on it, or makes cgroups in it')


def watch_oom(cgroup: Cgroup) -> Iterator[OutOfMemory]:
    """What the cgroup's memory limit has done so far, each time that grows, until its last process has left.

    Raises HostUnfit where the memory controller is not enabled for it.
    """
    import select

    poll = select.poll()
    try:
        memory = os.open(f"{cgroup.path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing_controller(cgroup, "memory.events", "memory") from None
    try:
        life = os.open(f"{cgroup.path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            seen = _out_of_memory(memory)
            poll.register(memory, select.POLLPRI)
            poll.register(life, select.POLLPRI)
            alive = True
            while alive:
                # the last counts are written before the last process leaves, so they are read after looking for it
                alive = keyed(os.pread(life, 4096, 0).decode()).get("populated") == 1
                now = _out_of_memory(memory)
                if now != seen:
                    seen = now
                    yield now
                elif alive:
                    poll.poll()
        except OSError as error:
            if error.errno not in _GONE:
                raise KernelError("read", f"{cgroup.path}/memory.events", error.errno or 0) from None
        finally:
            os.close(life)
    finally:
        os.close(memory)


def out_of_memory_kills(cgroup: Cgroup) -> int:
    """How many processes of the cgroup and below were killed for want of memory; 0 where nobody counts."""
    try:
        return keyed(_read(f"{cgroup.path}/memory.events")).get("oom_kill", 0)
    except OSError:
        return 0


def apply(cgroup: Cgroup, files: list[tuple[str, str]]) -> None:
    """Write what `cgroup_limits.limits` asks for.

    Raises HostUnfit, naming the controller and the field, for one that the cgroup does not have or the caller may not
    set, and KernelError for a value that the kernel refuses.
    """
    again: list[tuple[str, str]] = []
    for file, value in files:
        try:
            _write_limit(cgroup, file, value)
        except OSError as error:
            if file == "cpu.max.burst" and error.errno == EINVAL and any(name == "cpu.max" for name, _value in files):
                again.append((file, value))
                continue
            raise _refusal(cgroup, file, value, error) from None
    for file, value in again:
        try:
            _write_limit(cgroup, file, value)
        except OSError as error:
            raise _refusal(cgroup, file, value, error) from None


def require_hierarchy(hierarchy: str | None, files: list[tuple[str, str]]) -> None:
    """Raise HostUnfit if `files` asks for anything and there is no hierarchy that could give it."""
    from rootless.cgroup_limits import field_of

    if not files or hierarchy == UNIFIED:
        return
    field = f"linux.resources.{field_of(files[0][0])}"
    if hierarchy is None:
        raise HostUnfit(f"{field} needs cgroup v2, which is not mounted", hint=VERSION_HINT)
    raise HostUnfit(f"{field} needs cgroup v2, whose controllers are version 1's on this machine", hint=VERSION_HINT)


def refuse_below_usage(cgroup: Cgroup, resources: dict[str, Any]) -> None:
    """What `memory.checkBeforeUpdate` asks for: raise InUse if a memory limit is not above what is used now."""
    memory = resources.get("memory") or {}
    if not memory.get("checkBeforeUpdate"):
        return
    try:
        used = int(_read(f"{cgroup.path}/memory.current"))
    except OSError:
        return
    for field in ("swap", "limit"):
        asked = memory.get(field) or 0
        if 0 < asked <= used:
            raise InUse(f"linux.resources.memory.{field}: {asked} bytes are asked for and {used} are in use")


def keyed(text: str) -> dict[str, int]:
    """The numbers of a flat-keyed file, such as memory.stat: a key and a value a line."""
    numbers = {}
    for line in text.splitlines():
        key, _space, value = line.partition(" ")
        if value.isdecimal():
            numbers[key] = int(value)
    return numbers


def _write_limit(cgroup: Cgroup, file: str, value: str) -> None:
    try:
        _write(f"{cgroup.path}/{file}", value)
    except FileNotFoundError:
        if not os.path.isdir(cgroup.path):
            raise
        if file == "io.bfq.weight":
            from rootless.cgroup_limits import io_weight

            # BFQ is not the scheduler; the other weight file has another scale and the same form, "MAJOR:MINOR WEIGHT"
            device, _space, weight = value.rpartition(" ")
            _write(f"{cgroup.path}/io.weight", f"{device or 'default'} {io_weight(int(weight))}")
        # no more swap than there is, where there is none; and reservations are counted since Linux 5.7
        elif not (file == "memory.swap.max" and value in ("0", "max") and _has_memory(cgroup)) and not (
            file.endswith(".rsvd.max")
        ):
            raise


def _has_memory(cgroup: Cgroup) -> bool:
    return os.path.exists(f"{cgroup.path}/memory.max")


def _refusal(cgroup: Cgroup, file: str, value: str, error: OSError) -> HostUnfit | KernelError:
    from rootless.cgroup_limits import field_of

    field = f"linux.resources.{field_of(file)}"
    controller = file.partition(".")[0]
    if error.errno in (ENOENT, EACCES, EPERM, EROFS):
        try:
            has = set(_read(f"{cgroup.path}/cgroup.controllers").split())
        except OSError as failure:
            return KernelError("open", f"{cgroup.path}/cgroup.controllers", failure.errno or 0)
        if controller not in has and controller != "cgroup":
            return _missing_controller(cgroup, field, controller)
        if error.errno == ENOENT:
            return HostUnfit(f'{field}: this kernel has no "{file}"')
    return KernelError(f"{field}: write {value!r} to", f"{cgroup.path}/{file}", error.errno or 0)


def _missing_controller(cgroup: Cgroup, field: str, controller: str) -> HostUnfit:
    if cgroup.path.startswith(f"{HYBRID}/"):
        return HostUnfit(f'{field}: the "{controller}" controller is version 1\'s on this machine', hint=VERSION_HINT)
    try:
        with open(f"{UNIFIED}/cgroup.controllers", encoding="utf-8") as stream:
            known = controller in stream.read().split()
    except OSError:
        known = True
    if not known:
        return HostUnfit(
            f"{field}: the requested cgroup controller `{controller}` is not available: the kernel has none"
        )
    return HostUnfit(
        f'{field}: the "{controller}" controller is not delegated to "{cgroup.path}"', hint=DELEGATION_HINT
    )


def _set_frozen(cgroup: Cgroup, *, frozen: bool) -> None:
    try:
        _write(f"{cgroup.path}/cgroup.freeze", str(int(frozen)))
    except OSError as error:
        raise KernelError("freeze" if frozen else "thaw", cgroup.path, error.errno or 0) from None


def _await_event(cgroup: Cgroup, key: str, value: int, seconds: float) -> bool:
    """Whether `key` of cgroup.events became `value` within `seconds`; a cgroup that is gone has nothing to wait for."""
    return _await(f"{cgroup.path}/cgroup.events", lambda events: events.get(key, value) == value, seconds)


def _await(path: str, reached: Callable[[dict[str, int]], bool], seconds: float) -> bool:
    import select
    from time import monotonic

    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        end = monotonic() + seconds
        while True:
            # reading is what arms the next notification
            if reached(keyed(os.pread(fd, 4096, 0).decode())):
                return True
            left = end - monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    except OSError as error:
        if error.errno in _GONE:
            return True
        raise
    finally:
        os.close(fd)


def _out_of_memory(fd: int) -> OutOfMemory:
    counts = keyed(os.pread(fd, 4096, 0).decode())
    return OutOfMemory(counts.get("oom", 0), counts.get("oom_kill", 0))


def _tree(path: str) -> list[str]:
    """`path` and the cgroups below it, each after the one that holds it; nothing if it is gone."""
    found = []
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        found.append(directory)
    return found


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
