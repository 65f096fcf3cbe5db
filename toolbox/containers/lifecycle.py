"""start, stop, restart, kill, pause, unpause and wait: what is said to containers that are on record.

Each works on the containers in the order given, prints what it did, and goes on after one that fails; the last failure
is raised.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import sys

from rootless import attachment, signals
from rootless import status as status_module
from rootless import system as os
from rootless.errors import InUse, NotFound, PtbError
from toolbox.containers import events, store
from toolbox.containers.record import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable


def each(containers: list[ContainerRecord], work: Callable[[ContainerRecord], str | None]) -> int:
    """Do the work for each and print what it returns; one that fails does not keep the others from it.

    Raises the last failure, after saying the ones before.
    """
    failed: PtbError | None = None
    for container in containers:
        try:
            said = work(container)
        except PtbError as error:
            if failed is not None:
                print(f"ptb: {failed.message}", file=sys.stderr)
            failed = error
        else:
            if said is not None:
                print(said, flush=True)
    if failed is not None:
        raise failed
    return 0


def removal(work: Callable[[], int]) -> int:
    """Do it with podman's exit statuses: 1 for something that does not exist, 2 for something in use (podman-rm(1))."""
    try:
        return work()
    except NotFound as error:
        error.exit_status = 1
        raise
    except InUse as error:
        error.exit_status = 2
        raise


def monitor_of(container: ContainerRecord) -> _socket.socket | None:
    """A connection to the container's monitor; None where it does not run."""
    return attachment.connect(f"{store.runtime_directory(container.id)}/attach")


def start(container: ContainerRecord) -> None:
    """Start it and leave it to its monitor; one that runs already is left so. Raises PtbError."""
    from toolbox.containers import run

    if store.status(container).state not in ("running", "restarting"):
        run.detached(container)
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def ask_to_stop(container: ContainerRecord, *, signal: str = "", seconds: float | None = None) -> _socket.socket | None:
    """Have it sent its stop signal, and KILL after a while; a connection that tells of its end, None if it does not run."""
    number = str(signals.signal_number(signal)) if signal else ""
    connection = monitor_of(container)
    if connection is not None:
        wait = "" if seconds is None else f"{seconds:g}"
        attachment.tell(connection, attachment.STOP, f"{number},{wait}".encode())
    return connection


def await_end(connection: _socket.socket) -> bytes:
    """Wait until the monitor has cleaned up; the exit status as digits, empty if the monitor was killed."""
    while True:
        word, data = attachment.hear(connection)
        if word in (attachment.EXIT, attachment.FAILED, b""):
            connection.close()
            return data


def stop(container: ContainerRecord, *, signal: str = "", seconds: float | None = None) -> bool:
    """Stop it and return once it has ended; False where it did not run."""
    connection = ask_to_stop(container, signal=signal, seconds=seconds)
    if connection is None:
        return False
    await_end(connection)
    return True


def kill(container: ContainerRecord, signal: str) -> None:
    """Send a signal to its first process. Raises InUse where it does not run, UsageError for what is no signal."""
    number = signals.signal_number(signal)
    connection = monitor_of(container)
    if connection is None or store.status(container).state != "running":
        raise InUse(f'container "{container.name}" is not running: it cannot be killed')
    attachment.tell(connection, attachment.SIGNAL, str(number).encode())
    if number == 9:
        await_end(connection)


def pause(container: ContainerRecord, *, resume: bool = False) -> None:
    """Freeze it, or let it go on. Raises InUse, HostUnfit where it has no cgroup."""
    if store.status(container).state != "running":
        raise InUse(f'container "{container.name}" is not running: it cannot be {"un" * resume}paused')
    from rootless import runtime

    runtime.pause(store.runtime_root(), container.id, resume=resume)
    events.note("container", "unpause" if resume else "pause", container.id, container.name, Image=container.image)


def wait(container: ContainerRecord, conditions: tuple[str, ...]) -> int:
    """Wait until it is in one of these states; its exit status, -1 where it has none.

    `stopped` and `exited` are heard from its monitor; other conditions from its status file, which is replaced whenever
    it changes (inotify(7)).
    """
    watch = status_module.watch(store.directory(container.id))
    try:
        while True:
            status = store.status(container)
            state = "paused" if "paused" in conditions and store.is_paused(container) else status.state
            if state in conditions or (state == "exited" and "stopped" in conditions):
                return status.exit_code if state == "exited" else -1
            if status.health and status.health in conditions:
                return -1
            if state == "running" and set(conditions) <= {"stopped", "exited"}:
                said = _heard(container)
                if said.isdigit():
                    return int(said)
            else:
                os.read(watch, 4096)
    finally:
        os.close(watch)


def _heard(container: ContainerRecord) -> bytes:
    """The exit status that the monitor tells at the end; empty where there is no monitor, or it was killed."""
    connection = monitor_of(container)
    if connection is None:
        return b""
    attachment.tell(connection, attachment.WAIT)
    return await_end(connection)
