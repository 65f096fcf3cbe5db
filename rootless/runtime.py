"""The verbs of an OCI runtime over containers on record: start, kill, delete, pause, and what is asked of them.

`launch` creates and `container_exec` adds processes. Errors are PtbErrors that name the container.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from rootless import channel, container_cgroup, launch, processes
from rootless import state as state_module
from rootless import system as os
from rootless.errors import HostUnfit, InUse, NotFound, PtbError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Spec
    from rootless.state import State


def start(root: str, identity: str, spec: Spec | None = None) -> None:
    """Have a created container execute its process, then run the poststart hooks. Raises PtbError.

    `spec` is the configuration it was created with, where the caller has it already.
    """
    state = state_module.read(root, identity)
    now = state_module.status(root, state)
    if now != "created":
        raise InUse(f'container "{identity}" cannot be started: it is {now}, not created')
    directory = state_module.open_directory(root, identity)
    try:
        init = channel.connect(directory, "start.sock")
    except OSError:
        raise InUse(f'container "{identity}" cannot be started: something else is starting it') from None
    finally:
        os.close(directory)
    init.send("start")
    word, _text, _descriptor = init.receive()
    if word:
        raise PtbError(f'container "{identity}" answered {word!r} to start')
    spec = spec or state_module.configuration(root, identity)
    launch.run_and_warn("poststart", spec, state_module.document(state, "running"))


def kill(root: str, identity: str, signal: int, *, everything: bool = False) -> None:
    """Send `signal` to the container's first process, or with `everything` to all. Raises PtbError."""
    state = state_module.read(root, identity)
    process = state_module.open_process(state)
    if everything:
        for pid in members(state):
            try:
                os.kill(pid, signal)
            except ProcessLookupError:
                continue
        if process is not None:
            os.close(process)
        return
    if process is None:
        raise InUse(f'container "{identity}" is not running')
    try:
        _signal.pidfd_send_signal(process, signal)
    except ProcessLookupError:
        raise InUse(f'container "{identity}" is not running') from None
    except PermissionError as error:
        raise PtbError(f'container "{identity}": the signal was refused: {error.strerror}') from error
    finally:
        os.close(process)


def members(state: State) -> list[int]:
    """The processes of a container: of its cgroup, or where it has none of its pid namespace or session."""
    if state.cgroup:
        found = container_cgroup.process_ids(state.cgroup)
        if found is not None:
            return found
    process = state_module.open_process(state)
    if process is None:
        return []
    os.close(process)
    own = _namespace(os.getpid())
    theirs = _namespace(state.pid)
    if theirs is None or theirs == own:
        return [state.pid]
    return [pid for pid in _all_pids() if _namespace(pid) == theirs]


def _namespace(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def delete(root: str, identity: str, spec: Spec | None = None, *, force: bool = False) -> None:
    """Undo `create`; with `force` whatever the container is doing, and without error if there is none.

    `spec` is as for `start`. Raises PtbError.
    """
    try:
        directory = state_module.open_directory(root, identity)
    except NotFound:
        if force:
            return
        raise
    held = -1
    try:
        held = state_module.lock(directory)
        try:
            state = state_module.read_in(directory, identity)
        except NotFound:
            if not force:
                raise
            state_module.forget(root, identity)
            return
        process = state_module.open_process(state)
        if process is not None:
            now = state_module.status(root, state)
            if not force and now != "created":
                raise InUse(
                    f'container "{identity}" is {now}, not stopped', hint=f"ptb-runtime delete --force {identity}"
                )
            if state.cgroup:
                container_cgroup.kill(state.cgroup)
            processes.kill_and_wait(process)
            os.close(process)
        elif state.cgroup and force:
            container_cgroup.kill(state.cgroup)
        container_cgroup.remove(state.cgroup)
        _run_poststop(root, state, spec)
        state_module.forget(root, identity)
    finally:
        if held >= 0:
            os.close(held)
        os.close(directory)


def _run_poststop(root: str, state: State, spec: Spec | None) -> None:
    try:
        spec = spec or state_module.configuration(root, state.id)
    except PtbError:
        return
    launch.run_poststop(state, spec)


def pause(root: str, identity: str, *, resume: bool = False) -> None:
    """Freeze all processes of a container, or let them go on. Raises PtbError."""
    state = state_module.read(root, identity)
    now = state_module.status(root, state)
    verb, wanted = ("resumed", ("paused",)) if resume else ("paused", ("running", "created"))
    if now not in wanted:
        raise InUse(f'container "{identity}" cannot be {verb}: it is {now}')
    if not state.cgroup:
        raise HostUnfit(
            f'container "{identity}" cannot be {verb}: it has no cgroup of its own to freeze',
            hint="cgroup v2 with a systemd user session gives it one",
        )
    container_cgroup.freeze(state.cgroup, frozen=not resume)


def document(root: str, identity: str) -> dict[str, object]:
    """What `state` prints. Raises NotFound."""
    state = state_module.read(root, identity)
    now = state_module.status(root, state)
    found: dict[str, object] = {
        "ociVersion": state.version,
        "id": state.id,
        "pid": state.pid if now != "stopped" else 0,
        "status": now,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "owner": _user_name(state.owner),
        "annotations": state.annotations,
    }
    return found


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listing(root: str) -> list[dict[str, object]]:
    """The states of all containers; one that is just being made or deleted is left out."""
    found = []
    for identity in state_module.identities(root):
        try:
            found.append(document(root, identity))
        except PtbError:
            continue
    return found
