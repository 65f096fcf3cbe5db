"""The OCI runtime under a container: ours, called in place, or any other, run as the program it is.

The caller is a container's monitor, in the user namespace the container lives in. Which runtime it is is a path, empty
for ours; all work on the same bundle and keep their state below the same directory.
"""

from __future__ import annotations

from rootless import container_cgroup, launch, processes, runtime
from rootless import spec as spec_module
from rootless import state as state_module
from rootless import system as os
from rootless.errors import CommandNotFound, CommandNotRunnable, HostUnfit, NotFound, PtbError
from rootless.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.launch import Request
    from rootless.spec import Spec


def create(request: Request, program: str) -> tuple[int, int, Spec | None]:
    """Create the container; returns its pid, whose parent or subreaper is the caller, its terminal's master or -1, and
    its configuration if ours has read it.

    The container's standard streams are the caller's. Raises PtbError.
    """
    if not program:
        created = launch.create(request)
        return created.state.pid, created.master, created.spec
    from rootless import terminal_socket

    pid_file = request.pid_file or f"{request.bundle}/pid"
    arguments = [*_call(program, request.root, systemd=request.systemd_cgroup), "create", "--bundle", request.bundle]
    arguments += ["--pid-file", pid_file]
    listener = terminal_socket.listen(request.bundle) if _wants_terminal(request.bundle) else None
    if listener is not None:
        arguments += ["--console-socket", listener.path]
    if request.preserve_fds:
        arguments += ["--preserve-fds", str(request.preserve_fds)]
    try:
        _run([*arguments, request.id], f"{request.bundle}/runtime.log", keep_streams=True)
        with open(pid_file, encoding="ascii") as stream:
            pid = int(stream.read())
        _adopt(request, pid)
        return pid, -1 if listener is None else listener.receive(), None
    finally:
        if listener is not None:
            listener.close()


def _adopt(request: Request, pid: int) -> None:
    """Put a container of another runtime's on record as ours are, so that joining, listing and freezing it work alike."""
    from rootless import cgroups

    text, document = spec_module.load(f"{request.bundle}/config.json")
    hierarchy, cgroup = cgroups.find_hierarchy(), {}
    if hierarchy is not None:
        path = cgroups.cgroup_of(pid)
        if path != cgroups.own_cgroup():
            cgroup = {"manager": "cgroupfs", "hierarchy": hierarchy, "path": path, "made": []}
    directory = state_module.make(request.root, request.id)
    try:
        state_module.write(directory, "config.json", text)
        state = State(
            id=request.id,
            version=document["ociVersion"],
            pid=pid,
            started=processes.start_time(pid) or 0,
            boot=processes.boot_id(),
            bundle=request.bundle,
            rootfs=document["root"]["path"],
            created="",
            owner=os.geteuid(),
            annotations={},
            cgroup=cgroup,
        )
        state_module.save(directory, state)
    finally:
        os.close(directory)


def _wants_terminal(bundle: str) -> bool:
    _text, document = spec_module.load(f"{bundle}/config.json")
    return bool(document["process"].get("terminal"))


def start(root: str, identity: str, program: str, spec: Spec | None) -> None:
    """Have the created container execute its process; `spec` is what `create` returned. Raises PtbError."""
    if not program:
        runtime.start(root, identity, spec)
    else:
        _run([*_call(program, root), "start", identity], f"{root}/{os.path.basename(program)}-{identity}.log")


def delete(root: str, identity: str, program: str, spec: Spec | None = None) -> None:
    """Clear whatever there is of the container, as `start`; that there is nothing is no error."""
    try:
        if not program:
            runtime.delete(root, identity, spec, force=True)
        else:
            log = f"{root}/{os.path.basename(program)}-{identity}.log"
            _run([*_call(program, root), "delete", "--force", identity], log)
            os.unlink(log)
            state_module.forget(root, identity)
    except (PtbError, OSError):
        return


def out_of_memory(root: str, identity: str) -> bool:
    """Whether the kernel killed in the container for want of memory."""
    try:
        cgroup = state_module.read(root, identity).cgroup
        return bool(cgroup) and container_cgroup.out_of_memory_kills(cgroup) > 0
    except PtbError:
        return False


def thaw(root: str, identity: str) -> None:
    """Let a frozen container go on, so that a signal reaches it."""
    try:
        if state_module.status(root, state_module.read(root, identity)) == "paused":
            runtime.pause(root, identity, resume=True)
    except PtbError:
        return


def find(name: str) -> str:
    """The path of the runtime that `--runtime NAME` means; "" for ours. Raises NotFound."""
    if name in ("", "ptb", "ptb-runtime"):
        return ""
    if "/" in name:
        path = os.path.abspath(name)
        if os.access(path, os.X_OK):
            return path
        raise NotFound(f'OCI runtime "{name}" is not an executable file')
    for place in (*os.environ.get("PATH", os.defpath).split(":"), "/usr/sbin", "/usr/local/sbin"):
        if place and os.access(f"{place}/{name}", os.X_OK):
            return f"{place}/{name}"
    raise NotFound(f'OCI runtime "{name}" is not installed', hint=f"sudo apt install {name}, or leave --runtime out")


def _call(program: str, root: str, *, systemd: bool = False) -> list[str]:
    place = f"{root}/{os.path.basename(program)}"
    os.makedirs(place, 0o700, exist_ok=True)
    return [program, *(["--systemd-cgroup"] if systemd else []), "--root", place]


def _run(arguments: list[str], log: str, *, keep_streams: bool = False) -> None:
    """Run the other runtime to its end; raises what it said. With `keep_streams` its output is the container's."""
    name = os.path.basename(arguments[0])
    said = os.open(log, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if keep_streams:
            arguments = [arguments[0], "--log", log, *arguments[1:]]
            actions = []
        else:
            actions = [(os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        pid = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            return
        text = os.pread(said, 1 << 16, 0).decode(errors="replace").strip()
    finally:
        os.close(said)
    last = text.splitlines()[-1] if text else f"it ended with status {status}"
    message = f"{name} {_verb(arguments)}: {last}"
    if "no such file or directory" in last.lower() and "exec" in last.lower():
        raise CommandNotFound(message)
    if "permission denied" in last.lower() and "exec" in last.lower():
        raise CommandNotRunnable(message)
    raise HostUnfit(message) if "cgroup" in last else PtbError(message)


def _verb(arguments: list[str]) -> str:
    return next((word for word in arguments if word in ("create", "start", "delete")), "")
