"""User namespaces: forking a process into a new one whose ids are mapped before it goes on.

A namespace's maps must be written from outside by a process that holds the right ids, so parent and child take turns:
the child leaves its namespaces and says so, the parent has newuidmap and newgidmap write the maps and says go.
"""

from __future__ import annotations

from rootless import kernel
from rootless import system as os
from rootless.errors import HostUnfit, PtbError
from rootless.ids import Helpers, IdMaps, Subordinates, await_maps, start_maps, subordinates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EPERM = 1
_EINVAL = 22
_ENOSPC = 28
_ENOSYS = 38


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}", encoding="utf-8") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def forbidden_by_apparmor() -> bool:
    """Whether AppArmor lets user namespaces be made but takes their capabilities away (Ubuntu 23.10 and newer)."""
    return _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1"


def explain_refusal(errno: int) -> HostUnfit:
    """Why this machine forbids user namespaces, with the one setting that allows them (user_namespaces(7))."""
    if _sysctl("user/max_user_namespaces") == "0" or errno == _ENOSPC:
        return HostUnfit(
            "user namespaces are forbidden here: user.max_user_namespaces leaves no room for another",
            hint="sudo sysctl -w user.max_user_namespaces=15000",
        )
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return HostUnfit(
            "user namespaces are forbidden here: kernel.unprivileged_userns_clone is 0",
            hint="sudo sysctl -w kernel.unprivileged_userns_clone=1",
        )
    if forbidden_by_apparmor():
        return HostUnfit(
            "user namespaces are forbidden here by AppArmor: kernel.apparmor_restrict_unprivileged_userns is 1",
            hint="sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    if errno in (_EINVAL, _ENOSYS):
        return HostUnfit("this kernel was built without user namespaces", hint="boot a kernel with CONFIG_USER_NS=y")
    return HostUnfit(
        f"user namespaces are forbidden here: {os.strerror(errno)} (a seccomp filter or an outer container, most likely)"
    )


class Fork:
    """A child that is in its new user namespace, while the helpers map its ids: `finish` lets it go on."""

    def __init__(self, pid: int, go: int, helpers: Helpers, who: Subordinates) -> None:
        self.pid = pid
        self._go = go
        self._helpers = helpers
        self._who = who

    def finish(self) -> int:
        """Wait for the ids and let the child go on; returns its pid. Raises HostUnfit, and then there is no child."""
        try:
            await_maps(self._helpers, self._who)
            os.write(self._go, b"!")
        except BaseException:
            self.abandon()
            raise
        os.close(self._go)
        return self.pid

    def abandon(self) -> None:
        """End the child, which has done nothing yet."""
        os.close(self._go)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


def fork_with_maps(
    who: Subordinates,
    maps: IdMaps,
    child: Callable[[], int],
    *,
    flags: int = 0,
) -> int:
    """Fork; `child` runs in a new user namespace with `maps` and in new namespaces of the kinds in `flags` (CLONE_NEW…).

    The child has all capabilities over its namespace and keeps the caller's ids, as far as they are mapped; what it
    returns is its exit status. Returns its process id. Raises HostUnfit when the machine forbids or lacks it. Call it
    only from a process with one thread.
    """
    return begin_fork(who, maps, child, flags=flags).finish()


def begin_fork(
    who: Subordinates,
    maps: IdMaps,
    child: Callable[[], int],
    *,
    flags: int = 0,
    meanwhile: Callable[[], None] | None = None,
) -> Fork:
    """The same without waiting for the ids; the child does `meanwhile` until it has them."""
    said_read, said_write = os.pipe()
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 125
        try:
            os.close(said_read)
            os.close(go_write)
            try:
                kernel.unshare(kernel.CLONE_NEWUSER | flags)
            except OSError as error:
                os.write(said_write, bytes([error.errno or _EINVAL]))
                os._exit(status)
            os.write(said_write, b"\0")
            os.close(said_write)
            if meanwhile is not None:
                meanwhile()
            if os.read(go_read, 1) == b"!":
                os.close(go_read)
                status = child()
        finally:
            os._exit(status)
    os.close(said_write)
    os.close(go_read)
    try:
        said = os.read(said_read, 1)
        if said != b"\0":
            raise explain_refusal(said[0]) if said else PtbError("the process that makes the user namespace died")
        return Fork(pid, go_write, start_maps(pid, maps), who)
    except BaseException:
        os.close(go_write)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(said_read)


def fork_joined(user_namespace: int, child: Callable[[], int], *, flags: int = 0) -> int:
    """Fork; `child` runs in the user namespace of the process that the pidfd means, with all capabilities there, and in
    new namespaces of the kinds in `flags`. It keeps the caller's ids. Returns its process id. One thread only.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 125
    try:
        kernel.setns(user_namespace, kernel.CLONE_NEWUSER)
        if flags:
            kernel.unshare(flags)
        status = child()
    finally:
        os._exit(status)


def fork_mapped(child: Callable[[], int], maps: IdMaps | None = None, *, flags: int = 0) -> int:
    """Fork; `child` runs as container root, with all capabilities, in a new user namespace with the default map.

    What it returns is its exit status; `flags` are other namespaces to make. Returns its process id. Raises HostUnfit.
    One thread only.
    """

    def as_root() -> int:
        become_root()
        return child()

    who = subordinates()
    return fork_with_maps(who, maps or who.default_maps(), as_root, flags=flags)


def become_root() -> None:
    """Turn into the user namespace's root with no supplementary groups."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def run_mapped(
    task: Callable[[], None],
    maps: IdMaps | None = None,
    *,
    flags: int = 0,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Run `task` as container root and wait for it; what it raises as PtbError or OSError is raised here again.

    The caller does `meanwhile` before it waits: reading what the task writes to a pipe, or the other way round.
    """

    def fork(child: Callable[[], int]) -> int:
        return fork_mapped(child, maps, flags=flags)

    _run_in(fork, task, meanwhile)


def run_joined(user_namespace: int, task: Callable[[], None], *, meanwhile: Callable[[], None] | None = None) -> None:
    """The same in the user namespace of the process that the pidfd means; the caller's other namespaces stay."""

    def fork(child: Callable[[], int]) -> int:
        def as_root() -> int:
            become_root()
            return child()

        return fork_joined(user_namespace, as_root)

    _run_in(fork, task, meanwhile)


def _run_in(
    fork: Callable[[Callable[[], int]], int], task: Callable[[], None], meanwhile: Callable[[], None] | None
) -> None:
    import errno as errno_module

    read_end, write_end = os.pipe()

    def child() -> int:
        os.close(read_end)
        try:
            task()
        except PtbError as error:
            os.write(write_end, f"{error.message}\0{error.hint or ''}".encode(errors="replace")[:60000])
            return 1
        except OSError as error:
            text = f"{os.fsdecode(error.filename or 'the file system')}: {os.strerror(error.errno or errno_module.EIO)}"
            os.write(write_end, f"{text}\0".encode(errors="replace")[:60000])
            return 1
        return 0

    try:
        pid = fork(child)
    finally:
        os.close(write_end)
    failed: PtbError | OSError | None = None
    try:
        if meanwhile is not None:
            meanwhile()
    except (PtbError, OSError) as error:
        failed = error
    said = b""
    while chunk := os.read(read_end, 65536):
        said += chunk
    os.close(read_end)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # Where both sides failed, one of them only found its pipe closed.
    if failed is not None and (not said or not isinstance(failed, BrokenPipeError)):
        raise failed
    if said:
        message, _nul, hint = said.decode(errors="replace").partition("\0")
        raise PtbError(message, hint=hint or None)
    if status != 0:
        raise PtbError(f"a process working on the store ended with status {status}")
