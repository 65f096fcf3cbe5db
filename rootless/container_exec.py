"""Another process in a container that runs: `exec`.

The caller forks a process that joins the container's cgroup and namespaces; that one clones the process itself as the
caller's child and ends. Nothing else is in between, and the container's init has no part in it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket

from rootless import channel, kernel, process, procfs, starting
from rootless import spec as spec_module
from rootless import state as state_module
from rootless import system as os
from rootless.errors import InUse, KernelError, PtbError
from rootless.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from rootless.channel import Channel
    from rootless.process import Around
    from rootless.spec import Process, Spec
    from rootless.state import State


@record
class ExecRequest:
    """What `exec` is asked for; `spec` is the container's, `process` complete, `cgroup` a path below its own."""

    root: str
    id: str
    spec: Spec
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
    starting.check_terminal(request.process.terminal, request.console_socket, keeps=request.keep_terminal)
    around = starting.surroundings(request.spec, request.preserve_fds)
    console = channel.connect_path(request.console_socket) if request.console_socket else None
    if request.process.terminal:
        from rootless import tty  # noqa: F401 # while its file can be reached
    given = _namespaces_of_waiting(request) if now == "created" else {}
    joined = 0 if given else _namespaces_to_join(state, init)
    root = starting.namespace_root(state.pid)
    document = state_module.document(state, now)
    around = replace(around, proc_fd=procfs.open_host())  # the container's own /proc is whatever it made of it
    here, there = channel.pair()
    first = kernel.clone(0)
    if first == 0:
        try:
            here.close()
            _enter_cgroup(state, request.cgroup)
            if request.process.oom_score_adjustment is not None:
                starting.set_oom_score(request.process.oom_score_adjustment)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            process.raise_hard_limits(request.process)
            _join(init, joined, given, root)
            pid = kernel.clone(kernel.CLONE_PARENT)
            if pid == 0:
                _run(request.process, console, around, document, there)
            there.send("forked", str(pid))
        except (PtbError, OSError) as error:
            there.fail(error)
        finally:
            there.close()  # or the other's end would seem open for as long as it takes to take this memory down
            os._exit(0)
    there.close()
    pid = -1
    try:
        pid = int(here.expect("forked"))
        here.send("forked")
        master = _accompany(here, request, pid)
    except BaseException:
        if pid > 0:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        raise
    finally:
        here.close()
        for fd in (around.proc_fd, init, *given.values()):
            os.close(fd)
        os.waitpid(first, 0)
    return pid, master


def _accompany(here: Channel, request: ExecRequest, pid: int) -> int:
    """Wait until the process is executed, which closes its end; returns the terminal's master or -1. Raises PtbError."""
    master = -1
    while True:
        word, _text, descriptor = here.receive()
        if word == "terminal":
            master = descriptor
        elif word == "ready":
            if request.pid_file:
                starting.write_pid_file(request.pid_file, pid)
            here.send("go")
        elif word == "":
            return master
        else:
            raise PtbError(f"the process said {word!r}")


def _namespaces_to_join(state: State, init: int) -> int:
    """The kinds in which init differs from the caller, as CLONE_ flags; `init` is kept open so the pid stays its own."""
    flags = 0
    for kind, name in starting.NAMESPACE_FILES.items():
        try:
            same = os.stat(f"/proc/{state.pid}/ns/{name}").st_ino == os.stat(f"/proc/self/ns/{name}").st_ino
        except OSError:
            same = kind == "time"
        if not same:
            flags |= starting.CLONE_FLAGS[kind]
    return flags


def _namespaces_of_waiting(request: ExecRequest) -> dict[str, int]:
    """Those of a container that waits to be started, by kind, which only its init can give; none once it is started.

    What waits is this interpreter, and must not be looked into by anyone (CVE-2019-5736), an ordinary caller included.
    """
    directory = state_module.open_directory(request.root, request.id)
    try:
        there = channel.connect(directory, "start.sock")
    except OSError:
        return {}
    finally:
        os.close(directory)
    there.send("join")
    found: dict[str, int] = {}
    while True:
        word, kind, namespace = there.receive()
        if word != "namespace":
            there.close()
            return found
        if os.fstat(namespace).st_ino == os.stat(f"/proc/self/ns/{starting.NAMESPACE_FILES[kind]}").st_ino:
            os.close(namespace)
        else:
            found[kind] = namespace


def _join(init: int, flags: int, given: dict[str, int], root: tuple[int, int]) -> None:
    if given:
        from rootless import launch

        launch.join_namespaces(given)
        if "user" in given:
            starting.become_namespace_root(root, keep_groups=False)
        return
    try:
        if flags & kernel.CLONE_NEWUSER:
            kernel.setns(init, flags)
            starting.become_namespace_root(root, keep_groups=False)
        elif flags:
            kernel.setns(init, flags)
    except OSError as error:
        raise KernelError("joining", "the container's namespaces", error.errno or 0) from error


def _enter_cgroup(state: State, below: str) -> None:
    if state.cgroup:
        from rootless import container_cgroup

        container_cgroup.attach(state.cgroup, os.getpid(), below)


def _run(
    wanted: Process, console: _socket.socket | None, around: Around, state: dict[str, object], there: Channel
) -> NoReturn:
    def announce() -> None:
        there.send("ready")
        there.expect("go")
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)

    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
        there.expect("forked")  # two processes speak through this end: the other one first
        os.setsid()
        if wanted.terminal:
            from rootless import tty

            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            tty.take(tty.hand_over(root, wanted, console, there))
            os.close(root)
        process.become(wanted, around, state, announce)
    except (PtbError, OSError) as error:
        there.fail(error)
    except Exception as error:  # noqa: BLE001 # a mistake of ours: in here nobody else would tell of it
        there.fail(PtbError(f"this is a mistake in ptb-runtime: {error!r}"))
    finally:
        os._exit(1)


def process_of(spec: Spec, **changes: object) -> Process:
    """The container's own process with some fields changed, which is what `exec` without --process starts from."""
    return replace(spec.process or spec_module.no_process(), **{"terminal": False, "console_size": None, **changes})
