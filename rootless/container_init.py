"""The child side of `create`: from the first instruction in new namespaces to execve(2). Reads top to bottom.

    launch                                  init
    clone ────────────────────────────────▶ first words: time namespace, oom score
    id maps, cgroup; go, with the state ──▶ root of the namespace; cgroup namespace, host name, sysctl
                                            root file system, mounts, devices, terminal
    ◀───────────────────────────── hooks ── (only if there are any)
    prestart, createRuntime; go ──────────▶ createContainer; masks; pivot
    ◀───────────────────────────── ready ──
    state and pid written; commit ────────▶ outlives launch from here on
    ◀───────────────────────── committed ── waits on start.sock
    start ────────────────────────────────▶ startContainer; the process itself

This module is loaded by init itself, while the parent has its ids mapped. Nothing may be imported after the pivot: the
interpreter's files are gone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket

from rootless import channel, hooks, json_text, kernel, paths, process, procfs, rootfs, starting, tty
from rootless import system as os
from rootless.errors import CommandNotRunnable, InvalidDocument, KernelError, PtbError
from rootless.network.namespace import bring_loopback_up
from rootless.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from rootless.channel import Channel
    from rootless.launch import Setup
    from rootless.spec import Process, Spec


def run(setup: Setup, parent: Channel) -> NoReturn:
    """Be the container's init; what fails is said to whoever waits, and ends it."""
    teller = parent
    try:
        state, root_fd, proc_fd = _build(setup, parent)
        parent.send("ready")
        parent.expect("commit")
        kernel.prctl(kernel.PR_SET_PDEATHSIG, 0)
        parent.send("committed")
        parent.close()
        teller = _await_start(setup.listener, proc_fd)
        os.close(root_fd)
        if setup.spec.process is None:
            raise InvalidDocument("process is missing in the configuration: there is nothing to start")
        hooks.run_all("startContainer", setup.spec.hooks["startContainer"], state | {"status": "created"}, {})
        _execute(setup, proc_fd, state)
    except (PtbError, OSError) as error:
        teller.fail(error)
    os._exit(1)


def _build(setup: Setup, parent: Channel) -> tuple[dict[str, object], int, int]:
    spec = setup.spec
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
    for fd in setup.foreign:
        os.close(fd)
    kernel.close_range(3, 0xFFFFFFFF, kernel.CLOSE_RANGE_CLOEXEC)  # hooks that run inside get nothing of the caller's
    os.setsid()
    os.umask(0)
    if setup.network >= 0:
        _join_network(setup.network)
    if setup.process.oom_score_adjustment is not None:
        starting.set_oom_score(setup.process.oom_score_adjustment)
    if spec.linux.namespaces.get("time") == "":
        _enter_time_namespace(spec)
    state: dict[str, object] = json_text.parse(parent.expect("go"), "state")
    # While the caller's ids are still its own: they may lead where those of the namespace's root do not.
    point = rootfs.open_point(setup.rootfs)
    if "user" in spec.linux.namespaces or os.geteuid() != 0:
        starting.become_namespace_root(starting.namespace_root("self"), keep_groups=setup.around.keep_groups)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
    if spec.linux.namespaces.get("cgroup") == "":
        kernel.unshare(kernel.CLONE_NEWCGROUP)
    if spec.linux.namespaces.get("network") == "":
        bring_loopback_up()
    if spec.hostname:
        kernel.sethostname(spec.hostname)
    if spec.domainname:
        kernel.setdomainname(spec.domainname)
    null = rootfs.open_null()
    proc_fd = procfs.open_private()
    procfs.set_sysctls(proc_fd, spec.linux.sysctl)
    root_fd = rootfs.attach_root(spec, point)
    kernels, late = rootfs.mount_all(root_fd, spec, setup.bundle, setup.prepared)
    own_dev = rootfs.has_own_dev(root_fd, spec)
    if own_dev:
        rootfs.make_devices(root_fd, spec, setup.nodes, bind="user" in spec.linux.namespaces)
    os.close(paths.make_directories(root_fd, setup.process.directory, how=paths.ACROSS_MOUNTS))
    if setup.process.terminal:
        slave = tty.hand_over(root_fd, setup.process, setup.console, parent)
        if own_dev:
            rootfs.attach_console(root_fd, slave)
        tty.take(slave)
    if spec.hooks["prestart"] or spec.hooks["createRuntime"]:
        parent.send("hooks")
        parent.expect("go")
    hooks.run_all("createContainer", spec.hooks["createContainer"], state | {"status": "created"}, setup.environment)
    rootfs.finish(root_fd, spec, kernels, late, null)
    for fd in (null, *kernels.values()):
        os.close(fd)
    rootfs.enter(root_fd, spec.linux.rootfs_propagation, pivot=setup.pivot)
    if spec.process is not None:
        _check_command(spec.process)
    return state, root_fd, proc_fd


def _join_network(namespace: int) -> None:
    try:
        kernel.setns(namespace, kernel.CLONE_NEWNET)
    except OSError as error:
        raise KernelError("joining", "the network namespace", error.errno or 0) from error
    os.close(namespace)


def _enter_time_namespace(spec: Spec) -> None:
    """Make one and go in: offsets can be set only while nobody is inside (time_namespaces(7))."""
    try:
        kernel.unshare(kernel.CLONE_NEWTIME)
        if spec.linux.time_offsets:
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or else the file is the real root's; for as long as this takes
            text = "".join(f"{clock} {seconds} {nanos}\n" for clock, seconds, nanos in spec.linux.time_offsets)
            with open("/proc/self/timens_offsets", "w", encoding="utf-8") as stream:
                stream.write(text)
        namespace = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        kernel.setns(namespace, kernel.CLONE_NEWTIME)
        os.close(namespace)
    except OSError as error:
        raise KernelError("making", "a time namespace", error.errno or 0) from error


def _check_command(wanted: Process) -> None:
    """Fail `create` where the command is plainly not there, as runc does, and not only `start`."""
    name = wanted.arguments[0]
    if "/" in name and not name.startswith("/"):
        return
    environment = dict(entry.partition("=")[::2] for entry in wanted.environment)
    try:
        process.find_executable(name, environment)
    except CommandNotRunnable:
        return  # the process's own user may see that differently


def _await_start(listener: _socket.socket, proc_fd: int) -> Channel:
    """Wait for someone who says `start`; those who connect and go away do not count.

    To `exec` this process, which nobody may look into, gives its namespaces.
    """
    while True:
        caller = channel.accept(listener)
        word, _text, _descriptor = caller.receive()
        if word == "start":
            listener.close()
            return caller
        if word == "join":
            for kind, name in starting.NAMESPACE_FILES.items():
                try:
                    namespace = os.open(f"self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
                except FileNotFoundError:
                    continue  # a kernel without that kind
                caller.send("namespace", kind, namespace)
                os.close(namespace)
        caller.close()


def _execute(setup: Setup, proc_fd: int, state: dict[str, object]) -> NoReturn:
    if setup.reaper:
        _stay_as_reaper()
    around = replace(setup.around, proc_fd=proc_fd)
    process.become(setup.process, around, state, lambda: None)


def _stay_as_reaper() -> None:
    """Fork the process that goes on, and stay PID 1: reap orphans, pass signals on, end as the process ends."""
    forwarded = {number for number in range(1, 65) if number not in (9, 17, 19, 32, 33)}
    _signal.pthread_sigmask(_signal.SIG_BLOCK, forwarded | {17})
    child = os.fork()
    if child == 0:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
        return
    kernel.set_process_name(b"init")
    kernel.close_range(0, 0xFFFFFFFF, 0)
    while True:
        number = _signal.sigwait(forwarded | {17})
        if number != 17:
            try:
                os.kill(child, number)
            except OSError:
                pass
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
