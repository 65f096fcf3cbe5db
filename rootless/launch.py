"""The parent side of `create`: from a bundle to an init that waits to be started (see `container_init` for the order).

Whatever fails, or whoever kills this process, nothing is left but what `delete --force` clears: init dies with its
parent until the container is on record.
"""

from __future__ import annotations

import fcntl

from rootless import (
    capabilities,
    channel,
    container_cgroup,
    ids,
    json_text,
    kernel,
    paths,
    processes,
    starting,
)
from rootless import spec as spec_module
from rootless import state as state_module
from rootless import system as os
from rootless.errors import HostUnfit, InvalidDocument, KernelError, NotFound, PtbError, warn
from rootless.ids import IdMaps
from rootless.process import raise_hard_limits
from rootless.record import record, replace
from rootless.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from rootless.channel import Channel
    from rootless.process import Around
    from rootless.spec import Process, Spec

_LATER = ("cgroup", "time")
"""Namespaces that init makes itself: the first once it is in its cgroup, the second once its offsets are known."""

_EPERM = 1
_NS_GET_NSTYPE = 0xB703


@record
class Request:
    """What `create` and `run` are asked for; paths are absolute, empty where not given; `config` may be relative to `bundle`.

    At `notify_socket` the container finds a directory with the socket it tells of its readiness, see sd_notify(3).
    """

    root: str
    id: str
    bundle: str
    config: str = "config.json"
    console_socket: str = ""
    pid_file: str = ""
    preserve_fds: int = 0
    pivot: bool = True
    systemd_cgroup: bool = False
    cgroup_disabled: bool = False
    reaper: bool = False
    keep_terminal: bool = False
    notify_socket: str = ""


@record
class Created:
    """A container that waits to be started; `master` is its terminal if the caller keeps it, else -1."""

    state: State
    spec: Spec
    master: int


@record
class Setup:
    """What init needs besides the configuration, opened before it was forked.

    `prepared` holds bind mounts cloned with the caller's privileges, by index, `nodes` devices, by path; `listener` is
    start.sock and `waiting` the lock that tells created from running; `foreign` are descriptors of the parent's to
    close, its lock among them; `console` is the socket for the terminal's master, or None to send it over the channel;
    `reaper` whether PID 1 stays as an init; `network` is a namespace for init to join, or -1.
    """

    spec: Spec
    process: Process
    bundle: str
    rootfs: str
    prepared: dict[int, int]
    nodes: dict[str, int]
    listener: _socket.socket
    waiting: int
    console: _socket.socket | None
    around: Around
    pivot: bool
    reaper: bool
    environment: dict[str, str]
    foreign: tuple[int, ...]
    network: int = -1


def create(request: Request) -> Created:
    """Create a container. Raises PtbError, and then it does not exist."""
    path = request.config if request.config.startswith("/") else f"{request.bundle}/{request.config}"
    text, document = spec_module.load(path)
    spec = _without_vain_label(_with_user_namespace(spec_module.read_spec(document)))
    process = _with_listened_descriptors(spec.process or spec_module.no_process())
    _check_security_modules(process)
    capabilities.warn_of_unknown(process.capabilities)
    preserved = request.preserve_fds + int(os.environ.get("LISTEN_FDS", "0"))
    starting.check_terminal(process.terminal, request.console_socket, keeps=request.keep_terminal)
    directory = state_module.make(request.root, request.id)
    held = state_module.lock(directory)
    try:
        state_module.write(directory, "config.json", text)
        if request.notify_socket:
            from rootless import notify_mount

            spec, process = notify_mount.add(spec, process, request, directory)
        return _create_in(request, spec, process, preserved, directory, held)
    except BaseException:
        state_module.forget(request.root, request.id)
        raise
    finally:
        os.close(held)
        os.close(directory)


def _check_security_modules(process: Process) -> None:
    """Raises HostUnfit where a label or profile is asked for and this kernel has nobody to enforce it."""
    if process.apparmor_profile and not os.path.exists("/proc/self/attr/apparmor/exec"):
        raise HostUnfit(f'process.apparmorProfile: AppArmor profile "{process.apparmor_profile}": this kernel has none')
    if process.selinux_label and not _has_selinux():
        raise HostUnfit(f'process.selinuxLabel: SELinux label "{process.selinux_label}": this kernel has no SELinux')


def _has_selinux() -> bool:
    return os.path.isdir("/sys/fs/selinux")


def _without_vain_label(spec: Spec) -> Spec:
    """Without linux.mountLabel where no kernel heeds labels of mounts, as runc and crun have it: nothing is kept out by one."""
    if not spec.linux.mount_label or _has_selinux():
        return spec
    warn(f'linux.mountLabel: SELinux label "{spec.linux.mount_label}" is left out: this kernel has no SELinux')
    return replace(spec, linux=replace(spec.linux, mount_label=""))


def _with_listened_descriptors(process: Process) -> Process:
    """Socket activation passes through: the process is told of what it inherits (sd_listen_fds(3))."""
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isdecimal() or count == "0":
        return process
    extra = [f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    if "LISTEN_FDNAMES" in os.environ:
        extra.append(f"LISTEN_FDNAMES={os.environ['LISTEN_FDNAMES']}")
    return replace(process, environment=(*process.environment, *extra))


def _create_in(request: Request, spec: Spec, process: Process, preserved: int, directory: int, held: int) -> Created:
    rootfs = paths.normalize(spec.root_path if spec.root_path.startswith("/") else f"{request.bundle}/{spec.root_path}")
    if not _is_directory(rootfs):
        raise NotFound(f'the root file system "{rootfs}" is not a directory')
    new_user = spec.linux.namespaces.get("user") == ""
    listener = channel.listen(directory, "start.sock")
    waiting = os.open("waiting", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=directory)
    fcntl.flock(waiting, fcntl.LOCK_EX)
    prepared = _prepare_sources(spec, request.bundle, new_user=new_user)
    nodes: dict[str, int] = {}
    if new_user and spec.linux.devices and os.geteuid() == 0:
        from rootless import device_nodes

        nodes = device_nodes.make(spec.linux.devices, _maps_of(spec), f"{request.root}/{request.id}")
    setup = Setup(
        spec=spec,
        process=process,
        bundle=request.bundle,
        rootfs=rootfs,
        prepared=prepared,
        nodes=nodes,
        listener=listener,
        waiting=waiting,
        console=channel.connect_path(request.console_socket) if request.console_socket else None,
        around=starting.surroundings(spec, preserved),
        pivot=request.pivot,
        reaper=request.reaper,
        environment=dict(os.environ),
        foreign=(directory, held),
    )
    cgroup = container_cgroup.plan(spec, request.id, systemd=request.systemd_cgroup, disabled=request.cgroup_disabled)
    state = State(
        id=request.id,
        version=spec.version,
        pid=0,
        started=0,
        boot=processes.boot_id(),
        bundle=request.bundle,
        rootfs=rootfs,
        created=_now(),
        owner=os.geteuid(),
        annotations=spec.annotations,
        cgroup=cgroup,
    )
    state_module.save(directory, state)
    here, there = channel.pair()
    pid = -1
    hooked = False
    try:
        cgroup = container_cgroup.make(cgroup, spec)
        raise_hard_limits(process)
        pid = _fork_init(spec, setup, here, there)
        there.close()
        listener.close()
        for fd in (waiting, *prepared.values(), *nodes.values()):
            os.close(fd)
        started = processes.start_time(pid)
        if started is None:
            here.expect("ready")
        state = replace(state, pid=pid, started=started)
        if new_user:
            ids.map_ids(pid, _maps_of(spec))
        state_module.save(directory, state)
        cgroup = container_cgroup.enter(cgroup, spec, pid)
        if cgroup != state.cgroup:
            state = replace(state, cgroup=cgroup)
            state_module.save(directory, state)
        hooked = True
        master = _accompany(spec, state, here)
        if request.pid_file:
            starting.write_pid_file(request.pid_file, pid)
        here.send("commit")
        here.expect("committed")  # it dies with this process until it has said so
        here.close()
        return Created(state, spec, master)
    except BaseException:
        if pid > 0:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        container_cgroup.remove(cgroup)
        if hooked:
            run_poststop(state, spec)
        raise


def _is_directory(path: str) -> bool:
    try:
        return os.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def _with_user_namespace(spec: Spec) -> Spec:
    """An ordinary user's container is in a new user namespace, whether the configuration says so or not, as crun has it."""
    if os.geteuid() == 0 or "user" in spec.linux.namespaces or _may_administrate():
        return spec
    return replace(spec, linux=replace(spec.linux, namespaces={"user": "", **spec.linux.namespaces}))


def _may_administrate() -> bool:
    """Whether the caller has CAP_SYS_ADMIN, as who made the user namespace it is in has, whatever its id there."""
    return bool(kernel.permitted_capabilities() & 1 << 21)


def _maps_of(spec: Spec) -> IdMaps:
    """The configured id maps; without any, as crun has it: all the ids the caller has, itself as root."""
    if spec.linux.uid_mappings:
        return IdMaps(spec.linux.uid_mappings, spec.linux.gid_mappings)
    if os.geteuid() == 0:
        return IdMaps((ids.IdRange(0, 0, ids.ALL),), (ids.IdRange(0, 0, ids.ALL),))
    try:
        return ids.subordinates().default_maps()
    except HostUnfit:
        return IdMaps((ids.IdRange(0, os.geteuid(), 1),), (ids.IdRange(0, os.getegid(), 1),))


def _now() -> str:
    """The time in UTC as RFC 3339 has it, with nanoseconds."""
    import time

    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"


def _accompany(spec: Spec, state: State, here: Channel) -> int:
    """Take init through to `ready`; returns the terminal's master if it sent it here. Raises PtbError."""
    here.send("go", json_text.dump(state_module.document(state, "creating")))
    master = -1
    while True:
        word, _text, descriptor = here.receive()
        if word == "terminal":
            master = descriptor
        elif word == "hooks":
            from rootless import hooks

            for name in ("prestart", "createRuntime"):
                hooks.run_all(name, spec.hooks[name], state_module.document(state, "created"), dict(os.environ))
            here.send("go")
        elif word == "ready":
            return master
        else:
            raise PtbError(f'the init of container "{state.id}" died')


def run_poststop(state: State, spec: Spec) -> None:
    """Run the poststop hooks, each whatever becomes of the others; what fails is a warning (runtime.md, Lifecycle)."""
    run_and_warn("poststop", spec, state_module.document(state, "stopped"))


def run_and_warn(name: str, spec: Spec, document: dict[str, object]) -> None:
    """Run hooks whose failure changes nothing."""
    for hook in spec.hooks[name]:
        from rootless import hooks

        try:
            hooks.run_all(name, (hook,), document, dict(os.environ))
        except PtbError as error:
            warn(error.message)


def _prepare_sources(spec: Spec, bundle: str, *, new_user: bool) -> dict[int, int]:
    """Clone what init, in another user namespace than this process, may not reach or not map."""
    prepared = {}
    for index, mount in enumerate(spec.mounts):
        mapped = bool(mount.uid_mappings) or not {"idmap", "ridmap"}.isdisjoint(mount.options)
        if not mount.is_bind or "copy-symlink" in mount.options:
            if mapped:
                raise InvalidDocument(f'mount "{mount.destination}": only bind mounts can have ids of their own')
            continue
        if not mapped and not (new_user and os.geteuid() == 0):
            continue
        from rootless import container_mounts

        userns = -1
        if mapped:
            userns = _user_namespace_for(mount, spec)
        try:
            prepared[index] = container_mounts.clone_source(mount, bundle, userns_fd=userns)
        finally:
            if userns >= 0:
                os.close(userns)
        if {"shared", "rshared"}.isdisjoint(mount.options):
            deep = kernel.AT_EMPTY_PATH | kernel.AT_RECURSIVE
            kernel.mount_setattr(prepared[index], "", deep, propagation=kernel.MS_SLAVE)
    return prepared


def _user_namespace_for(mount: spec_module.Mount, spec: Spec) -> int:
    """A user namespace with the mount's id maps, or with the container's own for a bare `idmap`. Raises PtbError."""
    uids = mount.uid_mappings or spec.linux.uid_mappings
    gids = mount.gid_mappings or spec.linux.gid_mappings
    if not uids or not gids:
        raise InvalidDocument(f'mount "{mount.destination}": idmap needs uidMappings and gidMappings')
    ready_read, ready_write = os.pipe()
    pid = kernel.clone(kernel.CLONE_NEWUSER)
    if pid == 0:
        os.close(ready_write)
        os.read(ready_read, 1)
        os._exit(0)
    try:
        os.close(ready_read)
        ids.map_ids(pid, IdMaps(uids, gids))
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready_write)
        os.waitpid(pid, 0)


def _fork_init(spec: Spec, setup: Setup, here: Channel, there: Channel) -> int:
    """Fork init into its namespaces; returns its pid. Raises PtbError."""
    flags = 0
    joined: dict[str, int] = {}
    namespaces = spec.linux.namespaces
    for kind, path in namespaces.items():
        if not path and kind not in _LATER:
            flags |= starting.CLONE_FLAGS[kind]
        elif path:
            try:
                joined[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                _check_kind(joined[kind], kind, path)
            except OSError as error:
                raise KernelError("joining", f'{kind} namespace "{path}"', error.errno or 0) from error
    if not joined or (joined.keys() == {"network"} and "user" not in namespaces):
        # Nobody in a network sees who joins it, so init does that itself.
        network = joined.get("network", -1)
        try:
            return _clone(flags, replace(setup, network=network), here, there)
        finally:
            if network >= 0:
                os.close(network)
    from rootless import container_init  # noqa: F401 # now: another mount namespace may have no such file

    first = os.fork()
    if first == 0:
        try:
            # Who is in those namespaces already must see nothing of this process, and of init, while it joins.
            if setup.process.oom_score_adjustment is not None:
                starting.set_oom_score(setup.process.oom_score_adjustment)
            if "user" in joined:
                kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            join_namespaces(joined)
            pid = _clone(flags | kernel.CLONE_PARENT, setup, here, there)
            there.send("forked", str(pid))
        except (PtbError, OSError) as error:
            there.fail(error)
        os._exit(0)
    for fd in joined.values():
        os.close(fd)
    os.waitpid(first, 0)
    return int(here.expect("forked"))


def _check_kind(fd: int, kind: str, path: str) -> None:
    """Raises InvalidDocument unless `fd` is a namespace of that kind (ioctl_nsfs(2))."""
    try:
        found = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        found = 0
    if found != starting.CLONE_FLAGS[kind]:
        raise InvalidDocument(f'linux.namespaces: "{path}" is not a {kind} namespace')


def _clone(flags: int, setup: Setup, here: Channel, there: Channel) -> int:
    try:
        pid = kernel.clone(flags)
    except OSError as error:
        if flags & kernel.CLONE_NEWUSER:
            from rootless.userns import explain_refusal

            raise explain_refusal(error.errno or 0) from error
        raise KernelError("making", "the container's namespaces", error.errno or 0) from error
    if pid == 0:
        try:
            here.close()
            from rootless import container_init

            container_init.run(setup, there)
        finally:
            os._exit(1)  # whatever it was: this is not the parent
    return pid


def join_namespaces(joined: dict[str, int]) -> None:
    """Enter namespaces by descriptor: those the caller may enter as it is, then the user namespace, then the rest.

    Which order works depends on who owns each (setns(2)). Raises KernelError.
    """
    waiting = dict(joined)
    user = waiting.pop("user", None)
    if user is not None:
        for kind in list(waiting):
            if kind != "mount" and _try_join(waiting[kind], kind):
                del waiting[kind]
        try:
            kernel.setns(user, kernel.CLONE_NEWUSER)
        except OSError as error:
            if error.errno != 22:  # it is the caller's own already
                raise KernelError("joining", "the user namespace", error.errno or 0) from error
    for kind in sorted(waiting, key=lambda kind: kind == "mount"):
        try:
            kernel.setns(waiting[kind], starting.CLONE_FLAGS[kind])
        except OSError as error:
            raise KernelError("joining", f"the {kind} namespace", error.errno or 0) from error


def _try_join(fd: int, kind: str) -> bool:
    try:
        kernel.setns(fd, starting.CLONE_FLAGS[kind])
    except OSError as error:
        if error.errno != _EPERM:
            raise KernelError("joining", f"the {kind} namespace", error.errno or 0) from error
        return False
    return True
