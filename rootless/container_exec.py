"""Another process in a container that runs: `exec`.

The caller forks a process that joins the container's cgroup and namespaces; that one clones the process itself as the
caller's child and ends. Nothing else is in between, and the container's init has no part in it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os

from rootless import capabilities, channel, container_init, kernel, launch, process, procfs, tty
from rootless import spec as spec_module
from rootless import state as state_module
from rootless.errors import InUse, KernelError, PtbError
from rootless.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from rootless.channel import Channel
    from rootless.spec import Process, Spec
    from rootless.state import State

_JOINED = ("ipc", "uts", "network", "pid", "cgroup", "time", "mount")


@record
class ExecRequest:
    """What `exec` is asked for; `process` is complete. `cgroup` is a path below the container's own."""

    root: str
    id: str
    process: Process
    console_socket: str = ""
    pid_file: str = ""
    preserve_fds: int = 0
    ignore_paused: bool = False
    keep_terminal: bool = False
    cgroup: str = ""


def start(request: ExecRequest) -> tuple[int, int]:
    """Start the process; returns its pid, a child of the caller, and its terminal's master or -1. Raises PtbError."""
    state = state_module.read(request.root, request.id)
    now = state_module.status(request.root, state)
    if now == "paused" and not request.ignore_paused:
        raise InUse(f'container "{request.id}" is paused', hint=f"ptb-runtime resume {request.id}")
    init = state_module.open_process(state)
    if now not in ("running", "created", "paused") or init is None:
        raise InUse(f'container "{request.id}" is {now}: nothing can be executed in it')
    launch.check_terminal(request.process.terminal, request.console_socket, keeps=request.keep_terminal)
    spec = state_module.configuration(request.root, request.id)
    filter_, notify = launch.compile_filter(spec)
    console = channel.connect_path(request.console_socket) if request.console_socket else None
    joined = _namespaces_to_join(state, init)
    root = container_init.namespace_root(state.pid)
    last_capability = capabilities.last_capability()
    document = state_module.document(state, now)
    proc_fd = procfs.open_host()  # the container's own /proc is whatever the container made of it
    here, there = channel.pair()
    first = os.fork()
    if first == 0:
        try:
            here.close()
            _enter_cgroup(state, request.cgroup)
            if request.process.oom_score_adjustment is not None:
                container_init.set_oom_score(request.process.oom_score_adjustment)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            _join(init, joined, root)
            pid = kernel.clone(kernel.CLONE_PARENT)
            if pid == 0:
                around = (filter_, notify, last_capability, proc_fd)
                _run(request, spec, console, around, document, there, _keeps_groups(spec))
            there.send("forked", str(pid))
        except (PtbError, OSError) as error:
            there.fail(error)
        os._exit(0)
    there.close()
    pid = -1
    try:
        os.waitpid(first, 0)
        pid = int(here.expect("forked"))
        master = _accompany(here, request, pid)
    except BaseException:
        if pid > 0:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        raise
    finally:
        os.close(init)
        here.close()
    return pid, master


def _keeps_groups(spec: Spec) -> bool:
    return spec.annotations.get("run.oci.keep_original_groups") == "1"


def _accompany(here: Channel, request: ExecRequest, pid: int) -> int:
    """Wait until the process is executed, which closes its end; returns the terminal's master or -1. Raises PtbError."""
    master = -1
    while True:
        word, _text, descriptor = here.receive()
        if word == "terminal":
            master = descriptor
        elif word == "ready":
            if request.pid_file:
                launch.write_pid_file(request.pid_file, pid)
            here.send("go")
        elif word == "":
            return master
        else:
            raise PtbError(f"the process said {word!r}")


def _namespaces_to_join(state: State, init: int) -> int:
    """The kinds in which init differs from the caller, as CLONE_ flags; `init` is kept open so the pid stays its own."""
    flags = 0
    kinds = {"user": kernel.CLONE_NEWUSER, "mount": kernel.CLONE_NEWNS, "time": kernel.CLONE_NEWTIME}
    names = {"mount": "mnt", "network": "net"}
    for kind in ("user", *_JOINED):
        name = names.get(kind, kind)
        flag = kinds.get(kind, launch.CLONE_FLAGS[kind])
        try:
            same = os.stat(f"/proc/{state.pid}/ns/{name}").st_ino == os.stat(f"/proc/self/ns/{name}").st_ino
        except OSError:
            same = kind == "time"
        if not same:
            flags |= flag
    return flags


def _join(init: int, flags: int, root: tuple[int, int]) -> None:
    try:
        if flags & kernel.CLONE_NEWUSER:
            kernel.setns(init, flags)
            container_init.become_namespace_root(root, keep_groups=False)
        elif flags:
            kernel.setns(init, flags)
    except OSError as error:
        raise KernelError("joining", "the container's namespaces", error.errno or 0) from error


def _enter_cgroup(state: State, below: str) -> None:
    if state.cgroup:
        from rootless import container_cgroup

        container_cgroup.attach(state.cgroup, os.getpid(), below)


def _run(
    request: ExecRequest,
    spec: Spec,
    console: _socket.socket | None,
    around: tuple[tuple[bytes, int] | None, _socket.socket | None, int, int],
    document: dict[str, object],
    there: Channel,
    keep_groups: bool,
) -> NoReturn:
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
        os.setsid()
        wanted = request.process
        if wanted.terminal:
            _take_terminal(wanted, console, there)
        compiled, notify, last_capability, proc_fd = around
        filter_ = None
        if compiled is not None:
            deliver = None
            if notify is not None:
                metadata = (spec.linux.seccomp or {}).get("listenerMetadata", "")
                deliver = container_init.notify_deliverer(notify, metadata, document)
            filter_ = process.Filter(*compiled, deliver)

        def announce() -> None:
            there.send("ready")
            there.expect("go")
            kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)

        surroundings = process.Around(
            proc_fd=proc_fd,
            filter=filter_,
            preserved=request.preserve_fds,
            last_capability=last_capability,
            keep_groups=keep_groups,
            personality=spec.linux.personality,
        )
        process.become(wanted, surroundings, announce)
    except (PtbError, OSError) as error:
        there.fail(error)
    os._exit(1)


def _take_terminal(wanted: Process, console: _socket.socket | None, there: Channel) -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    master, slave = tty.open_terminal(root)
    os.close(root)
    if wanted.console_size is not None:
        tty.set_size(master, *wanted.console_size)
    if console is not None:
        tty.send_master(console, master)
        console.close()
    else:
        there.send("terminal", "", master)
    os.close(master)
    try:
        os.fchown(slave, wanted.user.uid, -1)
    except OSError:
        pass
    tty.take(slave)
    os.close(slave)


def process_of(spec: Spec, **changes: object) -> Process:
    """The container's own process with some fields changed, which is what `exec` without --process starts from."""
    assert spec.process is not None  # noqa: S101 # create refuses a container without one
    fields: dict[str, Any] = {name: getattr(spec.process, name) for name in spec.process.__match_args__}
    fields.update(terminal=False, console_size=None)
    fields.update(changes)
    return spec_module.Process(**fields)
