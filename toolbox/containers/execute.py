"""`exec`: another process in a container that runs. The monitor has no part in it: namespaces are joined directly."""

from __future__ import annotations

from rootless import container_exec, processes, terminal_relay
from rootless import state as state_module
from rootless import system as os
from rootless.errors import InUse, PtbError
from rootless.record import replace
from toolbox.containers import store, users
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Process


def execute(
    container: ContainerRecord,
    command: tuple[str, ...],
    *,
    terminal: bool = False,
    interactive: bool = False,
    detach: bool = False,
    environment: tuple[str, ...] = (),
    user: str = "",
    directory: str = "",
    privileged: bool = False,
    preserve_fds: int = 0,
    pid_file: str = "",
) -> int:
    """Run the command in the container; returns its exit status, or 0 at once with `detach`. Raises PtbError."""
    processes.check_preserved(preserve_fds)
    status = store.status(container)
    if status.state != "running":
        raise InUse(f'container "{container.name}" is not running', hint=f"ptb start {container.name}")
    root = store.runtime_root()
    spec = state_module.configuration(root, container.id)
    process = container_exec.process_of(
        spec,
        arguments=command,
        terminal=terminal,
        environment=(*_inherited(spec.process), *environment),
        directory=directory or container.directory or "/",
    )
    if user:
        process = _as_user(process, container, user)
    if privileged:
        from rootless import capabilities

        process = replace(
            process, capabilities=dict.fromkeys(("bounding", "effective", "permitted"), capabilities.NAMES)
        )
        spec = replace(spec, linux=replace(spec.linux, seccomp=None))
    request = container_exec.ExecRequest(
        root=root,
        id=container.id,
        spec=spec,
        process=process,
        pid_file=os.path.abspath(pid_file) if pid_file else "",
        preserve_fds=preserve_fds,
        keep_terminal=True,
    )
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2) if detach else () if interactive or terminal else (0,):
        os.dup2(null, fd)
    signals = None if detach else terminal_relay.catch_signals()
    try:
        pid, master = container_exec.start(request)
    except PtbError as error:
        error.message = f'container "{container.name}": {error.message}'
        raise
    return 0 if signals is None else terminal_relay.wait(pid, master, signals)


def _inherited(process: Process | None) -> tuple[str, ...]:
    """The container's own variables; TERM is the new terminal's to set."""
    assert process is not None  # noqa: S101 # create refuses a container without one
    return process.environment


def _as_user(process: Process, container: ContainerRecord, text: str) -> Process:
    """The process as another user, looked up in the container's own files."""
    from rootless import capabilities
    from rootless.spec import User

    found = _looked_up(container, text)
    environment = tuple(entry for entry in process.environment if not entry.startswith("HOME="))
    if found.uid == 0:
        held = tuple(sorted(container.security.capabilities or capabilities.DEFAULT))
        sets = dict.fromkeys(("bounding", "effective", "permitted"), held)
    else:
        sets = {
            **dict.fromkeys(("effective", "permitted", "inheritable", "ambient"), ()),
            "bounding": process.capabilities["bounding"],
        }
    return replace(
        process,
        user=User(found.uid, found.gid, process.user.umask, found.groups),
        environment=(*environment, f"HOME={found.home}"),
        capabilities={"inheritable": (), "ambient": (), **sets},
    )


def _looked_up(container: ContainerRecord, text: str) -> users.User:
    """The user, looked up in the files of the running container."""
    from rootless import json_text
    from toolbox.containers import filesystem

    def question(root: int) -> str:
        found = users.resolve(root, text, container.groups)
        return json_text.dump([found.uid, found.gid, list(found.groups), found.home, found.name])

    uid, gid, groups, home, name = json_text.parse(filesystem.ask(container, question), "the user")
    return users.User(uid, gid, tuple(groups), home, name)
